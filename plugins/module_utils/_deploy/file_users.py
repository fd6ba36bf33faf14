# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Users of Elasticsearch's file realm: those who can log in though the cluster is down."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import os
import re
import secrets
import typing as t

from .._core.argspec import ArgumentSpec, common
from .._core.errors import ConfigError, InputError
from .._core.module import Run
from . import files

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,200}")
PREFIX = "{PBKDF2}"
# Elasticsearch knows the function by its number of rounds, and knows these.
ROUNDS = (1_000, 10_000, 50_000, 100_000, 500_000, 1_000_000)
OURS = 50_000
LENGTH = 32


def argument_spec() -> ArgumentSpec:
    """Options of C(es_file_users)."""
    user = {
        "username": {"type": "str", "required": True},
        "roles": {"type": "list", "elements": "str", "default": []},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    own = ArgumentSpec(
        {
            "users": {"type": "list", "elements": "dict", "required": True, "options": user},
            # Of an option inside a list Ansible hides only the very text, which a log in JSON does not show with quotation marks in it.
            "passwords": {"type": "dict", "no_log": True, "default": {}},
            "purge": {"type": "bool", "default": False},
            "config_dir": {"type": "path", "default": "/etc/elasticsearch"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "elasticsearch"},
            "mode": {"type": "str", "default": "0640"},
        }
    )
    return own.merge(common())


@dataclasses.dataclass(frozen=True)
class User:
    """One user as it should be; without a password it should not be."""

    name: str
    password: str | None = dataclasses.field(repr=False)
    roles: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """The two files as they should be, and what that does to whom."""

    users: str
    users_roles: str
    actions: dict[str, str]
    before: dict[str, dict]
    after: dict[str, dict]


def wanted_of(entries: t.Iterable[dict], passwords: t.Mapping[str, object]) -> tuple[User, ...]:
    """The users of the options, checked. Raises ConfigError, which shows no password."""
    found: dict[str, User] = {}
    for entry in entries:
        name, roles = entry["username"], tuple(dict.fromkeys(entry["roles"]))
        password = str(passwords.get(name) or "")
        for text, what in [(name, "user"), *((role, "role") for role in roles)]:
            if not NAME.fullmatch(text):
                raise ConfigError(
                    f"{text!r} is no name of a {what} for the file realm: use letters, digits and _ . @ -"
                )
        if name in found:
            raise ConfigError(f"The user {name} is in users twice; which of them should it be?")
        if entry["state"] == "absent":
            found[name] = User(name, None)
            continue
        if len(password) < 6:
            raise ConfigError(f"The user {name} needs a password of six characters or more in passwords.")
        found[name] = User(name, password, roles)
    if unknown := sorted(passwords.keys() - found.keys()):
        raise ConfigError(f"The option passwords names {', '.join(unknown)}, of whom users says nothing.")
    return tuple(found.values())


def hashed(password: str, salt: bytes | None = None, rounds: int = OURS) -> str:
    """The password as the file realm keeps it."""
    salt = salt or secrets.token_bytes(LENGTH)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds, LENGTH)
    return f"{PREFIX}{rounds}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def verifies(password: str, told: str) -> bool:
    """Whether ``told`` is a hash of ``password`` that Elasticsearch takes. Of other functions than ours that is unknown."""
    try:
        rounds, salt, _key = told.removeprefix(PREFIX).split("$")
        if not told.startswith(PREFIX) or int(rounds) not in ROUNDS:
            return False
        return hmac.compare_digest(hashed(password, base64.b64decode(salt, validate=True), int(rounds)), told)
    except (ValueError, binascii.Error):
        return False


