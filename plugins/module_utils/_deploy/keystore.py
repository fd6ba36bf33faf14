# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The keystore of an Elasticsearch node: entries put there over stdin, and Java started only when there is something to do."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import os
import re
import secrets
import subprocess
import typing as t

from .._core.argspec import ArgumentSpec, common
from .._core.errors import ConfigError, StateError
from .._core.module import Run
from .._core.secrets import excerpt
from .._core.state import ensure_folder
from . import files

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
FILE = "elasticsearch.keystore"
SECONDS = 120
# 16 MB and 50 ms for each guess. Elasticsearch itself holds the values in the clear, in a keystore without a password.
COST = {"n": 2**14, "r": 8, "p": 1}


def argument_spec() -> ArgumentSpec:
    """Options of C(es_keystore)."""
    own = ArgumentSpec(
        {
            "entries": {"type": "dict", "default": {}, "no_log": True},
            "remove": {"type": "list", "elements": "str", "default": []},
            "purge": {"type": "bool", "default": False},
            "home": {"type": "path", "default": "/usr/share/elasticsearch"},
            "config_dir": {"type": "path", "default": "/etc/elasticsearch"},
            "java_home": {"type": "path"},
            "digests": {"type": "path"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "elasticsearch"},
            "mode": {"type": "str", "default": "0660"},
        }
    )
    return own.merge(common())


