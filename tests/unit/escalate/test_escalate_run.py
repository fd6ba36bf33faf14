# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs on a ledger of their own: the outbox, the last good roster, check mode, and what a failure says."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AnswerError,
    ConfigError,
    Locked,
    StateError,
    Unreachable,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.state import lock
from ansible_collections.netcure.soc.plugins.module_utils._escalate.run import settings


def rows(world, query: str) -> list[tuple]:
    with sqlite3.connect(world.ledger) as database:
        return database.execute(query).fetchall()


def kinds(result: dict) -> list[str]:
    return [action["action"] for action in result["plan"]]


def test_level_1_from_the_first_sight_to_the_review_after_the_call(world) -> None:
    world.elastic.put("a")
    first = world.run()
    assert kinds(first) == ["open"] and first["changed"] and not first["calls"]
    assert [entry["until"] for entry in first["waiting"]] == ["2026-11-20T12:15:00.000Z"]
    second = world.run(14)
    assert kinds(second) == ["wait"] and not second["changed"] and not second["decisions"]
    third = world.run(1)
    assert kinds(third) == ["call"] and not third["waiting"]
    (call,) = third["calls"]
    assert call["to"] == "oncall-an@call.example" and call["state"] == "sent"
    assert call["reason"] == "still not reviewed after 15 minutes"
    assert world.ids == [call["message_id"]] == [f"<{call['incident']}-call-1@soc.example>"]
    assert [decision["kind"] for decision in third["decisions"]] == ["call", "sent"]
    assert world.mails[0]["Subject"] == f"[oncall-an] Critical Acme NV ET TROJAN beacon #{call['ref']}"
    assert not world.run(60)["changed"]
    world.elastic.review("a")
    assert kinds(world.run(1)) == ["close"]
    assert rows(world, "SELECT state, outcome FROM incident") == [("closed", "reviewed")]
    assert len(world.mails) == 1


@pytest.mark.parametrize("reviewed", [True, False])
def test_an_alarm_older_than_the_look_back_is_still_looked_at_again(world, reviewed: bool) -> None:
    world.elastic.put("a", time=world.now - timedelta(days=2.9))
    world.run(level1_wait="1d")
    assert kinds(world.run(12 * 60, level1_wait="1d")) == ["wait"]
    world.elastic.review("a", reviewed)
    result = world.run(12 * 60, level1_wait="1d")
    assert kinds(result) == ["close" if reviewed else "call"]
    assert reviewed or result["calls"][0]["reason"] == "still not reviewed after 24 hours"


def test_alarms_of_the_time_in_which_nothing_ran_are_found(world) -> None:
    world.run()
    world.elastic.put("a", time=world.now + timedelta(hours=1))
    assert kinds(world.run(6 * 24 * 60)) == ["open"]


def test_level_2_calls_once_a_storm(world) -> None:
    for number in range(21):
        world.elastic.put(f"n{number}", level=2, time=world.now)
    result = world.run()
    assert kinds(result) == ["call"]
    assert result["calls"][0]["reason"] == "21 level 2 alarms in 1 hour, more than the threshold of 20"
    assert not world.run(1)["changed"]
    assert kinds(world.run(59)) == ["rearm"]
    for number in range(21):
        world.elastic.put(f"m{number}", level=2, time=world.now)
    assert kinds(world.run(1)) == ["call"] and len(set(world.ids)) == 2


def test_check_mode_says_what_the_run_then_does_and_leaves_no_trace(world) -> None:
    world.elastic.put("a")
    world.elastic.put("b", ip="10.0.0.67")
    for minutes in (0, 15):
        world.now += timedelta(minutes=minutes)
        before = Path(world.ledger).exists() and rows(world, "SELECT * FROM incident")
        planned = world.run(check=True)
        assert before == (Path(world.ledger).exists() and rows(world, "SELECT * FROM incident"))
        assert not world.mails
        done = world.run()
        assert planned["plan"] == done["plan"] and planned["diff"] == done["diff"]
        assert planned["changed"] and done["changed"]
        assert [{**call, "state": ""} for call in planned["calls"]] == [{**call, "state": ""} for call in done["calls"]]
        assert planned["decisions"] == [d for d in done["decisions"] if d["kind"] not in ("sent", "failed")]
    assert {call["state"] for call in planned["calls"]} == {"planned"}
    assert [mail["to"] for mail in done["diff"]["after"]["mails"]] == ["oncall-an@call.example"] * 2
    again = world.run(check=True)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]


