# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Source profiles: what a vendor's API looks like, as data, checked before use and compiled for speed."""

from __future__ import annotations

import copy
import dataclasses
import re
import typing as t
from datetime import timedelta
from zoneinfo import ZoneInfo

from .._core.clock import parse_duration
from .._core.errors import ConfigError
from .._core.ids import content_digest
from .ecs import FIELDS, Convert, converter

KINDS = ("event", "state", "snapshot")
PAGING_STYLES = ("page", "search_after")
HASH, OBSERVED, COMPANIES = "@hash", "@observed", "@companies"

Path = tuple[t.Any, ...]  # keys of objects (str) and positions in lists (int)
Paths = tuple[Path, ...]
Target = tuple[str, ...]


def compile_paths(paths: str | list[str]) -> Paths:
    """``a.b[-1].c``, or a list of such paths of which the first that exists counts, as tuples of keys."""
    return tuple(
        tuple(int(index) if index else key for key, index in re.findall(r"([^.\[\]]+)|\[(-?\d+)\]", path))
        for path in ([paths] if isinstance(paths, str) else paths)
    )


def dig(record: t.Any, paths: Paths) -> t.Any:
    """The value at the first of ``paths`` that exists and is neither null nor empty text, else None."""
    for path in paths:
        value = record
        try:
            for key in path:
                if isinstance(value, str):
                    raise TypeError  # a position in a list is not one in a text
                value = value[key]
        except (KeyError, IndexError, TypeError):
            continue
        if value is not None and value != "":
            return value
    return None


def records_of(answer: t.Any, envelope: dict) -> list | None:
    """The records of an answer, unwrapped; None when there is no list where the profile says."""
    for path in compile_paths(envelope["items"]):
        items = dig(answer, (path,))
        if isinstance(items, list):
            return [unwrapped(record, envelope) for record in items]
    return None


def unwrapped(record: t.Any, envelope: dict) -> t.Any:
    """The record itself, where the profile says that each is wrapped."""
    inner = envelope.get("record")
    return record[inner] if inner and isinstance(record, dict) and inner in record else record


@dataclasses.dataclass(frozen=True)
class Field:
    """One line of a mapping table: where a value goes, where it comes from, and what it must be.

    ``key`` is the name of a root field, when that is all there is to look at: most are, and a look is then cheap.
    """

    target: Target
    paths: Paths
    key: str | None
    convert: Convert


