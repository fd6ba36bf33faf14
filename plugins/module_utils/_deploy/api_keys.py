# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""API keys of Elasticsearch, each in a file of the host: made, kept as wanted, renewed in time, and never shown."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import platform
import re
import typing as t
from datetime import datetime, timedelta

from .._core.argspec import ArgumentSpec, common
from .._core.clock import format_time, parse_duration, parse_time
from .._core.errors import AnswerError, ConfigError
from .._core.module import Run
from . import files
from .kinds import NOTED, check_name, differences
from .rest import Api, admin
from .several import each, failure_of

# In the metadata of a key: which file of which host it was made for.
MARK = "netcure_soc"


def argument_spec() -> ArgumentSpec:
    """Options of C(es_api_keys)."""
    entry = {
        "name": {"type": "str", "required": True},
        "path": {"type": "path", "required": True},
        "role_descriptors": {"type": "dict"},
        "metadata": {"type": "dict", "default": {}},
        "expiration": {"type": "str"},
        "renew_before": {"type": "str", "default": "30d"},
        "rotate": {"type": "bool", "default": False},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str", "default": "0640"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    own = ArgumentSpec(
        {"keys": {"type": "list", "elements": "dict", "required": True, "options": entry, "no_log": False}}
    )
    return own.merge(admin()).merge(common())


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One key as it should be."""

    name: str
    path: str
    present: bool
    role_descriptors: dict
    metadata: dict
    expiration: str | None
    renew_before: timedelta
    rotate: bool
    rights: files.Access


@dataclasses.dataclass(frozen=True)
class Found:
    """What there is of one key: its file, whether that works, and the keys of its name that are valid."""

    has_file: bool
    rights_hold: bool
    works_as: str | None  # the id with which the file logs in, as a key of this name
    keys: tuple[dict, ...]

    @property
    def key(self) -> dict | None:
        """What Elasticsearch knows of the key in the file."""
        return next((key for key in self.keys if key["id"] == self.works_as), None)


@dataclasses.dataclass(frozen=True)
class Step:
    """What is to be done about one key, and why. ``invalidate`` goes last, when what replaces it is in place."""

    action: str
    reason: str = ""
    make: bool = False
    update: bool = False
    set_rights: bool = False
    invalidate: tuple[str, ...] = ()


def wanted_of(entries: t.Iterable[dict], host: str) -> tuple[Wanted, ...]:
    """The keys of the option, checked. Raises ConfigError."""
    found: list[Wanted] = []
    for entry in entries:
        name, expiration, present = entry["name"], entry["expiration"], entry["state"] == "present"
        check_name("an API key", name)
        if any(name == other.name or entry["path"] == other.path for other in found):
            raise ConfigError(
                f"The API key {name} is in keys twice, or shares its path; every key has one name and one file."
            )
        if present and not entry["role_descriptors"]:
            raise ConfigError(
                f"The API key {name} has no role_descriptors, and could do whatever its maker can; say what it may do."
            )
        if MARK in entry["metadata"]:
            raise ConfigError(
                f"The API key {name} has {MARK} in its metadata; that is where this module notes whose it is."
            )
        renew_before = parse_duration(entry["renew_before"])
        if expiration is not None:
            if not re.fullmatch(r"[1-9][0-9]*[dhms]", expiration):
                raise ConfigError(
                    f"The API key {name} expires in {expiration}; write a whole number and d, h, m or s, such as 365d."
                )
            if parse_duration(expiration) <= renew_before:
                raise ConfigError(
                    f"The API key {name} lives {expiration} and is renewed {entry['renew_before']} before its end, which is always; make renew_before shorter."
                )
        mark = {MARK: {"host": host, "path": entry["path"]}}
        found.append(
            Wanted(
                name,
                entry["path"],
                present,
                entry["role_descriptors"] or {},
                {**entry["metadata"], **mark},
                expiration,
                renew_before,
                entry["rotate"],
                files.access(entry),
            )
        )
    return tuple(found)


def decide(wanted: Wanted, found: Found, now: datetime, username: str) -> Step:
    """What is to be done about one key."""
    ours = {key["id"] for key in found.keys if (key.get("metadata") or {}).get(MARK) == wanted.metadata[MARK]}
    ours |= {found.works_as} - {None}
    if not wanted.present:
        gone = tuple(sorted(ours))
        return Step("deleted", invalidate=gone) if gone or found.has_file else Step("unchanged")
    changes = key_differences(wanted, found.key) if found.key else []
    reason = _why_new(wanted, found, now, bool(changes), username)
    if reason:
        return Step("renewed" if found.has_file else "created", reason, make=True, invalidate=tuple(sorted(ours)))
    # A run that was cut off has left a key that nobody has.
    strays = tuple(sorted(ours - {found.works_as}))
    reasons = [f"{', '.join(changes)} differ"] if changes else []
    reasons += ["owner, group or mode of the file differ"] if not found.rights_hold else []
    reasons += ["an earlier key was still valid"] if strays else []
    return Step(
        "updated" if reasons else "unchanged",
        "; ".join(reasons),
        update=bool(changes),
        set_rights=not found.rights_hold,
        invalidate=strays,
    )


def _why_new(wanted: Wanted, found: Found, now: datetime, differs: bool, username: str) -> str:
    """Why a new key is needed; empty when it is not."""
    key = found.key
    if not found.has_file:
        return "there is no file"
    if key is None:
        return "the file holds no valid key of this name"
    if wanted.rotate:
        return "rotate asks for it"
    if differs and key.get("username") != username:
        return f"it differs, and only {key.get('username')}, who made it, can change it"
    if key.get("expiration"):
        end = parse_time(key["expiration"])
        if end - now < wanted.renew_before:
            return f"it expires on {format_time(end)}"
    if wanted.expiration and (
        not key.get("expiration") or end - now > parse_duration(wanted.expiration) + timedelta(minutes=1)
    ):
        return f"it lives longer than {wanted.expiration}"
    return ""


def key_differences(wanted: Wanted, key: dict) -> list[str]:
    """In what a key is not as wanted."""
    told = []
    found = key.get("role_descriptors") or {}
    if wanted.role_descriptors.keys() != found.keys() or any(
        differences(role, {name: value for name, value in found[title].items() if name not in NOTED})
        for title, role in wanted.role_descriptors.items()
    ):
        told.append("role_descriptors")
    if differences(wanted.metadata, key.get("metadata") or {}):
        told.append("metadata")
    return told


def id_of(encoded: str) -> str | None:
    """The id in an encoded key; None for what is none."""
    try:
        identity, _colon, secret = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        return None
    return identity if identity and secret else None


def look(api: Api, wanted: Wanted) -> Found:
    """What there is. Changes nothing."""
    content = files.read(wanted.path)
    encoded = (content or b"").decode("ascii", "replace").strip()
    works_as = None
    if id_of(encoded):
        key = (api.identity(f"ApiKey {encoded}") or {}).get("api_key", {})
        works_as = key.get("id") if key.get("name") == wanted.name else None
    answer = api.call("GET", "/_security/api_key", query={"name": wanted.name, "active_only": "true"})
    return Found(content is not None, wanted.rights.holds(wanted.path), works_as, tuple(answer["api_keys"]))


def carry_out(api: Api, wanted: Wanted, found: Found, step: Step) -> t.Iterator[str]:
    """Do it, in an order in which a crash leaves a file that works, and tell each thing that is done. Raises SocError."""
    permissions = {"role_descriptors": wanted.role_descriptors, "metadata": wanted.metadata}
    if step.make:
        wanted.rights.ids()  # before there is a key that cannot be kept
        more = {"expiration": wanted.expiration} if wanted.expiration else {}
        # Not repeated when the answer is lost: the next run finds the key by its mark, and ends it.
        encoded = api.call("POST", "/_security/api_key", {"name": wanted.name, **permissions, **more})["encoded"]
        if api.identity(f"ApiKey {encoded}") is None:
            raise AnswerError(f"The new API key {wanted.name} does not log in, so the earlier one stays. Run again.")
        files.write(wanted.path, encoded.encode() + b"\n", wanted.rights)
        yield "make"
    if step.update:
        api.call("PUT", f"/_security/api_key/{found.works_as}", permissions)
        yield "update"
    if step.set_rights:
        wanted.rights.give(wanted.path)
        yield "set_rights"
    if step.invalidate:
        api.call("DELETE", "/_security/api_key", {"ids": list(step.invalidate)})
        yield "invalidate"
    if step.action == "deleted":
        files.remove(wanted.path)
        yield "delete"


def apply(run: Run) -> dict:
    """The whole run of C(es_api_keys)."""
    keys = wanted_of(run.params["keys"], platform.node())
    api = Api(run.params)
    did: list[str] = []

    def see_to(wanted: Wanted, entry: dict) -> None:
        found = look(api, wanted)
        step = decide(wanted, found, run.clock(), api.username)
        if not run.check_mode:
            did.extend(carry_out(api, wanted, found, step))
        entry |= {"action": step.action, "reason": step.reason, "invalidated": len(step.invalidate)}

    entries, failures = each(keys, lambda wanted: wanted.name, see_to)
    told = [
        {"name": one.name, "path": one.path, "reason": "", "invalidated": 0, **entry}
        for one, entry in zip(keys, entries)
    ]
    touched = [entry for entry in told if entry["action"] in ("created", "renewed", "updated", "deleted")]
    return {
        "changed": bool(touched or did),
        "keys": told,
        "diff": {
            "before": {entry["name"]: entry["reason"] or "there" for entry in touched},
            "after": {entry["name"]: entry["action"] for entry in touched},
        },
        **failure_of(failures),
    }