def test_check_mode_makes_no_file(world) -> None:
    world.elastic.put("a")
    world.run(check=True)
    assert [path.name for path in world.folder.iterdir()] == ["roster.yml"]


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (AnswerError("refused"), "failed"),
        (Unreachable("away"), "failed"),
        (Unreachable("broken", outcome="unknown"), "sending"),
    ],
)
def test_a_mail_that_did_not_go_out_goes_later_as_the_same_mail(world, fault: Exception, state: str) -> None:
    world.elastic.put("a")
    world.run()
    world.refuse = fault
    result = world.run(15)
    (identity,) = result["failure"]["details"]["pending"]
    assert identity in result["failure"]["message"] and "same Message-ID" in result["failure"]["message"]
    assert result["failure"]["code"] == fault.code
    assert result["calls"][0]["state"] == "pending" and result["counts"]["pending"] == 1
    assert rows(world, "SELECT state, tries FROM outbox") == [(state, 1)]
    world.refuse = None
    world.run(1)
    assert world.ids == [identity]
    assert rows(world, "SELECT state, tries FROM outbox") == [("sent", 2)]


def test_sent_is_noted_only_after_the_server_said_so(world) -> None:
    world.elastic.put("a")
    world.run()
    states = []
    world.send = lambda message: states.extend(rows(world, "SELECT state FROM outbox"))
    world.run(15, reach=lambda point: states.append(point) or states.extend(rows(world, "SELECT state FROM outbox")))
    assert [state for state in states if state != ()] == [
        "before_intent_commit",
        "after_intent_commit",
        ("intent",),
        "before_send",
        ("sending",),
        ("sending",),
        "after_mail_before_log",
        ("sending",),
        "after_log",
        ("sent",),
    ]


def test_one_refused_mail_does_not_stop_the_others_but_no_connection_does(world) -> None:
    for number in range(3):
        world.elastic.put(f"a{number}", ip=f"10.0.0.{number}")
    world.run()
    tried = []

    def refuse_first(message) -> None:
        tried.append(message)
        if len(tried) == 1:
            raise AnswerError("refused")

    world.send = refuse_first
    assert world.run(15)["counts"]["sent"] == 2
    for number in range(2):
        world.elastic.put(f"b{number}", ip=f"10.0.1.{number}")
    world.run()
    tried.clear()

    def away(message) -> None:
        tried.append(message)
        raise Unreachable("away")

    world.send = away
    result = world.run(15)
    assert len(tried) == 1 and result["counts"]["pending"] == 2 == len(result["failure"]["details"]["pending"])


def test_a_call_that_did_not_go_out_is_dropped_when_the_alarm_is_reviewed(world) -> None:
    world.elastic.put("a")
    world.run()
    world.refuse = Unreachable("away")
    world.run(15)
    world.refuse = None
    world.elastic.review("a")
    result = world.run(1)
    assert not world.mails and not result["calls"] and "failure" not in result
    assert rows(world, "SELECT state FROM outbox") == [("cancelled",)]


def test_a_call_that_did_not_go_out_goes_to_who_is_on_duty_by_then(world) -> None:
    world.elastic.put("a")
    world.run()
    world.refuse = Unreachable("away")
    pending = world.run(15)["calls"][0]["message_id"]
    world.roster.write_text("contacts: [{name: Bo, list: oncall-bo}]")
    world.refuse = None
    planned = world.run(check=True)
    done = world.run()
    assert kinds(done) == ["readdress"] and planned["diff"] == done["diff"]
    assert [(mail["To"], mail["Message-ID"]) for mail in world.mails] == [("oncall-bo@call.example", pending)]


