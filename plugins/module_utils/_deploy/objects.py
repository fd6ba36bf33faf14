# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Objects of Elasticsearch: read, compare, and write only what is not as wanted."""

from __future__ import annotations

import base64
import dataclasses
import re
import typing as t

from .._core.argspec import ArgumentSpec, common
from .._core.errors import ConfigError, SocError
from .._core.module import Run
from .._core.secrets import HIDDEN
from .kinds import KINDS, RESERVED, Difference, address, check_name, compare, flat
from .rest import Api, Unsupported, admin
from .several import each, failure_of

SECRET = re.compile(r"(password|passphrase|secret|token|(api|access|secret|private)_?key)s?$")
PASSWORD = Difference("password", "another one", "the one that was given")


def argument_spec() -> ArgumentSpec:
    """Options of C(es_objects)."""
    entry = {
        "kind": {"type": "str", "required": True, "choices": list(KINDS)},
        "name": {"type": "str"},
        "body": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    own = ArgumentSpec(
        {
            "objects": {"type": "list", "elements": "dict", "required": True, "options": entry},
            # Not in objects, as in es_file_users.
            "passwords": {"type": "dict", "no_log": True, "default": {}},
        }
    )
    return own.merge(admin()).merge(common())


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One object as it should be; ``body`` is None for one that should not be there."""

    kind: str
    name: str
    body: dict | None
    password: str | None = dataclasses.field(default=None, repr=False)

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"


@dataclasses.dataclass(frozen=True)
class Step:
    """What is to be done about one object."""

    action: str
    differences: tuple[Difference, ...] = ()


UNCHANGED = Step("unchanged")


def wanted_of(entries: t.Iterable[dict], passwords: t.Mapping[str, object]) -> tuple[Wanted, ...]:
    """The objects of the options, checked. Raises ConfigError, which shows no password."""
    found: dict[str, Wanted] = {}
    for entry in entries:
        kind, body, absent = entry["kind"], entry["body"], entry["state"] == "absent"
        name = "persistent" if kind == "cluster_settings" else entry["name"] or ""
        check_name(kind, name)
        title = f"{kind} {name}"
        if title in found:
            raise ConfigError(f"{title} is in objects twice; which of them should it be?")
        password = str(passwords[name]) if kind == "user" and not absent and passwords.get(name) is not None else None
        if kind == "cluster_settings":
            if not body:
                raise ConfigError(f"{title}: name the settings in body.")
            body = {setting: None if absent else value for setting, value in flat(body).items()}
            if any("*" in setting for setting in body):
                raise ConfigError(f"{title}: name each setting, without *.")
        elif absent:
            body = None
        elif kind == "user":
            body = _user(title, body or {}, password)
        elif not body:
            raise ConfigError(f"{title}: say in body what it should be, as the API of Elasticsearch takes it.")
        found[title] = Wanted(kind, name, body, password)
    if unknown := sorted(passwords.keys() - {one.name for one in found.values() if one.kind == "user"}):
        raise ConfigError(f"The option passwords names {', '.join(unknown)}, and objects has no such user.")
    return tuple(found.values())


def _user(title: str, body: dict, password: str | None) -> dict:
    if body.keys() & {"password", "password_hash"}:
        raise ConfigError(f"{title}: give the password in the option passwords, where it stays out of logs.")
    if password is not None and len(password) < 6:
        raise ConfigError(f"{title}: the password is too short; Elasticsearch wants six characters or more.")
    if not body and password is None:
        raise ConfigError(
            f"{title}: give its roles in body, or, where Elasticsearch itself brings the user, a password in passwords."
        )
    return body


def is_reserved(wanted: Wanted, found: dict | None) -> bool:
    """Whether it is a user that Elasticsearch brings, of which only the password can be set."""
    return wanted.kind == "user" and bool(((found or {}).get("metadata") or {}).get(RESERVED))


def decide(wanted: Wanted, found: dict | None, logs_in: bool | None) -> Step:
    """What is to be done about an object that is as ``found``. ``logs_in``: whether its password does; None is unknown."""
    if wanted.body is None:
        return UNCHANGED if found is None else Step("deleted", (Difference("", found, None),))
    if found is None:
        return Step("created", (Difference("", None, wanted.body),))
    told = [] if is_reserved(wanted, found) and not wanted.body else compare(wanted.kind, wanted.body, found)
    if logs_in is False:
        told.append(PASSWORD)
    return Step("updated", tuple(told)) if told else UNCHANGED


def needs_login(wanted: Wanted, found: dict | None) -> bool:
    """Whether only a login can tell if the password is right. Nobody can log in as a user who is disabled."""
    return wanted.password is not None and found is not None and found.get("enabled", True) is True


def read(api: Api, wanted: Wanted) -> dict | None:
    """The object as it is, None when it is not there. Raises SocError."""
    query = {"flat_settings": "true"} if wanted.kind == "cluster_settings" else {}
    try:
        answer = api.get(address(wanted.kind, wanted.name), **query)
    except Unsupported:
        if wanted.body is None:
            return None  # where the kind does not exist, none of it does
        raise
    return None if answer is None else KINDS[wanted.kind].inside(answer, wanted.name)


def logs_in(api: Api, wanted: Wanted) -> bool:
    """Whether its password is the right one."""
    pair = base64.b64encode(f"{wanted.name}:{wanted.password}".encode()).decode()
    return api.identity(f"Basic {pair}") is not None


def look(api: Api, wanted: Wanted) -> tuple[dict | None, Step]:
    """The object as it is, and what is to be done about it."""
    found = read(api, wanted)
    return found, decide(wanted, found, logs_in(api, wanted) if needs_login(wanted, found) else None)


def carry_out(api: Api, wanted: Wanted, found: dict | None, step: Step) -> None:
    """Do it. Raises SocError."""
    path, body = address(wanted.kind, wanted.name), wanted.body
    if step.action == "deleted":
        api.call("DELETE", path, missing=True)
    elif is_reserved(wanted, found):
        if wanted.body:
            raise ConfigError(
                f"{wanted.title} comes with Elasticsearch: only its password can be set, so leave out body."
            )
        api.call("PUT", path + "/_password", {"password": wanted.password})
    elif wanted.kind == "cluster_settings":
        api.call("PUT", path, {"persistent": body})
    else:
        api.call("PUT", path, body if wanted.password is None else {**body, "password": wanted.password})


def settle(api: Api, wanted: Wanted, check_mode: bool, warn: t.Callable[[str], None]) -> Step:
    """See to one object, and afterwards look whether Elasticsearch has it as it was written."""
    try:
        found, step = look(api, wanted)
        if step is UNCHANGED or check_mode:
            return step
        carry_out(api, wanted, found, step)
    except Unsupported as exc:
        lacking = KINDS[wanted.kind].lacking or "this API"
        raise ConfigError(
            f"This Elasticsearch lacks {lacking}, as minimal distributions do ({exc.details['reason']}). Install the full"
            f" one, or leave out what is of kind {wanted.kind}.",
            kind=wanted.kind,
        ) from None
    try:
        _found, left = look(api, wanted)
    except SocError as exc:
        warn(f"{wanted.title} was written, and could not be read back: {exc.message}")
        return step
    for one in left.differences:
        warn(
            f"{wanted.title}: Elasticsearch keeps {one.path or 'it'} as {_shown(one.path, one.found)!r} after it was written as"
            f" {_shown(one.path, one.wanted)!r}. Write what it keeps, or every run will write it again."
        )
    return step


def apply(run: Run) -> dict:
    """The whole run of C(es_objects)."""
    objects = wanted_of(run.params["objects"], run.params["passwords"])
    api = Api(run.params, [one.password for one in objects if one.password])
    before: dict[str, object] = {}
    after: dict[str, object] = {}

    def see_to(wanted: Wanted, entry: dict) -> None:
        step = settle(api, wanted, run.check_mode, run.warn)
        entry |= {"action": step.action, "differs": [one.path for one in step.differences if one.path]}
        if step.differences:
            before[wanted.title], after[wanted.title] = _side(step, "found"), _side(step, "wanted")

    entries, failures = each(objects, lambda wanted: wanted.title, see_to)
    return {
        "changed": any(entry["action"] in ("created", "updated", "deleted") for entry in entries),
        "objects": [
            {"kind": one.kind, "name": one.name, "differs": [], **entry} for one, entry in zip(objects, entries)
        ],
        "diff": {"before": before, "after": after},
        **failure_of(failures),
    }


def _side(step: Step, side: str) -> object:
    if len(step.differences) == 1 and not step.differences[0].path:
        return _shown("", getattr(step.differences[0], side))
    return {one.path: _shown(one.path, getattr(one, side)) for one in step.differences}


def _shown(path: str, value: object) -> object:
    """``value`` for people: without what looks like a secret by its name."""
    if isinstance(value, dict):
        return {key: _shown(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shown(path, inner) for inner in value]
    return HIDDEN if value is not None and path != PASSWORD.path and SECRET.search(path) else value
