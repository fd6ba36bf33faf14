# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""One run of the escalation: read, decide, write down, send."""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage

from .._core.argspec import ArgumentSpec, common, elasticsearch
from .._core.clock import format_time, parse_duration, parse_time
from .._core.elastic import connect
from .._core.errors import AnswerError, ConfigError, InputError, SocError
from .._core.ids import check_index_pattern
from .._core.libraries import need, orjson
from .._core.module import Run
from .._core.reach import Reach, nowhere
from .._core.secrets import secret_option
from .._core.state import lock
from . import alarms, mail, roster
from .ledger import Letter, Store, after
from .policy import (
    CALLED,
    CAP_SPAN,
    CLOSED,
    EXCLUDED,
    FAILED,
    HELD,
    SENDING,
    SENT,
    WAITING,
    Action,
    Alarm,
    Exclusion,
    Incident,
    Plan,
    Roster,
    Rules,
    decide,
)

PORTS = {"starttls": 587, "tls": 465}
NEVER = timedelta(0)

Send = t.Callable[[EmailMessage], None]


@dataclass(frozen=True)
class Settings:
    """The module's options, checked."""

    rules: Rules
    look_back: timedelta
    folder: str
    roster: str
    index_pattern: str
    sender: str
    mail_domain: str | None
    templates: mail.Templates
    server: mail.Server

    @property
    def domain(self) -> str:
        """The domain of our Message-IDs."""
        return self.sender.partition("@")[2]


BODY = "Security alert level {level} for {company}. {title}. Reference {ref}. Press 1 to acknowledge."


def argument_spec() -> ArgumentSpec:
    """Options of C(vocalnotify_escalate)."""
    exclusion = {name: {"type": "str", "required": True} for name in ("company", "until", "who", "why")}
    own = ArgumentSpec(
        {
            "body_template": {"type": "str", "default": BODY},
            "exclusions": {"type": "list", "elements": "dict", "default": [], "options": exclusion},
            "index_pattern": {"type": "str", "default": "soc-cyberalarm.alarm-*"},
            "level1_repeat_after": {"type": "str", "default": "8h"},
            "level1_wait": {"type": "str", "default": "15m"},
            "level2_threshold": {"type": "int", "default": 20},
            "level2_thresholds": {"type": "dict", "default": {}},
            "level2_window": {"type": "str", "default": "60m"},
            "look_back": {"type": "str", "default": "3d"},
            "mail_domain": {"type": "str"},
            "mail_from": {"type": "str", "required": True},
            "max_calls_per_hour": {"type": "int", "default": 10},
            "recheck_failed": {"type": "bool", "default": False},
            "roster": {"type": "path", "required": True},
            "smtp_ca_path": {"type": "path"},
            "smtp_host": {"type": "str", "required": True},
            "smtp_password": {"type": "str", "no_log": True},
            "smtp_password_file": {"type": "path", "no_log": False},
            "smtp_port": {"type": "int"},
            "smtp_security": {"type": "str", "choices": ["starttls", "tls"], "default": "starttls"},
            "smtp_timeout": {"type": "int", "default": 30},
            "smtp_username": {"type": "str"},
            "state_dir": {"type": "path", "default": "/var/lib/soc"},
            "subject_template": {"type": "str", "default": "[{list}] {severity} {company} {title} #{ref}"},
        },
        mutually_exclusive=[("smtp_password", "smtp_password_file")],
        required_by={"smtp_password": "smtp_username", "smtp_password_file": "smtp_username"},
    )
    return own.merge(elasticsearch()).merge(common())