def test_elasticsearch_is_away_when_the_wait_is_over(world) -> None:
    world.elastic.put("a")
    world.run()
    world.elastic.broken = Unreachable("Elasticsearch cannot be reached.")
    assert world.run(1)["failure"]["code"] == "unreachable" and not world.mails
    result = world.run(14)
    assert result["failure"]["message"] == "Elasticsearch cannot be reached."
    assert result["calls"][0]["reason"].startswith("nobody could tell whether it was reviewed")
    assert len(world.mails) == 1


def test_the_vendor_could_not_be_asked(world) -> None:
    world.elastic.put("a")
    world.run()
    assert not world.run(14, recheck_failed=True)["calls"]
    (call,) = world.run(1, recheck_failed=True)["calls"]
    assert call["reason"] == "nobody could tell whether it was reviewed: the vendor could not be asked again"


def test_the_last_good_roster_is_used_until_the_file_is_repaired(world) -> None:
    world.elastic.put("a")
    world.run()
    for text in ("contacts: []", "contacts: [{name: X, list: x, until: 2026-01-01T00:00:00Z}]", None):
        world.roster.write_text(text) if text else world.roster.unlink()
        assert "failure" not in world.run()
        assert "The last good copy is used" in world.warnings[0]
    result = world.run(15)
    assert [mail["To"] for mail in world.mails] == ["oncall-an@call.example"] and "failure" not in result


def test_without_any_good_roster_nothing_is_lost(world) -> None:
    good = world.roster.read_text()
    world.roster.write_text("contacts: []")
    world.elastic.put("a")
    assert world.run()["failure"]["code"] == "input_invalid"
    result = world.run(15)
    assert kinds(result) == ["hold"] and "nobody can be called" in result["failure"]["message"]
    assert not world.run(1)["changed"]
    world.roster.write_text(good)
    assert kinds(world.run(1)) == ["call"] and len(world.mails) == 1


def test_a_last_good_roster_with_nobody_on_duty_is_no_roster(world) -> None:
    world.roster.write_text("contacts: [{name: An, list: an, until: 2026-11-20T13:00:00Z}]")
    world.run()
    world.roster.unlink()
    assert "failure" not in world.run(59)
    assert "nobody can be called" in world.run(1)["failure"]["message"]


def test_two_failures_are_both_told(world) -> None:
    world.roster.write_text("contacts: []")
    world.elastic.broken = Unreachable("Elasticsearch cannot be reached.")
    failure = world.run()["failure"]
    assert "contacts must be a list" in failure["message"] and "Elasticsearch" in failure["message"]
    assert [part["code"] for part in failure["details"]["failures"]] == ["input_invalid", "unreachable"]


def test_an_exclusion_that_has_ended_is_ignored_with_a_warning(world) -> None:
    world.elastic.put("a")
    entry = {"company": "Acme NV", "who": "An", "why": "pentest", "until": "2026-11-20T13:00:00+01:00"}
    result = world.run(exclusions=[entry])
    assert kinds(result) == ["open"]
    assert world.warnings == [
        "The exclusion of Acme NV by An ended on 2026-11-20T12:00:00.000Z and no longer counts: remove it."
    ]
    result = world.run(1, exclusions=[{**entry, "until": "2026-11-20T14:00:00+01:00"}])
    assert kinds(result) == ["exclude"] and not world.warnings
    assert result["plan"][0]["reason"] == "Acme NV is excluded by An until 2026-11-20T13:00:00.000Z: pentest"


