# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The ledger: incidents, the outbox, and the record of every decision, in one SQLite file that survives everything."""

from __future__ import annotations

import json
import os
import sqlite3
import typing as t
from dataclasses import dataclass, fields, replace
from datetime import datetime

from .._core.clock import format_time, parse_time
from .._core.errors import StateError
from .._core.state import open_database, transaction
from .policy import CANCELLED, CLOSED, FAILED, INTENT, SENDING, SENT, Action, Incident, Ledger, Member, Plan, Unsent

SCHEMA = """
CREATE TABLE IF NOT EXISTS incident (
    id TEXT PRIMARY KEY, level INTEGER NOT NULL, tenant_id TEXT NOT NULL, tenant_name TEXT NOT NULL, key TEXT NOT NULL,
    title TEXT NOT NULL, opened TEXT NOT NULL, state TEXT NOT NULL, until TEXT, called TEXT, closed TEXT, outcome TEXT,
    reason TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_open_incident_a_key ON incident (level, key) WHERE state != 'closed';
CREATE TABLE IF NOT EXISTS alarm (
    id TEXT PRIMARY KEY, incident TEXT NOT NULL REFERENCES incident, time TEXT NOT NULL, due TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS alarm_incident ON alarm (incident);
CREATE INDEX IF NOT EXISTS alarm_time ON alarm (time);
CREATE TABLE IF NOT EXISTS outbox (
    message_id TEXT PRIMARY KEY, incident TEXT NOT NULL REFERENCES incident, step TEXT NOT NULL,
    address TEXT NOT NULL, contact TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intent', 'sending', 'failed', 'sent', 'cancelled')),
    created TEXT NOT NULL, changed TEXT NOT NULL, tries INTEGER NOT NULL,
    reason TEXT NOT NULL, answer TEXT,
    UNIQUE (incident, step)
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_state ON outbox (state);
CREATE TABLE IF NOT EXISTS decision (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, incident TEXT, kind TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS decision_stays BEFORE UPDATE ON decision
    BEGIN SELECT RAISE(ABORT, 'the record of decisions is append-only'); END;
CREATE TRIGGER IF NOT EXISTS decision_is_kept BEFORE DELETE ON decision
    BEGIN SELECT RAISE(ABORT, 'the record of decisions is append-only'); END;
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT;
"""

INCIDENT_FIELDS = tuple(field.name for field in fields(Incident))
TIMES = ("opened", "until", "called", "closed")
# The only step so far; later steps of an escalation chain get mails, and Message-IDs, of their own.
STEP = "call-1"


@dataclass(frozen=True)
class Letter:
    """A mail in the outbox that is to be sent: the call that it asks for, not yet its text."""

    message_id: str
    incident: Incident
    address: str
    contact: str
    state: str
    created: datetime
    reason: str


def message_id(incident: Incident, domain: str) -> str:
    """The Message-ID of an incident's call: the same however often it is sent."""
    return f"<{incident.id}-{STEP}@{domain}>"