def plan(
    users: str, users_roles: str, wanted: t.Sequence[User], purge: bool, make: t.Callable[[str], str] = hashed
) -> Plan:
    """The files as they should be. Lines of others, and comments, stay as they are unless ``purge``. Raises InputError."""
    hashes, roles = _users(users), _roles(users_roles)
    known = set(hashes) | {name for names in roles.values() for name in names}
    mine = {user.name: user for user in wanted if user.password is not None}
    gone = known & ({user.name for user in wanted if user.password is None} | (known - mine.keys() if purge else set()))
    actions = dict.fromkeys(gone, "deleted")
    before = {name: {"roles": _roles_of(name, roles)} for name in known}
    after = {name: {"roles": sorted(user.roles)} for name, user in mine.items()}
    for name, user in mine.items():
        right = name in hashes and verifies(user.password or "", hashes[name])
        if not right:
            after[name] |= {"password": "the one that was given"}
        if name not in hashes:
            actions[name] = "created"
        elif not right or before[name] != after[name]:
            actions[name] = "updated"
    if not actions:
        return Plan(users, users_roles, {}, {}, {})

    new = {name: f"{name}:{make(user.password or '')}" for name, user in mine.items() if "password" in after[name]}
    lines = [new.pop(_name(line), line) for line in _lines(users) if _name(line) not in gone]
    role_lines = _role_lines(users_roles, roles, mine, gone)
    return Plan(_text([*lines, *new.values()]), _text(role_lines), actions, before, after)


def _role_lines(
    text: str, roles: t.Mapping[str, list[str]], mine: t.Mapping[str, User], gone: t.Collection[str]
) -> list[str]:
    """The lines of users_roles as they should be: those of which nothing changes stay as they are."""
    lines: list[str] = []
    for line in _lines(text):
        role = _name(line)
        if role is None:
            lines.append(line)
            continue
        stay = [name for name in roles[role] if name not in gone and (name not in mine or role in mine[name].roles)]
        stay += [name for name, user in mine.items() if role in user.roles and name not in stay]
        if stay == roles[role]:
            lines.append(line)
        elif stay:
            lines.append(f"{role}:{','.join(stay)}")
    for role in dict.fromkeys(role for user in mine.values() for role in user.roles):
        if role not in roles:
            lines.append(f"{role}:{','.join(name for name, user in mine.items() if role in user.roles)}")
    return lines


def _users(text: str) -> dict[str, str]:
    return {name: line.strip().partition(":")[2] for line, name in _named(text, "users")}


def _roles(text: str) -> dict[str, list[str]]:
    return {
        role: [name.strip() for name in line.partition(":")[2].split(",") if name.strip()]
        for line, role in _named(text, "users_roles")
    }


def _named(text: str, file: str) -> t.Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for number, line in enumerate(_lines(text), 1):
        name = _name(line)
        if name is None:
            continue
        if ":" not in line or not name or name in seen:
            raise InputError(
                f"Line {number} of the file {file} has no name before a colon, or one that was there before. Correct it by hand."
            )
        seen.add(name)
        yield line, name


def _name(line: str) -> str | None:
    """What a line is about; None for comments and empty ones."""
    line = line.strip()
    return line.partition(":")[0].strip() if line and not line.startswith("#") else None


def _roles_of(name: str, roles: t.Mapping[str, list[str]]) -> list[str]:
    return sorted(role for role, names in roles.items() if name in names)


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def apply(run: Run) -> dict:
    """The whole run of C(es_file_users)."""
    params = run.params
    rights = files.access(params)
    paths = [os.path.join(params["config_dir"], name) for name in ("users_roles", "users")]
    found = [_decoded(path) for path in paths]
    steps = plan(found[1] or "", found[0] or "", wanted_of(params["users"], params["passwords"]), params["purge"])
    wanted = [steps.users_roles, steps.users]
    set_rights = [text is not None and not rights.holds(path) for path, text in zip(paths, found)]
    differs = [text != new for text, new in zip(found, wanted)]
    if not run.check_mode:
        # Roles first: who is in users can log in within seconds, and should then have them.
        for path, new, write, correct in zip(paths, wanted, differs, set_rights):
            if write:
                files.write(path, new.encode(), rights)
            elif correct:
                rights.give(path)
    told = sorted(steps.actions)
    return {
        "changed": any(differs) or any(set_rights),
        "users": [{"username": name, "action": steps.actions[name]} for name in told],
        "diff": {
            "before": {name: steps.before.get(name) for name in told},
            "after": {name: steps.after.get(name) for name in told},
        },
    }


def _decoded(path: str) -> str | None:
    content = files.read(path)
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError as exc:
        raise InputError(f"The file {path} is not text in UTF-8. Correct it by hand.") from exc