def settings(params: dict) -> Settings:
    """The options of a run, or ConfigError for the first that cannot work."""
    durations = {name: parse_duration(params[name]) for name in ("level1_wait", "level1_repeat_after", "level2_window")}
    look_back = parse_duration(params["look_back"])
    for name, value in {**durations, "look_back": look_back}.items():
        if value < NEVER or (value == NEVER and name != "level1_wait"):
            raise ConfigError(f"{name} is {params[name]}: give a duration that is longer.")
    for name in ("level2_threshold", "max_calls_per_hour"):
        if params[name] < 0:
            raise ConfigError(f"{name} is {params[name]}: it cannot be negative.")
    if not mail.ADDRESS.fullmatch(params["mail_from"]):
        raise ConfigError(f"mail_from is {params['mail_from']!r}: give a plain address such as soc@example.com.")
    if params["smtp_username"] and not (params["smtp_password"] or params["smtp_password_file"]):
        raise ConfigError("smtp_username needs smtp_password or smtp_password_file.")
    return Settings(
        rules=Rules(
            **durations,
            level2_threshold=params["level2_threshold"],
            level2_thresholds=_thresholds(params["level2_thresholds"] or {}),
            exclusions=tuple(_exclusion(entry, number) for number, entry in enumerate(params["exclusions"] or ())),
            max_calls_per_hour=params["max_calls_per_hour"],
        ),
        look_back=look_back,
        folder=os.path.join(params["state_dir"], "escalation"),
        roster=params["roster"],
        index_pattern=check_index_pattern(params["index_pattern"]),
        sender=params["mail_from"],
        mail_domain=params["mail_domain"],
        templates=mail.Templates(params["subject_template"], params["body_template"]),
        server=mail.Server(
            host=params["smtp_host"],
            port=params["smtp_port"] or PORTS[params["smtp_security"]],
            security=params["smtp_security"],
            ca_path=params["smtp_ca_path"],
            username=params["smtp_username"],
            password=secret_option(params, "smtp_password", "password of the mail server"),
            timeout=params["smtp_timeout"],
        ),
    )


def _thresholds(thresholds: dict) -> dict[str, int]:
    for company, number in thresholds.items():
        if not str(number).isdecimal():
            raise ConfigError(f"level2_thresholds has {number!r} for {company}: give a whole number.")
    return {str(company): int(number) for company, number in thresholds.items()}


def _exclusion(entry: dict, number: int) -> Exclusion:
    """An exclusion with all that it needs: a company must not fall silent without who, why and until when."""
    for name in ("company", "who", "why", "until"):
        if not str(entry.get(name) or "").strip():
            raise ConfigError(f"exclusions[{number}] has no {name}: an exclusion needs company, who, why and until.")
    try:
        until = parse_time(entry["until"])
    except ValueError as exc:
        raise ConfigError(
            f"exclusions[{number}].until: {exc}. Give ISO 8601, such as 2026-11-20T18:00:00+01:00."
        ) from exc
    return Exclusion(entry["company"], entry["who"], entry["why"], until)


def escalate(run: Run, elastic: t.Any = None, *, send: Send | None = None, reach: Reach = nowhere) -> dict:
    """Decide who must be called, write that down, and mail it; the module's result.

    ``elastic`` takes the place of the Elasticsearch that the options name, ``send`` that of the mail server. ``reach`` is called at named points, for
    tests that end the process there: before_intent_commit, after_intent_commit, before_send, after_mail_before_log,
    after_log.

    After any crash, followed by a run that completes: no call lost, and none under a second Message-ID. A call is
    noted before it is mailed, and noted as sent after the server accepted it; in between it is sent again.
    Raises ConfigError, Locked, StateError. What only breaks a part comes back as ``failure`` beside what was done.
    """
    need("orjson", "yaml")
    chosen, elastic = settings(run.params), elastic or connect(run.params)
    instant = run.clock()
    # As precise as what is stored, so that a time compares equal to itself after it was read back.
    now = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    for exclusion in chosen.rules.exclusions:
        if exclusion.until <= now:
            run.warn(
                f"The exclusion of {exclusion.company} by {exclusion.who} ended on {format_time(exclusion.until)} "
                "and no longer counts: remove it."
            )
    hold = contextlib.nullcontext() if run.check_mode else lock(os.path.join(chosen.folder, "lock"))
    with (
        hold,
        contextlib.closing(Store(os.path.join(chosen.folder, "ledger.sqlite"), read_only=run.check_mode)) as store,
    ):
        return _Escalation(run, chosen, store, now, reach).run(elastic, send or chosen.server.send)


