# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy as a table: one row a case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._escalate.policy import (
    Alarm,
    Contact,
    Exclusion,
    Incident,
    Ledger,
    Member,
    Roster,
    Rules,
    Unsent,
    decide,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
AN = Contact("An", "oncall-an@call.example")
BO = Contact("Bo", "oncall-bo@call.example")
ON_DUTY = Roster((AN,))
LATER = NOW + timedelta(minutes=9)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def alarm(name: str = "a", **fields: object) -> Alarm:
    """A level 1 alarm of company c1, rule r, host h, 20 minutes old, not reviewed."""
    values = {"level": 1, "tenant_id": "c1", "tenant_name": "Acme NV", "time": ago(20), "rule": "r", "entity": "h"}
    return Alarm(**{"id": name, **values, **fields})


def incident(state: str = "waiting", **fields: object) -> Incident:
    """An incident of those alarms, opened 15 minutes ago."""
    values = {
        "id": "1" * 32,
        "level": 1,
        "tenant_id": "c1",
        "tenant_name": "Acme NV",
        "key": alarm().key,
        "title": "t",
        "opened": ago(15),
        "state": state,
        "until": NOW if state == "waiting" else None,
        "called": ago(60) if state == "called" else None,
    }
    return Incident(**{**values, **fields})


def member(name: str = "a", due: datetime = NOW, settled: bool = True) -> Member:
    return Member(name, "1" * 32, ago(20), due, settled)


def ledger(*incidents: Incident, members: tuple = (member(),), **more: object) -> Ledger:
    return Ledger(incidents, {m.alarm: m for m in members}, **more)


def storm(number: int, company: str = "c1", minutes: float = 5) -> list[Alarm]:
    return [alarm(f"{company}-{n}", level=2, tenant_id=company, time=ago(minutes)) for n in range(number)]


def for_bo(state: str) -> tuple[Unsent, ...]:
    """A call that was to go to Bo, who is not on duty any more."""
    return (Unsent("<m>", incident("called"), BO.address, state),)


def level2(state: str = "called", **fields: object) -> Incident:
    return incident(state, level=2, key='["c1"]', **fields)


def excluded(company: str = "Acme NV", until: datetime = NOW + timedelta(hours=1)) -> Rules:
    return replace(RULES, exclusions=(Exclusion(company, "An", "test", until),))


RULES = Rules(level2_threshold=10, max_calls_per_hour=3)
EMPTY = Ledger()
FULL = (ago(50), ago(30), ago(10))
OLD_CALL = incident("called", called=ago(481))

