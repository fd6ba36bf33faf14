# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Who must be telephoned, and why: a pure function of alarms, roster, rules, what was decided before, and the time."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from .._core.clock import format_time
from .._core.ids import document_id

# States of an incident. Everything but CLOSED is open, and there is at most one open incident a key.
WAITING, HELD, CALLED, EXCLUDED, CLOSED = "waiting", "held", "called", "excluded", "closed"
# States of a mail in the outbox.
INTENT, SENDING, FAILED, SENT, CANCELLED = "intent", "sending", "failed", "sent", "cancelled"

SEVERITY = {1: "Critical", 2: "High"}
CAP_SPAN = timedelta(hours=1)


@dataclass(frozen=True)
class Alarm:
    """One alarm as Elasticsearch holds it now. ``entity`` is the host that it is about."""

    id: str
    level: int
    tenant_id: str
    tenant_name: str
    time: datetime
    reviewed: bool = False
    title: str = "alarm"
    rule: str = ""
    entity: str = ""

    @property
    def key(self) -> str:
        """What makes two level 1 alarms the same thing: company, rule and host."""
        return json.dumps([self.tenant_id, self.rule, self.entity], ensure_ascii=False)


@dataclass(frozen=True)
class Exclusion:
    """A company that nobody is called for before ``until``."""

    company: str
    who: str
    why: str
    until: datetime


@dataclass(frozen=True)
class Rules:
    """What the site wants. Companies are named by id or by name, whatever the case."""

    level1_wait: timedelta = timedelta(minutes=15)
    level1_repeat_after: timedelta = timedelta(hours=8)
    level2_window: timedelta = timedelta(minutes=60)
    level2_threshold: int = 20
    level2_thresholds: t.Mapping[str, int] = field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()
    max_calls_per_hour: int = 10

    def threshold(self, tenant_id: str, tenant_name: str) -> int:
        """The level 2 threshold of a company."""
        for company, number in self.level2_thresholds.items():
            if _is(company, tenant_id, tenant_name):
                return number
        return self.level2_threshold

    def exclusion(self, tenant_id: str, tenant_name: str, now: datetime) -> Exclusion | None:
        """The exclusion that holds for a company now; one that is past is as if it were not there."""
        for exclusion in self.exclusions:
            if exclusion.until > now and _is(exclusion.company, tenant_id, tenant_name):
                return exclusion
        return None


@dataclass(frozen=True)
class Contact:
    """Somebody who can be called: the address of a VocalNotify list, and when (``start`` in, ``end`` not)."""

    name: str
    address: str
    start: datetime | None = None
    end: datetime | None = None

    def on_duty(self, now: datetime) -> bool:
        """Whether the window covers ``now``; without one, always."""
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)


@dataclass(frozen=True)
class Roster:
    """Contacts in the order in which they are called."""

    contacts: tuple[Contact, ...]

    def on_duty(self, now: datetime) -> Contact | None:
        """The first contact on duty."""
        return next((contact for contact in self.contacts if contact.on_duty(now)), None)


@dataclass(frozen=True)
class Incident:
    """One thing that somebody may have to be called for, once. ``reason`` is that of its last change."""

    id: str
    level: int
    tenant_id: str
    tenant_name: str
    key: str
    title: str
    opened: datetime
    state: str
    until: datetime | None = None
    called: datetime | None = None
    closed: datetime | None = None
    outcome: str | None = None
    reason: str = ""

    @property
    def ref(self) -> str:
        """Six digits that a voice can read out."""
        return f"{int(self.id, 16) % 10**6:06d}"


@dataclass(frozen=True)
class Member:
    """An alarm of an incident: when it happened, and when its own wait is over.

    ``settled`` is False when its incident was closed as reviewed without a call: should the mark be taken away
    again, the alarm counts as new.
    """

    alarm: str
    incident: str
    time: datetime
    due: datetime
    settled: bool = True


@dataclass(frozen=True)
class Unsent:
    """A call that the mail server has not accepted yet."""

    message_id: str
    incident: Incident
    address: str
    state: str


@dataclass(frozen=True)
class Ledger:
    """What earlier runs left: open incidents, alarms by id, calls on their way, times of the calls of the last hour."""

    incidents: tuple[Incident, ...] = ()
    members: t.Mapping[str, Member] = field(default_factory=dict)
    unsent: tuple[Unsent, ...] = ()
    calls: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class Action:
    """One decision: the incident before and after it, and why."""

    kind: str
    before: Incident | None
    incident: Incident
    reason: str
    members: tuple[Member, ...] = ()
    contact: Contact | None = None
    message_id: str | None = None

    @property
    def changed(self) -> bool:
        """Whether it changes anything. Going on waiting does not."""
        return self.before != self.incident or bool(self.members) or self.message_id is not None


@dataclass(frozen=True)
class Plan:
    """All decisions of one run, in the order in which they were taken."""

    now: datetime
    actions: tuple[Action, ...]

    @property
    def calls(self) -> tuple[Action, ...]:
        """The decisions to telephone."""
        return tuple(action for action in self.actions if action.kind == "call")


