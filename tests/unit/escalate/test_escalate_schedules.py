# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random schedules of alarms, reviews, crashes and broken surroundings: nobody is missed, nobody is called twice."""

from __future__ import annotations

import sqlite3
import tempfile
import types
from datetime import timedelta
from pathlib import Path

from ansible_collections.netcure.soc.plugins.module_utils._core.errors import AnswerError, Unreachable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

POINTS = ["before_intent_commit", "after_intent_commit", "before_send", "after_mail_before_log", "after_log"]
HOSTS = ["10.0.0.1", "10.0.0.2"]
WAIT = timedelta(minutes=15)

MINUTES = st.sampled_from([1, 7, 15])
ACTIONS = st.one_of(
    st.tuples(st.just("alarm"), st.sampled_from(HOSTS)),
    st.tuples(st.just("run"), MINUTES),
    st.tuples(st.just("run"), MINUTES),
    st.tuples(st.just("crash"), st.sampled_from(POINTS)),
    st.tuples(st.just("review"), st.integers(0, 3)),
    st.tuples(st.just("vanish"), st.integers(0, 3)),
    st.tuples(st.just("elastic"), st.booleans()),
    st.tuples(st.just("roster"), st.booleans()),
    st.tuples(st.just("mail"), st.sampled_from(["works", "refuses", "is away", "breaks off"])),
)
FAULTS = {
    "works": None,
    "refuses": AnswerError("refused"),
    "is away": Unreachable("away"),
    "breaks off": Unreachable("broken off", outcome="unknown"),
}


class Crash(BaseException):
    """The process ends here."""


class Schedule:
    """Plays a schedule, and remembers what a person would have noticed, without looking into the ledger."""

    def __init__(self, world: object) -> None:
        self.world = world
        self.created: dict[str, object] = {}
        self.host: dict[str, str] = {}
        self.reviewed: dict[str, object] = {}
        self.vanished: set[str] = set()
        self.sent: list[tuple[object, str, str]] = []  # when, Message-ID, host
        self.elastic_failed = False
        self.lost_answers = 0
        self.quiet: set[str] = set(HOSTS)  # hosts without an open incident, as of the last whole run
        self.needs_new_call: set[str] = set()
        world.send = self.send

    def send(self, message: object) -> None:
        fault = self.world.refuse
        unknown = fault is not None and fault.details.get("outcome") == "unknown"
        if fault is None or unknown:
            host = next(host for host in HOSTS if host.replace(".", "-") in message.get_content())
            self.sent.append((self.world.now, message["Message-ID"], host))
        if unknown:
            self.lost_answers += 1
        if fault is not None:
            raise fault

    def play(self, action: str, value: object) -> None:
        if action == "alarm":
            self.alarm(value)
        elif action in ("review", "vanish") and value < len(self.created):
            name = f"alarm-{value}"
            if name in self.vanished:
                return
            if action == "review":
                self.world.elastic.review(name)
                self.reviewed.setdefault(name, self.world.now)
            else:
                del self.world.elastic.documents[name]
                self.vanished.add(name)
        elif action == "elastic":
            self.world.elastic.broken = None if value else Unreachable("down")
        elif action == "roster":
            self.world.roster.write_text("contacts: []" if not value else "contacts:\n  - {name: An, list: an}\n")
        elif action == "mail":
            self.world.refuse = FAULTS[value]
        elif action == "run":
            self.run(value)
        elif action == "crash":
            self.crash(value)

    def alarm(self, host: str) -> None:
        name = f"alarm-{len(self.created)}"
        title = f"beacon of {host.replace('.', '-')}"
        self.world.elastic.put(name, time=self.world.now, ip=host, title=title, rule="r")
        self.created[name], self.host[name] = self.world.now, host
        if host in self.quiet:
            self.needs_new_call.add(name)

    def run(self, minutes: int) -> None:
        self.elastic_failed |= self.world.elastic.broken is not None
        self.world.run(minutes)
        if self.world.elastic.broken is None:
            self.quiet = {
                host
                for host in HOSTS
                if all(name in self.reviewed and name not in self.vanished for name in self.of(host))
            }
        else:
            self.quiet -= set(self.host.values())

    def crash(self, point: str) -> None:
        def reach(here: str) -> None:
            if here == point:
                raise Crash

        self.elastic_failed |= self.world.elastic.broken is not None
        self.quiet -= set(self.host.values())
        before = len(self.sent)
        try:
            self.world.run(15, reach=reach)
        except Crash:
            self.lost_answers += point == "after_mail_before_log" and len(self.sent) > before

    def of(self, host: str) -> list[str]:
        return [name for name, where in self.host.items() if where == host]

    def seen(self) -> set[str]:
        with sqlite3.connect(self.world.ledger) as database:
            return {name for (name,) in database.execute("SELECT id FROM alarm")}


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(schedule=st.lists(ACTIONS, min_size=10, max_size=20))
def test_any_schedule(escalation: types.SimpleNamespace, schedule: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Schedule(escalation.World(Path(folder)))
        for action, value in schedule:
            story.play(action, value)
        for action, value in (("elastic", True), ("roster", True), ("mail", "works"), ("run", 1), ("run", 16)):
            story.play(action, value)
        seen = story.seen()
        sent = story.sent

        for name, host in story.host.items():
            unreviewed = name not in story.reviewed
            if unreviewed and name not in story.vanished:
                assert any(where == host for _when, _id, where in sent), f"nobody was called about {name}"
            if unreviewed and name in seen:
                assert any(where == host for _when, _id, where in sent), f"nobody was called about {name}, now gone"
            if unreviewed and name in seen and name in story.needs_new_call:
                later = [when for when, _id, where in sent if where == host and when >= story.created[name]]
                assert later, f"nobody was called again about {name}"

        for host in HOSTS:
            mine = {identity for _when, identity, where in sent if where == host}
            names = story.of(host)
            if not any(name in story.reviewed for name in names):
                assert len(mine) <= 1, f"two calls about {host}"
            in_time = [
                name in story.reviewed
                and story.reviewed[name] - story.created[name] < WAIT
                and name not in story.vanished
                for name in names
            ]
            if all(in_time) and not story.elastic_failed:
                assert not mine, f"a call about {host}, which was reviewed in time"

        # A mail goes twice only where an answer was lost, and then as the same mail.
        assert len(sent) - len({identity for _when, identity, _host in sent}) <= story.lost_answers
        result = story.world.run()
        assert not result["changed"] and not result["calls"], "a second run has nothing left to do"