GOOD_EXCLUSION = {"company": "Acme", "who": "An", "why": "pentest", "until": "2026-12-01"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        *(
            ({"exclusions": [{**GOOD_EXCLUSION, name: value}]}, rf"exclusions\[0\] has no {name}")
            for name in GOOD_EXCLUSION
            for value in ("", "  ", None)
        ),
        ({"exclusions": [{**GOOD_EXCLUSION, "until": "soon"}]}, r"exclusions\[0\]\.until"),
        ({"level1_wait": "soon"}, "'soon' is not a duration"),
        ({"level1_wait": "-5m"}, ".-5m. is not a duration"),
        ({"level2_window": "0m"}, "level2_window is 0m"),
        ({"look_back": "0d"}, "look_back is 0d"),
        ({"level2_threshold": -1}, "cannot be negative"),
        ({"max_calls_per_hour": -1}, "cannot be negative"),
        ({"level2_thresholds": {"Acme": "many"}}, "'many' for Acme"),
        ({"level2_thresholds": {"Acme": True}}, "True for Acme"),
        ({"index_pattern": "*"}, "refused"),
        ({"mail_from": "SOC <soc@soc.example>"}, "mail_from"),
        ({"mail_from": "soc@soc.example\nBcc: x@y"}, "mail_from"),
        ({"smtp_username": "soc"}, "smtp_password"),
        ({"smtp_username": "soc", "smtp_password_file": "/nowhere"}, "password of the mail server"),
        ({"body_template": "{secret}"}, "body_template"),
    ],
)
def test_options_that_cannot_work(world, params: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        world.run(**params)
    assert not (world.folder / "state").exists()


def test_ports_and_thresholds(world) -> None:
    chosen = settings(world.params | {"level2_thresholds": {"Acme": "5", 7: 9}})
    assert chosen.server.port == 587 and chosen.rules.level2_thresholds == {"Acme": 5, "7": 9}
    assert settings(world.params | {"smtp_security": "tls"}).server.port == 465
    assert settings(world.params | {"smtp_port": 2525}).server.port == 2525


def test_two_runs_never_overlap(world) -> None:
    with lock(str(Path(world.ledger).parent / "lock")), pytest.raises(Locked):
        world.run()
    world.run()


def test_the_record_of_decisions_and_one_open_incident_a_key_are_enforced(world) -> None:
    world.elastic.put("a")
    world.run()
    with sqlite3.connect(world.ledger) as database:
        for statement in ("UPDATE decision SET reason = ''", "DELETE FROM decision"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement)
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            database.execute("INSERT INTO incident SELECT 'x', level, tenant_id, tenant_name, key, title, opened,"
                             " state, until, called, closed, outcome, reason FROM incident")  # fmt: skip


def test_a_damaged_ledger_is_told(world) -> None:
    world.run()
    Path(world.ledger).write_bytes(b"not a database" * 100)
    for check in (False, True):
        with pytest.raises(StateError):
            world.run(check=check)


def test_documents_that_lack_things_are_still_alarms(world) -> None:
    world.elastic.documents["a"] = {
        "@timestamp": "2026-11-20T12:00:00.000Z",
        "soc": {"id": "a", "level": 1, "reviewed": "false"},
        "source": {"ip": "not an address"},
        "rule": None,
    }
    world.run()
    world.run(15)
    assert "level 1 for unknown. alarm. Reference" in world.mails[0].get_content()


@pytest.mark.parametrize(
    ("source", "destination", "entity"),
    [
        ("10.0.0.1", "203.0.113.7", "10.0.0.1"),
        ("8.8.8.8", "10.0.0.1", "10.0.0.1"),
        ("8.8.8.8", "9.9.9.9", "8.8.8.8"),
        ("", "", "acme-core"),
    ],
)
def test_which_host_an_alarm_is_about(world, source: str, destination: str, entity: str) -> None:
    world.elastic.put("a", ip=source)
    world.elastic.documents["a"]["destination"]["ip"] = destination
    world.run()
    ((key,),) = rows(world, "SELECT key FROM incident")
    assert yaml.safe_load(key) == ["c1", "2024217", entity]