def decide(
    alarms: t.Sequence[Alarm] | None,
    roster: Roster | None,
    rules: Rules,
    ledger: Ledger,
    now: datetime,
    doubt: str = "",
) -> Plan:
    """What to do about ``alarms`` at ``now``.

    ``alarms`` are those of the look-back and all those of open incidents, as freshly read; None when they could not
    be read. ``doubt`` says why the reviewed marks may be out of date, empty when they are not. Both fail open: a
    level 1 alarm that cannot be shown to be reviewed is called about. A mark that *was* seen stands, doubt or not.
    ``roster`` None: nobody is known to be reachable; calls are held and taken up by the next run.

    Kinds of action: open, attach (more alarms of the same kind), wait, close, exclude, call, hold, rearm, readdress.
    """
    desk = _Desk(rules, ledger, now, roster.on_duty(now) if roster else None, doubt)
    alarms_by_id = {alarm.id: alarm for alarm in alarms or ()}
    _level1(desk, alarms_by_id)
    if alarms is not None:
        _level2(desk, [alarm for alarm in alarms_by_id.values() if alarm.level == 2])
    _readdress(desk)
    return Plan(now, tuple(desk.actions))


class _Desk:
    """The decisions so far, and what every decision needs to know."""

    def __init__(self, rules: Rules, ledger: Ledger, now: datetime, contact: Contact | None, doubt: str) -> None:
        self.rules, self.ledger, self.now, self.contact, self.doubt = rules, ledger, now, contact, doubt
        self.actions: list[Action] = []
        self.incidents = {call.incident.id: call.incident for call in ledger.unsent}
        self.incidents |= {incident.id: incident for incident in ledger.incidents}
        self.calls = sum(1 for time in ledger.calls if time > now - CAP_SPAN)

    def open(self, level: int) -> list[Incident]:
        found = [i for i in self.incidents.values() if i.level == level and i.state != CLOSED]
        return sorted(found, key=lambda incident: (incident.opened, incident.id))

    def excluded(self, subject: Incident | Alarm) -> Exclusion | None:
        return self.rules.exclusion(subject.tenant_id, subject.tenant_name, self.now)

    def add(self, kind: str, incident: Incident, reason: str, **more: t.Any) -> None:
        before = self.incidents.get(incident.id)
        after = incident if kind in ("wait", "readdress") else replace(incident, reason=reason)
        self.incidents[incident.id] = after
        self.actions.append(Action(kind, before, after, reason, **more))

    def close(self, kind: str, incident: Incident, outcome: str, reason: str) -> None:
        self.add(kind, replace(incident, state=CLOSED, outcome=outcome, closed=self.now, until=None), reason)

    def exclude(self, incident: Incident, exclusion: Exclusion, **more: t.Any) -> None:
        reason = f"{incident.tenant_name} is excluded by {exclusion.who} until {format_time(exclusion.until)}: {exclusion.why}"
        self.add("exclude", replace(incident, state=EXCLUDED, until=None), reason, **more)

    def call(self, incident: Incident, reason: str) -> None:
        if self.contact is None:
            self.hold(incident, f"nobody is on duty in a usable roster; to be called because {reason}")
            return
        self.calls += 1
        called = replace(incident, state=CALLED, called=self.now, until=None)
        self.add("call", called, reason, contact=self.contact)

    def hold(self, incident: Incident, reason: str) -> None:
        self.add("hold", replace(incident, state=HELD), reason)


def _level1(desk: _Desk, alarms: dict[str, Alarm]) -> None:
    members: dict[str, list[Member]] = {}
    for member in desk.ledger.members.values():
        members.setdefault(member.incident, []).append(member)

    def unreviewed(incident: Incident) -> list[Member]:
        return [m for m in members.get(incident.id, ()) if not (m.alarm in alarms and alarms[m.alarm].reviewed)]

    unsent = {call.incident.id for call in desk.ledger.unsent}
    for incident in desk.open(1):
        if incident.state == CALLED and not unreviewed(incident):
            desk.close("close", incident, "reviewed", "all its alarms are marked reviewed")
        elif (
            incident.state == CALLED
            and desk.now - incident.called >= desk.rules.level1_repeat_after
            and incident.id not in unsent
        ):
            span = _span(desk.rules.level1_repeat_after)
            desk.close("close", incident, "expired", f"called {span} ago: a new alarm of this kind is a new incident")
        elif incident.state == EXCLUDED and not desk.excluded(incident):
            desk.close("close", incident, "excluded", "the exclusion of the company has ended")

    known = {incident.key: incident for incident in desk.open(1)}
    for key, news in _news(desk.ledger, alarms).items():
        opened = known.get(key) or _incident(desk, news[0])
        added = tuple(Member(alarm.id, opened.id, alarm.time, desk.now + desk.rules.level1_wait) for alarm in news)
        members.setdefault(opened.id, []).extend(added)
        exclusion = desk.excluded(opened)
        if opened.id in desk.incidents:
            desk.add("attach", opened, f"{len(added)} more of the same kind while it is {opened.state}", members=added)
        elif exclusion:
            desk.exclude(opened, exclusion, members=added)
        else:
            span = _span(desk.rules.level1_wait)
            desk.add("open", opened, f"level 1, not reviewed: an analyst has {span} to look at it", members=added)

    for incident in desk.open(1):
        if incident.state in (WAITING, HELD):
            _recheck(desk, incident, unreviewed(incident), alarms)


