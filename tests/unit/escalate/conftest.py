# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by the tests of the escalation: alarms that are easy to write, and a world without network."""

from __future__ import annotations

import types
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run
from ansible_collections.netcure.soc.plugins.module_utils._escalate.run import argument_spec, escalate

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ROSTER = "contacts:\n  - name: An\n    list: oncall-an\n"


def document(alarm: str, *, level: int = 1, time: datetime = NOON, reviewed: bool = False, **more: object) -> dict:
    """An alarm as the collector writes it to Elasticsearch."""
    company = str(more.get("company", "Acme NV"))
    return {
        "@timestamp": format_time(time),
        "event": {"id": alarm, "module": "cyberalarm", "dataset": "cyberalarm.alarm"},
        "organization": {"id": str(more.get("tenant", "c1")), "name": company},
        "soc": {"id": alarm, "set": "logs", "level": level, "reviewed": reviewed},
        "rule": {"id": str(more.get("rule", "2024217")), "name": str(more.get("title", "ET TROJAN beacon"))},
        "source": {"ip": str(more.get("ip", "10.0.0.66")), "port": 51322},
        "destination": {"ip": "203.0.113.7", "port": 443},
        "observer": {"name": "acme-core"},
    }


def fail(fault: Exception) -> None:
    raise fault


class FakeElastic:
    """Answers the queries that the escalation asks, from documents in memory. ``broken`` is raised instead."""

    def __init__(self) -> None:
        self.documents: dict[str, dict] = {}
        self.broken: Exception | None = None

    def put(self, alarm: str, **fields: object) -> None:
        self.documents[alarm] = document(alarm, **fields)

    def review(self, alarm: str, mark: bool = True) -> None:
        self.documents[alarm]["soc"]["reviewed"] = mark

    def hits(self, index: str, *, query: dict, sort: list, source: list) -> list[dict]:
        assert index == "soc-cyberalarm.alarm-*" and sort[-1] == {"soc.id": "asc"}
        if self.broken:
            fail(self.broken)
        found = [document for document in self.documents.values() if self._matches(document, query)]
        return [{"_id": hit["soc"]["id"], "_source": hit} for hit in found]

    def _matches(self, hit: dict, query: dict) -> bool:
        (kind, clause), *more = query.items()
        assert not more
        if kind == "bool":
            ok = all(self._matches(hit, part) for part in clause.get("filter", ()))
            return ok and ("should" not in clause or any(self._matches(hit, part) for part in clause["should"]))
        ((name, wanted),) = clause.items()
        value = hit
        for part in name.split("."):
            value = value[part]
        return {
            "term": lambda: value == wanted,
            "terms": lambda: value in wanted,
            "range": lambda: value >= wanted["gte"],
        }[kind]()


class World:
    """A site on which the module runs: Elasticsearch, a mail server, a clock and a state folder."""

    def __init__(self, folder: object) -> None:
        self.folder, self.now = folder, NOON
        self.elastic = FakeElastic()
        self.mails: list = []
        self.warnings: list[str] = []
        self.refuse: Exception | None = None
        self.roster = folder / "roster.yml"
        self.roster.write_text(ROSTER)
        defaults = {name: option.get("default") for name, option in argument_spec().options.items()}
        self.params = defaults | {
            "roster": str(self.roster),
            "state_dir": str(folder / "state"),
            "mail_from": "soc@soc.example",
            "mail_domain": "call.example",
            "smtp_host": "mail.example",
        }

    @property
    def ledger(self) -> str:
        return str(self.folder / "state" / "escalation" / "ledger.sqlite")

    def send(self, message: object) -> None:
        if self.refuse:
            fail(self.refuse)
        self.mails.append(message)

    def run(self, minutes: float = 0, *, check: bool = False, reach: object = None, **params: object) -> dict:
        """Let ``minutes`` pass, then run the module."""
        self.now += timedelta(minutes=minutes)
        self.warnings.clear()
        run = Run(self.params | params, check, lambda: self.now, "", self.warnings.append)
        more = {} if reach is None else {"reach": reach}
        return escalate(run, self.elastic, send=self.send, **more)

    @property
    def ids(self) -> list[str]:
        return [mail["Message-ID"] for mail in self.mails]


@pytest.fixture
def world(tmp_path: object) -> World:
    return World(tmp_path)


@pytest.fixture
def escalation() -> types.SimpleNamespace:
    """What tests need of this file without importing it."""
    return types.SimpleNamespace(World=World, NOON=NOON, ROSTER=ROSTER)