@dataclasses.dataclass(frozen=True)
class Memory:
    """What an earlier run left: the keystore's checksum then, the names in it, and digests of the values put there."""

    checksum: str = ""
    names: frozenset[str] = frozenset()
    digests: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, content: bytes | None) -> Memory:
        """From the file of digests. A file that is missing or damaged is no memory: the keystore is read instead."""
        try:
            told = json.loads(content or b"")
            return cls(
                str(told["keystore"]), frozenset(told["names"]), {str(k): str(v) for k, v in told["digests"].items()}
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def content(self) -> bytes:
        told = {"keystore": self.checksum, "names": sorted(self.names), "digests": dict(sorted(self.digests.items()))}
        return json.dumps(told, indent=1).encode() + b"\n"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done with the keystore, by names of entries."""

    create: bool = False
    add: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        return bool(self.create or self.add or self.update or self.remove)


def wanted_of(entries: t.Mapping[str, object], remove: t.Iterable[str]) -> dict[str, str]:
    """The entries of the option, checked. Raises ConfigError, which shows no value."""
    wanted = {str(name): _value(value) for name, value in entries.items()}
    for name in [*map(str, entries), *remove]:
        if not NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is no name of a keystore entry: use letters, digits and . _ -")
    for name, value in wanted.items():
        if not value or not value.isprintable():
            raise ConfigError(
                f"The value of {name} must be one line of text that is not empty. To be rid of it, name it in remove."
            )
    both = sorted(wanted.keys() & set(remove))
    if both:
        raise ConfigError(f"{', '.join(both)}: both in entries and in remove; which of them should it be?")
    return wanted


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ""


def plan(
    wanted: t.Mapping[str, str],
    remove: t.Iterable[str],
    purge: bool,
    present: t.Collection[str] | None,
    managed: t.Collection[str],
    same: t.Callable[[str], bool],
) -> Plan:
    """What is to be done. ``present``: the names in the keystore, None when there is none; ``managed``: those that this
    module put there; ``same(name)``: whether an entry that is present has the value that is wanted."""
    if present is None:
        return Plan(create=True, add=tuple(sorted(wanted)))
    gone = set(remove) | ((set(managed) - wanted.keys()) if purge else set())
    return Plan(
        add=tuple(sorted(wanted.keys() - set(present))),
        update=tuple(sorted(name for name in wanted.keys() & set(present) if not same(name))),
        remove=tuple(sorted(gone & set(present))),
    )


def digest(value: str, salt: bytes | None = None) -> str:
    """A salted digest of ``value``, with all that is needed to compare."""
    salt = salt or secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${hashlib.scrypt(value.encode(), salt=salt, **COST).hex()}"


def matches(value: str, told: str) -> bool:
    """Whether ``told`` is a digest of ``value``."""
    try:
        kind, salt, _hash = told.split("$")
        return kind == "scrypt" and hmac.compare_digest(digest(value, bytes.fromhex(salt)), told)
    except ValueError:
        return False


class Tool:
    """bin/elasticsearch-keystore. Values go in by stdin and come out by a pipe, never by a command line."""

    def __init__(self, params: dict, values: t.Iterable[str]) -> None:
        self._program = os.path.join(params["home"], "bin", "elasticsearch-keystore")
        self._values = tuple(values)
        self._environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "ES_PATH_CONF": params["config_dir"],
        }
        if params["java_home"]:
            self._environment["ES_JAVA_HOME"] = params["java_home"]

    def names(self) -> frozenset[str]:
        return frozenset(self._run("list").decode().split())

    def holds(self, name: str, value: str) -> bool:
        return hmac.compare_digest(self._run("show", name), value.encode())

    def create(self) -> None:
        self._run("create")

    def put(self, values: t.Mapping[str, str]) -> None:
        """All at once: one start of Java, and none of them is there without the others."""
        self._run("add", "-x", "-f", *values, stdin="".join(f"{value}\n" for value in values.values()))

    def remove(self, names: t.Iterable[str]) -> None:
        self._run("remove", *names)

    def _run(self, *arguments: str, stdin: str = "") -> bytes:
        try:
            done = subprocess.run(  # noqa: S603 (no shell; the names were checked)
                [self._program, *arguments],
                input=stdin.encode(),
                capture_output=True,
                env=self._environment,
                timeout=SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise ConfigError(f"There is no {self._program}: give in home where Elasticsearch is installed.") from None
        except subprocess.TimeoutExpired:
            raise StateError(f"elasticsearch-keystore {arguments[0]} did not end within {SECONDS} seconds.") from None
        except OSError as exc:
            raise StateError(f"{self._program} cannot be run: {exc.strerror}.") from exc
        if done.returncode:
            told = excerpt((done.stderr + b" " + done.stdout).decode("utf-8", "replace"), self._values, 300)
            raise StateError(f"elasticsearch-keystore {arguments[0]} failed: {told}")
        return done.stdout


def apply(run: Run) -> dict:
    """The whole run of C(es_keystore)."""
    params = run.params
    wanted = wanted_of(params["entries"], params["remove"])
    rights, path = files.access(params), os.path.join(params["config_dir"], FILE)
    memory_path = params["digests"] or path + ".digests"
    # Whoever can read the digests could try passwords at leisure.
    private = files.Access("root" if os.geteuid() == 0 else None, None, 0o600)
    told = files.read(memory_path)
    memory, content = Memory.of(told), files.read(path)
    tool = Tool(params, wanted.values())
    known = content is not None and memory.checksum == hashlib.sha256(content).hexdigest()
    present = None if content is None else memory.names if known else tool.names()

    def same(name: str) -> bool:
        if known and name in memory.digests:
            return matches(wanted[name], memory.digests[name])
        return tool.holds(name, wanted[name])

    steps = plan(wanted, params["remove"], params["purge"], present, memory.digests, same)
    set_rights = content is not None and not rights.holds(path)
    if not run.check_mode:
        rights.ids()  # before anything is made that could not be handed over
        carry_out(tool, steps, wanted)
        if not rights.holds(path):
            rights.give(path)
        names = tool.names() if present is None else (present | wanted.keys()) - set(steps.remove)
        digests = {name: told for name, told in memory.digests.items() if name in names}
        digests |= {name: _kept(value, memory.digests.get(name)) for name, value in wanted.items()}
        now = Memory(hashlib.sha256(files.read(path) or b"").hexdigest(), frozenset(names), digests)
        ensure_folder(os.path.dirname(memory_path))
        if now.content() != told or not private.holds(memory_path):
            files.write(memory_path, now.content(), private)
    return {
        "changed": steps.changes or set_rights,
        "pending": run.check_mode and (steps.changes or set_rights),
        "created": steps.create,
        "added": list(steps.add),
        "updated": list(steps.update),
        "removed": list(steps.remove),
        "diff": _diff(steps),
    }


def carry_out(tool: Tool, steps: Plan, wanted: t.Mapping[str, str]) -> None:
    """Do it. Raises ConfigError and StateError."""
    if steps.create:
        tool.create()
    if steps.add or steps.update:
        tool.put({name: wanted[name] for name in (*steps.add, *steps.update)})
    if steps.remove:
        tool.remove(steps.remove)


def _kept(value: str, told: str | None) -> str:
    return told if told and matches(value, told) else digest(value)


def _diff(steps: Plan) -> dict:
    """By names alone."""
    before = {**dict.fromkeys(steps.update, "another value"), **dict.fromkeys(steps.remove, "a value")}
    after = {
        **dict.fromkeys(steps.add, "the value that was given"),
        **dict.fromkeys(steps.update, "the value that was given"),
    }
    return {"before": before, "after": after}