def _news(ledger: Ledger, alarms: dict[str, Alarm]) -> dict[str, list[Alarm]]:
    """Level 1 alarms that nothing was decided about yet, by key, oldest first."""
    found: dict[str, list[Alarm]] = {}
    for alarm in sorted(alarms.values(), key=lambda alarm: (alarm.time, alarm.id)):
        member = ledger.members.get(alarm.id)
        if alarm.level == 1 and not alarm.reviewed and (member is None or not member.settled):
            found.setdefault(alarm.key, []).append(alarm)
    return found


def _incident(desk: _Desk, alarm: Alarm) -> Incident:
    """A new level 1 incident. Its id follows from the alarm that opened it, and from that alarm's former incident."""
    former = desk.ledger.members.get(alarm.id)
    opening = json.dumps([alarm.key, alarm.id, desk.now.isoformat(), former.incident if former else ""])
    return Incident(
        id=document_id("escalation", "level1", alarm.tenant_id, opening),
        level=1,
        tenant_id=alarm.tenant_id,
        tenant_name=alarm.tenant_name,
        key=alarm.key,
        title=alarm.title,
        opened=desk.now,
        state=WAITING,
        until=desk.now + desk.rules.level1_wait,
    )


def _recheck(desk: _Desk, incident: Incident, pending: list[Member], alarms: dict[str, Alarm]) -> None:
    """The second look at an incident that waits, or that could not be called about."""
    exclusion = desk.excluded(incident)
    if exclusion:
        desk.exclude(incident, exclusion)
        return
    if not pending:
        desk.close("close", incident, "reviewed", "marked reviewed in time: no call")
        return
    due = min(member.due for member in pending)
    if due > desk.now:
        if incident.opened != desk.now or incident.until != due:
            waiting = replace(incident, state=WAITING, until=due)
            desk.add("wait", waiting, f"not reviewed yet: looked at again at {format_time(due)}")
        return
    late = [member for member in pending if member.due <= desk.now]
    if desk.doubt:
        reason = f"nobody could tell whether it was reviewed: {desk.doubt}"
    elif any(member.alarm not in alarms for member in late):
        reason = "its alarm can no longer be found, so nobody can tell whether it was reviewed"
    else:
        reason = f"still not reviewed after {_span(desk.rules.level1_wait)}"
    desk.call(incident, reason)


def _level2(desk: _Desk, alarms: list[Alarm]) -> None:
    start = desk.now - desk.rules.level2_window
    recent: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        if alarm.time > start:
            recent.setdefault(alarm.tenant_id, []).append(alarm)
    known = {incident.tenant_id: incident for incident in desk.open(2)}
    for tenant in sorted(recent.keys() | known.keys()):
        incident, mine = known.get(tenant), recent.get(tenant, [])
        count = len(mine)
        name = incident.tenant_name if incident else max(mine, key=lambda alarm: (alarm.time, alarm.id)).tenant_name
        threshold = desk.rules.threshold(tenant, name)
        if incident is None:
            if count <= threshold:
                continue
            incident = Incident(
                id=document_id("escalation", "level2", tenant, desk.now.isoformat()),
                level=2,
                tenant_id=tenant,
                tenant_name=name,
                key=json.dumps([tenant], ensure_ascii=False),
                title=f"{count} level 2 alarms in {_span(desk.rules.level2_window)}",
                opened=desk.now,
                state=WAITING,
            )
        # With a threshold of 0 or 1 half of it is never undercut: none at all re-arms too.
        elif count < threshold / 2 or count == 0:
            desk.close("rearm", incident, "rearmed", f"fewer than half of the threshold of {threshold}: armed again")
            continue
        if incident.state == CALLED:
            continue
        exclusion = desk.excluded(incident)
        if exclusion:
            desk.exclude(incident, exclusion)
        elif desk.calls >= desk.rules.max_calls_per_hour:
            desk.hold(incident, f"held back: there were {desk.rules.max_calls_per_hour} calls or more in the last hour")
        else:
            desk.call(incident, f"{incident.title}, more than the threshold of {threshold}")


def _readdress(desk: _Desk) -> None:
    """A call that certainly has not gone out yet goes to who is on duty now, not to who was."""
    for call in desk.ledger.unsent:
        incident = desk.incidents[call.incident.id]
        if incident.outcome == "reviewed" or desk.contact is None:
            continue
        if call.state in (INTENT, FAILED) and call.address != desk.contact.address:
            reason = f"not sent yet, and {desk.contact.name} is on duty now"
            desk.add("readdress", incident, reason, contact=desk.contact, message_id=call.message_id)


def _is(company: str, tenant_id: str, tenant_name: str) -> bool:
    return company.strip().casefold() in (tenant_id.strip().casefold(), tenant_name.strip().casefold())


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds and seconds % size == 0:
            number = seconds // size
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{seconds} seconds"