class Store:
    """The ledger's file. Every method that writes is one transaction."""

    def __init__(self, path: str, read_only: bool = False) -> None:
        """Open, and create unless ``read_only``: then a ledger that is not there yet is an empty one."""
        if not read_only:
            self.database = open_database(path, SCHEMA)
        elif os.path.exists(path):
            try:
                self.database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
                self.database.row_factory = sqlite3.Row
                self.database.execute("SELECT count(*) FROM incident")
            except sqlite3.Error as exc:
                raise StateError(f"The ledger {path} cannot be read: {exc}. Run as the user that owns it.") from exc
        else:
            self.database = sqlite3.connect(":memory:", isolation_level=None)
            self.database.row_factory = sqlite3.Row
            self.database.executescript(SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    def load(self, since: datetime, calls_since: datetime) -> Ledger:
        """What the policy needs: open incidents, their alarms and those since ``since``, calls since ``calls_since``."""
        members = self.database.execute(
            "SELECT alarm.*, incident.state != 'closed' OR incident.called IS NOT NULL OR incident.outcome != 'reviewed'"
            " AS settled FROM alarm JOIN incident ON incident.id = alarm.incident"
            " WHERE incident.state != 'closed' OR alarm.time >= ? ORDER BY alarm.time, alarm.id",
            (format_time(since),),
        )
        calls = self.database.execute(
            "SELECT created FROM outbox WHERE created >= ? AND state != ?", (format_time(calls_since), CANCELLED)
        )
        return Ledger(
            incidents=self.incidents(),
            members={
                row["id"]: Member(
                    row["id"], row["incident"], parse_time(row["time"]), parse_time(row["due"]), bool(row["settled"])
                )
                for row in members
            },
            unsent=tuple(Unsent(x.message_id, x.incident, x.address, x.state) for x in self.letters()),
            calls=tuple(parse_time(row["created"]) for row in calls),
        )

    def incidents(self) -> tuple[Incident, ...]:
        """The open incidents, oldest first."""
        rows = self.database.execute("SELECT * FROM incident WHERE state != ? ORDER BY opened, id", (CLOSED,))
        return tuple(_incident(row) for row in rows)

    def letters(self) -> tuple[Letter, ...]:
        """What the outbox has to send, level 1 first."""
        rows = self.database.execute(
            "SELECT incident.*, outbox.message_id, outbox.address, outbox.contact, outbox.state AS mail_state,"
            " outbox.created, outbox.reason AS mail_reason FROM outbox JOIN incident ON incident.id = outbox.incident"
            " WHERE outbox.state IN (?, ?, ?) ORDER BY incident.level, outbox.created, outbox.message_id",
            (INTENT, SENDING, FAILED),
        )
        return tuple(
            Letter(
                row["message_id"],
                _incident(row),
                row["address"],
                row["contact"],
                row["mail_state"],
                parse_time(row["created"]),
                row["mail_reason"],
            )
            for row in rows
        )

    def commit(self, plan: Plan, domain: str, kept: dict[str, str], reach: t.Callable[[str], None]) -> None:
        """Make ``plan`` true in one transaction: incidents, alarms, intents to call, and the record of decisions.

        ``kept`` are values to remember for later runs, by name.
        """
        now = format_time(plan.now)
        with transaction(self.database) as database:
            for action in plan.actions:
                if action.changed:
                    self._apply(action, domain, now)
            database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", kept.items())
            reach("before_intent_commit")

    def _apply(self, action: Action, domain: str, now: str) -> None:
        incident, execute = action.incident, self.database.execute
        execute(
            f"INSERT INTO incident VALUES ({', '.join('?' * len(INCIDENT_FIELDS))}) ON CONFLICT (id) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in INCIDENT_FIELDS),
            [_cell(incident, name) for name in INCIDENT_FIELDS],
        )
        for member in action.members:
            row = (member.alarm, member.incident, format_time(member.time), format_time(member.due))
            execute("INSERT OR REPLACE INTO alarm VALUES (?, ?, ?, ?)", row)
        if action.kind == "call":
            execute(
                "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, NULL)",
                (
                    message_id(incident, domain),
                    incident.id,
                    STEP,
                    action.contact.address,
                    action.contact.name,
                    INTENT,
                    now,
                    now,
                    action.reason,
                ),
            )
        elif action.kind == "readdress":
            execute(
                "UPDATE outbox SET address = ?, contact = ?, changed = ? WHERE message_id = ?",
                (action.contact.address, action.contact.name, now, action.message_id),
            )
        elif incident.outcome == "reviewed":
            # Reviewed while the mail server was away: the call that did not go out is not needed any more.
            execute(
                "UPDATE outbox SET state = ?, changed = ? WHERE incident = ? AND state != ?",
                (CANCELLED, now, incident.id, SENT),
            )
        self._record(now, incident.id, action.kind, action.reason)

    def attempt(self, letter: Letter, now: datetime) -> None:
        """Note that a mail is being handed over: until it is marked, nobody knows whether it arrived."""
        with transaction(self.database) as database:
            database.execute(
                "UPDATE outbox SET state = ?, changed = ?, tries = tries + 1 WHERE message_id = ?",
                (SENDING, format_time(now), letter.message_id),
            )

    def mark(self, letter: Letter, state: str, what: str, now: datetime) -> None:
        """Note what became of handing a mail over, in the outbox and in the record of decisions."""
        with transaction(self.database) as database:
            database.execute(
                "UPDATE outbox SET state = ?, answer = ?, changed = ? WHERE message_id = ?",
                (state, what, format_time(now), letter.message_id),
            )
            self._record(format_time(now), letter.incident.id, "unknown" if state == SENDING else state, what)

    def _record(self, now: str, incident: str, kind: str, reason: str) -> None:
        self.database.execute(
            "INSERT INTO decision (time, incident, kind, reason) VALUES (?, ?, ?, ?)", (now, incident, kind, reason)
        )

    def decisions(self, after: int = 0) -> list[dict]:
        """The record of decisions with a number above ``after``, oldest first."""
        rows = self.database.execute(
            "SELECT time, incident, kind, reason FROM decision WHERE number > ? ORDER BY number", (after,)
        )
        return [dict(row) for row in rows]

    def last_decision(self) -> int:
        """The number of the newest decision, 0 when there is none."""
        return self.database.execute("SELECT coalesce(max(number), 0) FROM decision").fetchone()[0]

    def kept(self, name: str) -> t.Any:
        """The value that an earlier run kept under ``name`` (JSON), or None."""
        row = self.database.execute("SELECT content FROM kept WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row["content"])


def after(letters: tuple[Letter, ...], plan: Plan, domain: str) -> tuple[Letter, ...]:
    """What the outbox will have to send once ``plan`` is committed: what check mode shows."""
    found = {letter.incident.id: letter for letter in letters}
    for action in plan.actions:
        incident = action.incident
        if action.kind == "call":
            identity = message_id(incident, domain)
            found[incident.id] = Letter(
                identity, incident, action.contact.address, action.contact.name, INTENT, plan.now, action.reason
            )
        elif incident.id in found:
            found[incident.id] = replace(found[incident.id], incident=incident)
            if action.kind == "readdress":
                found[incident.id] = replace(
                    found[incident.id], address=action.contact.address, contact=action.contact.name
                )
            elif incident.outcome == "reviewed":
                del found[incident.id]
    return tuple(sorted(found.values(), key=lambda x: (x.incident.level, x.created, x.message_id)))


def _incident(row: sqlite3.Row) -> Incident:
    return Incident(
        **{name: parse_time(row[name]) if name in TIMES and row[name] else row[name] for name in INCIDENT_FIELDS}
    )


def _cell(incident: Incident, name: str) -> t.Any:
    value = getattr(incident, name)
    return format_time(value) if isinstance(value, datetime) else value