@dataclasses.dataclass(frozen=True)
class Derived:
    """How the state of a probe follows from what the vendor says and from the clock."""

    target: Target
    status: Paths
    seen: Paths
    offline_after: timedelta
    recent: timedelta
    zone: str = "UTC"


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One call of a vendor's API, or one kind of file, and what its records mean. Paths are compiled.

    ``id`` is None for records that are known by their content, ``time`` for those that are as old as their
    observation, ``tenant_id`` where the company is the one that was ``ask``ed for, ``tenant_name`` where the directory
    of companies has the name. ``digest`` stands for the whole entry.
    """

    name: str
    index: str
    path: str
    method: str
    repeatable: bool
    variants: tuple[dict, ...]
    body: dict | None
    files: dict | None
    paging: dict
    envelope: dict
    every: timedelta
    silent_after: timedelta | None
    kind: str
    id: Paths | None
    time: Paths | None
    zone: str
    tenant_id: Paths | None
    tenant_name: Paths | None
    ask: dict | None
    only: dict[str, frozenset[str]]
    volatile: frozenset[str]
    drop: frozenset[str]
    constants: tuple[tuple[Target, t.Any], ...]
    fields: tuple[Field, ...]
    open_until: Target | None
    ask_again: dict | None
    derive: Derived | None
    assumed: bool
    digest: str

    @property
    def newest_first(self) -> bool:
        """Whether the vendor lists the newest records first, so that a walk need not go to the end."""
        return bool(self.paging.get("newest_first"))


@dataclasses.dataclass(frozen=True)
class Source:
    """One vendor: its address, its habits, its data sets."""

    name: str
    base_url: str
    api_key_header: str
    auth: dict
    retry: dict
    companies: dict | None
    at_once: int
    sets: dict[str, DataSet]

    def data_set(self, name: str) -> DataSet:
        """The set that an option names. Raises ConfigError where there is none of that name."""
        if name not in self.sets:
            raise ConfigError(f"{self.name} has no set {name}; it has {', '.join(sorted(self.sets))}.")
        return self.sets[name]


def merge(base: dict, overrides: dict) -> dict:
    """``base`` with ``overrides`` laid over it; dictionaries merge, everything else is replaced."""
    merged = copy.deepcopy(base)
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def load(profile: dict) -> Source:
    """Check and compile a profile. Raises ConfigError that names the entry and what is wrong with it."""
    name = profile.get("source")
    base_url = (profile.get("base_url") or "").rstrip("/")
    if not base_url.startswith("https://"):
        raise ConfigError(f"The address of {name} is {base_url or 'not set'}: give an https address as base_url.")
    shared = {key: profile.get(key, {}) for key in ("envelope", "paging")}
    try:
        sets = {key: _load_set(key, entry, shared) for key, entry in profile["sets"].items()}
        at_once = int(profile.get("at_once", 1))
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ConfigError(
            f"The profile of {name} has an entry of the wrong kind ({exc}). Compare it with the one that is shipped."
        ) from exc
    if not 1 <= at_once <= 32:
        raise ConfigError(f"The profile of {name} says at_once: {at_once}. Give a number of calls from 1 to 32.")
    return Source(
        name=name,
        base_url=base_url,
        api_key_header=profile["api_key_header"],
        auth=profile.get("auth", {}),
        retry=profile.get("retry", {}),
        companies=profile.get("companies"),
        at_once=at_once,
        sets=sets,
    )


def _load_set(name: str, entry: dict, shared: dict[str, dict]) -> DataSet:
    def wrong(what: str) -> ConfigError:
        return ConfigError(f"The profile's set {name} {what}. Correct it in the option profile.")

    files = entry.get("files")
    for key in ("kind", "id", "time", "tenant", "ecs", *(() if files else ("path",))):
        if not entry.get(key):
            raise wrong(f"lacks {key}")
    if entry["kind"] not in KINDS:
        raise wrong(f"has kind {entry['kind']!r}; it must be one of {', '.join(KINDS)}")
    paging = merge(shared["paging"], entry.get("paging", {}))
    envelope = merge(shared["envelope"], entry.get("envelope", {}))
    if not files:
        if paging.get("style") not in PAGING_STYLES:
            raise wrong(f"has paging style {paging.get('style')!r}; it must be one of {', '.join(PAGING_STYLES)}")
        if paging["style"] == "search_after" and not all(paging.get(key) for key in ("send", "cursor")):
            raise wrong("needs paging.send and paging.cursor")
        if not isinstance(paging.get("cap"), int):
            raise wrong("needs a whole number as paging.cap")
        if not envelope.get("items"):
            raise wrong("does not say where the records are (envelope.items)")
    zone = entry.get("zone", "UTC")
    ZoneInfo(zone)
    true_values = entry.get("true_values", ())
    unknown = [target for target in (*entry["ecs"], *entry.get("constants", {})) if target not in FIELDS]
    if unknown:
        raise wrong(f"maps to {', '.join(unknown)}, which the index mapping does not have")
    tenant, ask_again, derive = entry["tenant"], entry.get("ask_again"), entry.get("derive")
    if ask_again and not ask_again.get({"search": "param", "get": "path"}.get(ask_again.get("by"), "")):
        raise wrong("needs ask_again.by as search with param, or as get with path")
    name_of_tenant, values = tenant.get("name"), entry.get("values", {})
    return DataSet(
        name=name,
        index=entry.get("index", name),
        path=entry.get("path", ""),
        method=entry.get("method", "GET"),
        repeatable=entry.get("repeatable", entry.get("method", "GET") == "GET"),
        variants=tuple(entry.get("variants", [{}])),
        body=entry.get("body"),
        files=files,
        paging=paging,
        envelope=envelope,
        every=parse_duration(entry.get("every", "5m")),
        silent_after=parse_duration(entry["silent_after"]) if entry.get("silent_after") else None,
        kind=entry["kind"],
        id=None if entry["id"] == HASH else compile_paths(entry["id"]),
        time=None if entry["time"] == OBSERVED else compile_paths(entry["time"]),
        zone=zone,
        tenant_id=compile_paths(tenant["id"]) if "id" in tenant else None,
        tenant_name=compile_paths(name_of_tenant) if name_of_tenant and name_of_tenant != COMPANIES else None,
        ask=tenant.get("ask"),
        only={field: frozenset(map(str, allowed)) for field, allowed in (entry.get("only") or {}).items() if allowed},
        volatile=frozenset(entry.get("volatile", ())),
        drop=frozenset(entry.get("drop", ())),
        constants=tuple((tuple(target.split(".")), value) for target, value in entry.get("constants", {}).items()),
        fields=tuple(
            _load_field(
                target, compile_paths(paths), _translated(converter(target, zone, true_values), values.get(target))
            )
            for target, paths in entry["ecs"].items()
        ),
        open_until=tuple(entry["open_until"].split(".")) if entry.get("open_until") else None,
        ask_again=ask_again,
        derive=_load_derived(derive, zone) if derive else None,
        assumed=bool(entry.get("assumed")),
        digest=content_digest([entry, shared]),
    )


def _translated(convert: Convert, values: dict | None) -> Convert:
    """``convert`` after a look into a table of what the vendor's values mean; one that is not in there does not fit."""
    if not values:
        return convert
    table = {str(value): meaning for value, meaning in values.items()}

    def translate(value: t.Any) -> t.Any:
        if str(value) not in table:
            raise ValueError("the profile does not say what that means")
        return convert(table[str(value)])

    return translate


def _load_field(target: str, paths: Paths, convert: Convert) -> Field:
    alone = len(paths) == 1 and len(paths[0]) == 1 and isinstance(paths[0][0], str)
    return Field(tuple(target.split(".")), paths, paths[0][0] if alone else None, convert)


def _load_derived(entry: dict, zone: str) -> Derived:
    return Derived(
        target=tuple(entry["field"].split(".")),
        status=compile_paths(entry["status"]),
        seen=compile_paths(entry["seen"]),
        offline_after=parse_duration(entry["offline_after"]),
        recent=parse_duration(entry["recent"]),
        zone=zone,
    )
