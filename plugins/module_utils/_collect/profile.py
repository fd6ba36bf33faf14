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
from zoneinfo import ZoneInfo

from .._core.errors import ConfigError

KINDS = ("event", "state", "snapshot")
PAGING_STYLES = ("page", "search_after")

Path = tuple[t.Any, ...]  # keys of objects (str) and positions in lists (int)
Paths = tuple[Path, ...]


def compile_paths(paths: str | list[str]) -> Paths:
    """``a.b[-1].c``, or a list of such paths of which the first that exists counts, as tuples of keys."""
    return tuple(
        tuple(int(index) if index else key for key, index in re.findall(r"([^.\[\]]+)|\[(-?\d+)\]", path))
        for path in ([paths] if isinstance(paths, str) else paths)
    )


def dig(record: t.Any, paths: Paths) -> t.Any:
    """The value at the first of ``paths`` that exists and is not null, else None."""
    for path in paths:
        value = record
        try:
            for key in path:
                value = value[key]
        except (KeyError, IndexError, TypeError):
            continue
        if value is not None:
            return value
    return None


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One call of a vendor's API, and what its records mean. Paths are compiled."""

    name: str
    index: str
    path: str
    method: str
    repeatable: bool
    variants: tuple[dict, ...]
    body: dict | None
    paging: dict
    envelope: dict
    kind: str
    id: Paths
    time: Paths
    zone: str
    tenant_id: Paths
    tenant_name: Paths
    only: dict[str, frozenset[str]]
    volatile: frozenset[str]
    drop: frozenset[str]
    constants: tuple[tuple[tuple[str, ...], t.Any], ...]
    fields: tuple[tuple[tuple[str, ...], Paths], ...]
    assumed: bool


@dataclasses.dataclass(frozen=True)
class Source:
    """One vendor: its address, its habits, its data sets."""

    name: str
    base_url: str
    api_key_header: str
    retry: dict
    subscriptions: dict | None
    sets: dict[str, DataSet]


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
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ConfigError(
            f"The profile of {name} has an entry of the wrong kind ({exc}). Compare it with the one that is shipped."
        ) from exc
    return Source(
        name=name,
        base_url=base_url,
        api_key_header=profile["api_key_header"],
        retry=profile.get("retry", {}),
        subscriptions=profile.get("subscriptions"),
        sets=sets,
    )


def _load_set(name: str, entry: dict, shared: dict[str, dict]) -> DataSet:
    def wrong(what: str) -> ConfigError:
        return ConfigError(f"The profile's set {name} {what}. Correct it in the option profile.")

    for key in ("path", "kind", "id", "time", "tenant", "ecs"):
        if not entry.get(key):
            raise wrong(f"lacks {key}")
    if entry["kind"] not in KINDS:
        raise wrong(f"has kind {entry['kind']!r}; it must be one of {', '.join(KINDS)}")
    paging, envelope = (
        merge(shared["paging"], entry.get("paging", {})),
        merge(shared["envelope"], entry.get("envelope", {})),
    )
    if paging.get("style") not in PAGING_STYLES:
        raise wrong(f"has paging style {paging.get('style')!r}; it must be one of {', '.join(PAGING_STYLES)}")
    if paging["style"] == "search_after" and not all(paging.get(key) for key in ("from", "send", "cursor")):
        raise wrong("needs paging.from, paging.send and paging.cursor")
    if not isinstance(paging.get("cap"), int):
        raise wrong("needs a whole number as paging.cap")
    ZoneInfo(entry.get("zone", "UTC"))
    if not envelope.get("items"):
        raise wrong("does not say where the records are (envelope.items)")
    return DataSet(
        name=name,
        index=entry.get("index", name),
        path=entry["path"],
        method=entry.get("method", "GET"),
        repeatable=entry.get("repeatable", entry.get("method", "GET") == "GET"),
        variants=tuple(entry.get("variants", [{}])),
        body=entry.get("body"),
        paging=paging,
        envelope=envelope,
        kind=entry["kind"],
        id=compile_paths(entry["id"]),
        time=compile_paths(entry["time"]),
        zone=entry.get("zone", "UTC"),
        tenant_id=compile_paths(entry["tenant"]["id"]),
        tenant_name=compile_paths(entry["tenant"]["name"]),
        only={field: frozenset(map(str, allowed)) for field, allowed in entry.get("only", {}).items()},
        volatile=frozenset(entry.get("volatile", ())),
        drop=frozenset(entry.get("drop", ())),
        constants=tuple((tuple(target.split(".")), value) for target, value in entry.get("constants", {}).items()),
        fields=tuple((tuple(target.split(".")), compile_paths(paths)) for target, paths in entry["ecs"].items()),
        assumed=bool(entry.get("assumed")),
    )