LEVEL1 = {
    # what happens: (alarms, what the ledger holds, what else, the actions)
    "seen for the first time": ([alarm()], EMPTY, {}, ["open"]),
    "reviewed before it is seen": ([alarm(reviewed=True)], EMPTY, {}, []),
    "two of one kind": ([alarm(), alarm("b")], EMPTY, {}, ["open"]),
    "two hosts": ([alarm(), alarm("b", entity="k")], EMPTY, {}, ["open", "open"]),
    "two rules": ([alarm(), alarm("b", rule="s")], EMPTY, {}, ["open", "open"]),
    "two companies": ([alarm(), alarm("b", tenant_id="c2")], EMPTY, {}, ["open", "open"]),
    "level 3": ([alarm(level=3)], EMPTY, {}, []),
    "no wait at all": ([alarm()], EMPTY, {"rules": replace(RULES, level1_wait=timedelta(0))}, ["open", "call"]),
    "still waiting": ([alarm()], ledger(incident(until=LATER), members=(member(due=LATER),)), {}, ["wait"]),
    "reviewed while waiting": ([alarm(reviewed=True)], ledger(incident()), {}, ["close"]),
    "reviewed early": ([alarm(reviewed=True)], ledger(incident(), members=(member(due=LATER),)), {}, ["close"]),
    "not reviewed in time": ([alarm()], ledger(incident()), {}, ["call"]),
    "gone": ([], ledger(incident()), {}, ["call"]),
    "gone, still waiting": ([], ledger(incident(), members=(member(due=LATER),)), {}, ["wait"]),
    "vendor could not be asked": ([alarm()], ledger(incident()), {"doubt": "no answer"}, ["call"]),
    "vendor could not be asked, but the mark was seen": ([alarm(reviewed=True)], ledger(incident()), {"doubt": "no answer"}, ["close"]),
    "alarms could not be read": (None, ledger(incident()), {"doubt": "no answer"}, ["call"]),
    "alarms could not be read, still waiting": (None, ledger(incident(), members=(member(due=LATER),)), {}, ["wait"]),
    "lowered to level 3 and not reviewed": ([alarm(level=3)], ledger(incident()), {}, ["call"]),
    "one of two reviewed": ([alarm(reviewed=True), alarm("b")], ledger(incident(), members=(member(), member("b"))), {}, ["call"]),
    "one reviewed, the other not due": ([alarm(reviewed=True), alarm("b")], ledger(incident(), members=(member(), member("b", LATER))), {}, ["wait"]),
    "another of its kind while waiting": ([alarm(), alarm("b")], ledger(incident(), members=(member(due=LATER),)), {}, ["attach", "wait"]),
    "another of its kind after the call": ([alarm(), alarm("b")], ledger(incident("called")), {}, ["attach"]),
    "already called": ([alarm()], ledger(incident("called")), {}, []),
    "reviewed after the call": ([alarm(reviewed=True)], ledger(incident("called")), {}, ["close"]),
    "alarms could not be read after the call": (None, ledger(incident("called")), {}, []),
    "called long ago": ([alarm()], ledger(OLD_CALL), {}, ["close"]),
    "called long ago, and another of its kind": ([alarm(), alarm("b")], ledger(OLD_CALL), {}, ["close", "open"]),
    "called long ago, and the mail never went out": ([alarm()], ledger(OLD_CALL, unsent=(Unsent("<m>", OLD_CALL, AN.address, "failed"),)), {}, []),
    "closed after a call, and the alarm is read again": ([alarm()], ledger(), {}, []),
    "closed as reviewed, and the mark is taken away": ([alarm()], ledger(members=(member(settled=False),)), {}, ["open"]),
    "nobody to call": ([alarm()], ledger(incident()), {"roster": None}, ["hold"]),
    "somebody to call again": ([alarm()], ledger(incident("held")), {}, ["call"]),
    "reviewed while nobody could be called": ([alarm(reviewed=True)], ledger(incident("held")), {"roster": None}, ["close"]),
    "the cap does not hold back level 1": ([alarm()], ledger(incident(), calls=FULL), {}, ["call"]),
    "excluded by name": ([alarm()], EMPTY, {"rules": excluded("acme nv")}, ["exclude"]),
    "excluded by id": ([alarm()], EMPTY, {"rules": excluded("C1")}, ["exclude"]),
    "excluded is another company": ([alarm()], EMPTY, {"rules": excluded("Beta")}, ["open"]),
    "excluded until now": ([alarm()], EMPTY, {"rules": excluded(until=NOW)}, ["open"]),
    "excluded while waiting": ([alarm()], ledger(incident()), {"rules": excluded()}, ["exclude"]),
    "another of its kind while excluded": ([alarm(), alarm("b")], ledger(incident("excluded")), {"rules": excluded()}, ["attach"]),
    "after the exclusion": ([alarm()], ledger(incident("excluded")), {}, ["close"]),
    "after the exclusion, and another of its kind": ([alarm(), alarm("b")], ledger(incident("excluded")), {}, ["close", "open"]),
    "a call not sent, and somebody else on duty": ([alarm()], ledger(incident("called"), unsent=for_bo("failed")), {}, ["readdress"]),
    "a call perhaps sent, and somebody else on duty": ([alarm()], ledger(incident("called"), unsent=for_bo("sending")), {}, []),
    "a call not sent, and reviewed since": ([alarm(reviewed=True)], ledger(incident("called"), unsent=for_bo("failed")), {}, ["close"]),
}  # fmt: skip