class _Escalation:
    """What one run knows; each method is one of its steps."""

    def __init__(self, run: Run, chosen: Settings, store: Store, now: datetime, reach: Reach) -> None:
        self.context, self.chosen, self.store, self.now, self.reach = run, chosen, store, now, reach
        self.kept: dict[str, str] = {}
        self.failures: list[SocError] = []

    def run(self, elastic: t.Any, send: Send) -> dict:
        before = self.store.incidents()
        mark = self.store.last_decision()
        since = self._since()
        ledger = self.store.load(since, self.now - CAP_SPAN)
        people = self._roster()
        open_ids = {incident.id for incident in before if incident.state in (WAITING, HELD)}
        found, doubt = self._alarms(
            elastic, since, [member.alarm for member in ledger.members.values() if member.incident in open_ids]
        )
        plan = decide(found, people, self.chosen.rules, ledger, self.now, doubt)
        letters = after(self.store.letters(), plan, self.chosen.domain)
        decisions = [_decision(action, self.now) for action in plan.actions if action.changed]
        sent: set[str] = set()
        if not self.context.check_mode:
            self.store.commit(plan, self.chosen.domain, self.kept, self.reach)
            self.reach("after_intent_commit")
            letters = self.store.letters()
            sent = self._deliver(letters, send)
            decisions = self.store.decisions(mark)
        return self._result(plan, found, before, letters, sent, decisions)

    def _since(self) -> datetime:
        """Where the look-back starts: before the last run that could read, however long ago that was."""
        last = self.store.kept("last_read")
        return min(self.now, parse_time(last) if last else self.now) - self.chosen.look_back

    def _roster(self) -> Roster | None:
        copy = self.store.kept("roster")
        try:
            people = roster.read(self.chosen.roster, self.chosen.mail_domain, self.now)
        except InputError as exc:
            last = roster.load(copy) if copy else None
            if last and last.on_duty(self.now):
                self.context.warn(f"{exc.message} The last good copy is used until it is repaired.")
                return last
            self.failures.append(
                InputError(f"{exc.message} There is no earlier copy to use: nobody can be called.", **exc.details)
            )
            return None
        dumped = roster.dump(people)
        if dumped != copy:
            self.kept["roster"] = orjson.dumps(dumped).decode()
        return people

    def _alarms(self, elastic: t.Any, since: datetime, ids: list[str]) -> tuple[list[Alarm] | None, str]:
        """The alarms, and why their marks are doubted; None for the alarms when they cannot be read."""
        try:
            found = alarms.read(
                elastic,
                self.chosen.index_pattern,
                level1_since=since,
                level2_since=self.now - self.chosen.rules.level2_window,
                ids=ids,
            )
        except SocError as exc:
            self.failures.append(exc)
            return None, "the alarms could not be read from Elasticsearch"
        self.kept["last_read"] = orjson.dumps(format_time(self.now)).decode()
        return found, "the vendor could not be asked again" if self.context.params["recheck_failed"] else ""

    def _compose(self, letter: Letter) -> EmailMessage:
        return mail.compose(
            letter.incident,
            self.chosen.templates,
            sender=self.chosen.sender,
            address=letter.address,
            message_id=letter.message_id,
            created=letter.created,
        )

    def _deliver(self, letters: tuple[Letter, ...], send: Send) -> set[str]:
        """Send what the outbox holds, and say what was accepted. One refused mail does not stop the others."""
        sent: set[str] = set()
        errors: list[SocError] = []
        for letter in letters:
            message = self._compose(letter)
            self.store.attempt(letter, self.now)
            self.reach("before_send")
            try:
                send(message)
            except SocError as exc:
                errors.append(exc)
                unknown = exc.details.get("outcome") == "unknown"
                self.store.mark(letter, SENDING if unknown else FAILED, exc.message, self.now)
                if unknown or isinstance(exc, AnswerError):
                    continue
                break  # no connection: the others would only wait for the same time-out
            self.reach("after_mail_before_log")
            self.store.mark(letter, SENT, f"accepted by the mail server for {letter.contact}", self.now)
            self.reach("after_log")
            sent.add(letter.message_id)
        if errors:
            pending = [letter.message_id for letter in letters if letter.message_id not in sent]
            self.failures.append(
                type(errors[0])(
                    f"{errors[0].message} Calls that have not gone out: {', '.join(pending)}. "
                    "The next run sends them again under the same Message-ID.",
                    **{**errors[0].details, "pending": pending},
                )
            )
        return sent

    def _result(
        self,
        plan: Plan,
        found: list[Alarm] | None,
        before: tuple[Incident, ...],
        letters: tuple[Letter, ...],
        sent: set[str],
        decisions: list[dict],
    ) -> dict:
        incidents = {incident.id: incident for incident in before}
        incidents |= {action.incident.id: action.incident for action in plan.actions}
        left = sorted((i for i in incidents.values() if i.state != CLOSED), key=lambda i: (i.opened, i.id))
        not_sent = "planned" if self.context.check_mode else "pending"
        result: dict[str, t.Any] = {
            "changed": any(action.changed for action in plan.actions) or bool(letters),
            "plan": [_action(action) for action in plan.actions],
            "calls": [
                {
                    "incident": letter.incident.id,
                    "ref": letter.incident.ref,
                    "level": letter.incident.level,
                    "company": letter.incident.tenant_name,
                    "contact": letter.contact,
                    "to": letter.address,
                    "message_id": letter.message_id,
                    "state": SENT if letter.message_id in sent else not_sent,
                    "reason": letter.reason,
                }
                for letter in letters
            ],
            "waiting": [_incident(incident) for incident in left if incident.state in (WAITING, HELD)],
            "decisions": decisions,
            "counts": {
                "alarms": len(found or ()),
                **{state: sum(1 for i in left if i.state == state) for state in (WAITING, HELD, CALLED, EXCLUDED)},
                "sent": len(sent),
                "pending": len(letters) - len(sent),
            },
            "diff": {
                "before": {"incidents": [_incident(incident) for incident in before], "mails": []},
                "after": {
                    "incidents": [_incident(incident) for incident in left],
                    "mails": [_mail(self._compose(letter)) for letter in letters],
                },
            },
        }
        if len(self.failures) == 1:
            result["failure"] = self.failures[0].as_dict()
        elif self.failures:
            messages = " ".join(failure.message for failure in self.failures)
            result["failure"] = {
                "code": self.failures[0].code,
                "message": messages,
                "details": {"failures": [failure.as_dict() for failure in self.failures]},
            }
        return result


def _incident(incident: Incident) -> dict:
    return {
        "incident": incident.id,
        "ref": incident.ref,
        "level": incident.level,
        "company": incident.tenant_name,
        "title": incident.title,
        "state": incident.state,
        "until": incident.until and format_time(incident.until),
        "reason": incident.reason,
    }


def _action(action: Action) -> dict:
    return {
        **_incident(action.incident),
        "action": action.kind,
        "alarms": len(action.members),
        "to": action.contact and action.contact.address,
        "reason": action.reason,
    }


def _decision(action: Action, now: datetime) -> dict:
    return {
        "time": format_time(now),
        "incident": action.incident.id,
        "kind": action.kind,
        "reason": action.reason,
    }


def _mail(message: EmailMessage) -> dict:
    return {
        "to": message["To"],
        "subject": message["Subject"],
        "message_id": message["Message-ID"],
        "body": message.get_content().strip(),
    }