LEVEL2 = {
    "as many as the threshold": (storm(10), EMPTY, {}, []),
    "one more": (storm(11), EMPTY, {}, ["call"]),
    "spread over companies": (storm(10) + storm(10, "c2"), EMPTY, {}, []),
    "older than the window": (storm(11, minutes=60), EMPTY, {}, []),
    "just inside the window": (storm(11, minutes=59.9), EMPTY, {}, ["call"]),
    "a clock ahead of ours": (storm(11, minutes=-5), EMPTY, {}, ["call"]),
    "a threshold of its own": (storm(11), EMPTY, {"rules": replace(RULES, level2_thresholds={"acme nv": 11})}, []),
    "a threshold of its own, passed": (storm(3), EMPTY, {"rules": replace(RULES, level2_thresholds={"c1": 2})}, ["call"]),
    "already called": (storm(12), ledger(level2()), {}, []),
    "fewer, but not half": (storm(5), ledger(level2()), {}, []),
    "below half": (storm(4), ledger(level2()), {}, ["rearm"]),
    "none left": ([], ledger(level2()), {}, ["rearm"]),
    "threshold 0, one left": (storm(1), ledger(level2()), {"rules": replace(RULES, level2_threshold=0)}, []),
    "threshold 0, none left": ([], ledger(level2()), {"rules": replace(RULES, level2_threshold=0)}, ["rearm"]),
    "alarms could not be read": (None, ledger(level2()), {}, []),
    "over the cap": (storm(11), replace(EMPTY, calls=FULL), {}, ["hold"]),
    "held back before, over the cap": (storm(11), ledger(level2("held"), calls=FULL), {}, ["hold"]),
    "held back before, below the cap": (storm(11), ledger(level2("held"), calls=FULL[:2]), {}, ["call"]),
    "held back before, and gone": ([], ledger(level2("held")), {}, ["rearm"]),
    "calls of more than an hour ago": (storm(11), replace(EMPTY, calls=(ago(61), *FULL[:2])), {}, ["call"]),
    "level 1 counts for the cap": ([alarm(), *storm(11)], ledger(incident(), calls=FULL[:2]), {}, ["call", "hold"]),
    "two companies": (storm(11) + storm(11, "c2"), EMPTY, {}, ["call", "call"]),
    "nobody to call": (storm(11), EMPTY, {"roster": None}, ["hold"]),
    "excluded": (storm(11), EMPTY, {"rules": excluded()}, ["exclude"]),
    "excluded, and below half": (storm(4), ledger(level2("excluded")), {"rules": excluded()}, ["rearm"]),
    "after the exclusion, still over": (storm(11), ledger(level2("excluded")), {}, ["call"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("alarms", "before", "more", "actions"), [*LEVEL1.values(), *LEVEL2.values()], ids=[*LEVEL1, *LEVEL2]
)
def test_case(alarms: list[Alarm] | None, before: Ledger, more: dict, actions: list[str]) -> None:
    plan = decide(alarms, **{"roster": ON_DUTY, "rules": RULES, "ledger": before, "now": NOW, **more})
    assert [action.kind for action in plan.actions] == actions
    assert all(action.reason for action in plan.actions)
    assert all(action.contact == AN for action in plan.calls)


def test_a_decision_that_changes_nothing_is_not_a_change() -> None:
    before = ledger(incident(until=NOW + timedelta(minutes=1)), members=(member(due=NOW + timedelta(minutes=1)),))
    (wait,) = decide([alarm()], ON_DUTY, RULES, before, NOW).actions
    assert wait.kind == "wait" and not wait.changed
    held = decide([alarm()], None, RULES, ledger(incident()), NOW).actions[0]
    assert held.changed
    assert not decide([alarm()], None, RULES, ledger(held.incident), NOW + timedelta(minutes=5)).actions[0].changed


def test_the_order_of_the_alarms_does_not_matter() -> None:
    alarms = [alarm(), alarm("b", time=ago(30)), alarm("c", entity="k"), *storm(11)]
    assert decide(alarms, ON_DUTY, RULES, EMPTY, NOW) == decide(alarms[::-1], ON_DUTY, RULES, EMPTY, NOW)


def test_a_reopened_incident_is_another_one_even_at_the_same_moment() -> None:
    first = decide([alarm()], ON_DUTY, RULES, EMPTY, NOW).actions[0].incident
    before = Ledger((), {"a": Member("a", first.id, ago(20), NOW, settled=False)})
    assert decide([alarm()], ON_DUTY, RULES, before, NOW).actions[0].incident.id != first.id


@pytest.mark.parametrize(
    ("contacts", "name"),
    [
        ((AN, BO), "An"),
        ((replace(AN, start=NOW + timedelta(seconds=1)), BO), "Bo"),
        ((replace(AN, start=NOW), BO), "An"),
        ((replace(AN, end=NOW), BO), "Bo"),
        ((replace(AN, end=NOW + timedelta(seconds=1)), BO), "An"),
        ((replace(AN, start=ago(2), end=ago(1)),), None),
    ],
    ids=["always", "not yet", "from is in", "until is not", "until the last second", "nobody"],
)
def test_who_is_on_duty(contacts: tuple[Contact, ...], name: str | None) -> None:
    found = Roster(contacts).on_duty(NOW)
    assert (found and found.name) == name


def test_ten_thousand_alarms_are_decided_within_a_second() -> None:
    import time

    alarms = [alarm(f"a{n}", entity=f"h{n % 50}") for n in range(5000)] + storm(5000)
    start = time.process_time()
    plan = decide(alarms, ON_DUTY, RULES, EMPTY, NOW)
    assert time.process_time() - start < 1
    assert len(plan.actions) == 51
