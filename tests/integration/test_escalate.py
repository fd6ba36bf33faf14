# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vocalnotify_escalate through Ansible: real Elasticsearch, real SMTP and IMAP."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time

from tests.conftest import ROOT, Search, run_here, run_module

ROSTER = "contacts:\n  - name: An\n    list: oncall\n"


class Soc:
    """A company with incidents, a collector and an escalator."""

    def __init__(self, vendors: t.Any, search: Search, mail: t.Any, folder: Path) -> None:
        self.world, self.mail, self.vendors, self.search = vendors.world, mail, vendors, search
        self.roster = folder / "roster.yml"
        self.roster.write_text(ROSTER)
        self.state = folder / "state"
        self.world.review_open(1)

    def collect(self) -> None:
        options = {
            "base_url": self.vendors.url("cyberalarm"),
            "token_file": str(self.vendors.folder / "secrets/cyberalarm-token"),
            "ca_path": str(self.vendors.tls.ca),
            "sets": ["logs"],
            "state_dir": str(self.state),
            "log_dir": str(self.state / "log"),
            "now": format_time(self.world.now),
        }
        options.update(self.search.options("collector"))
        assert not run_here("cyberalarm_fetch", options).failed

    def escalate(self, *flags: str, ansible: bool = False, **more: t.Any) -> t.Any:
        """One run, in this process or through Ansible."""
        options = {
            "roster": str(self.roster),
            "state_dir": str(self.state),
            "mail_from": "soc@soc.example",
            "mail_domain": "vocalnotify.example",
            "smtp_host": "localhost",
            "smtp_port": self.mail.smtp_port,
            "smtp_ca_path": str(self.mail.tls.ca),
            "smtp_username": self.mail.username,
            "smtp_password_file": str(self.mail.folder / "secrets/mail-password"),
            "now": format_time(self.world.now),
            **self.search.options("escalator"),
        }
        return (run_module if ansible else run_here)("vocalnotify_escalate", {**options, **more}, *flags)

    def calls(self) -> list:
        return self.mail.mailbox().calls()


@pytest.fixture
def soc(vendors: t.Any, search: Search, mail: t.Any, tmp_path: Path) -> Soc:
    return Soc(vendors, search, mail, tmp_path)


def test_level_one_waits_and_looks_again(soc: Soc) -> None:
    (seen,) = soc.world.raise_incident("muller-zonen-bv", 1)
    soc.world.raise_incident("het-groene-hart-bv", 1)
    soc.collect()
    first = soc.escalate()
    assert (len(first.waiting), first.calls) == (2, [])
    assert soc.escalate().changed is False
    soc.world.review(seen)
    soc.world.advance(16 * 60)
    soc.collect()
    rehearsed = soc.escalate("--check", "--diff", ansible=True)
    assert rehearsed.changed and not soc.calls()
    done = soc.escalate(ansible=True)
    assert [call["company"] for call in done.calls] == ["Het Groene Hart BV"]
    (mail,) = soc.calls()
    assert mail.message_id == done.calls[0]["message_id"]
    assert mail.to == "oncall@vocalnotify.example"
    assert "10." not in mail.body
    again = soc.escalate()
    assert (again.changed, again.calls) == (False, [])
    assert len(soc.calls()) == 1


def test_level_two_calls_once_for_a_burst(soc: Soc) -> None:
    soc.world.raise_incident("transport-coppee-sa", 2, 30)
    soc.collect()
    assert len(soc.escalate().calls) == 1
    soc.world.advance(60)
    soc.world.raise_incident("transport-coppee-sa", 2, 30)
    soc.collect()
    assert soc.escalate().calls == []
    assert len(soc.calls()) == 1


def test_an_excluded_company_is_not_called(soc: Soc) -> None:
    soc.world.raise_incident("transport-coppee-sa", 2, 30)
    soc.collect()
    exclusion = {"company": "Transport Coppée SA", "who": "An", "why": "test", "until": "2026-12-01T00:00:00Z"}
    assert soc.escalate(exclusions=[exclusion]).calls == []
    assert not soc.calls()


def test_a_lost_answer_of_the_mail_server_is_one_call(soc: Soc) -> None:
    soc.world.raise_incident("transport-coppee-sa", 2, 30)
    soc.collect()
    soc.mail.faults.add("drop")
    doubtful = soc.escalate()
    assert doubtful.failed
    assert doubtful.failure["details"]["pending"]
    assert not soc.escalate().failed
    assert len({mail.message_id for mail in soc.mail.mailbox().mails()}) == 1


def test_a_mail_server_that_refuses_is_told_and_tried_again(soc: Soc) -> None:
    soc.world.raise_incident("transport-coppee-sa", 2, 30)
    soc.collect()
    soc.mail.faults.add("refuse")
    assert soc.escalate().failed
    assert not soc.calls()
    assert not soc.escalate().failed
    assert len(soc.calls()) == 1


def test_an_unreadable_roster_is_told_and_no_call_is_lost(soc: Soc) -> None:
    soc.world.raise_incident("transport-coppee-sa", 2, 30)
    soc.collect()
    soc.roster.write_text("contacts: [")
    broken = soc.escalate(ansible=True)
    assert broken.failed
    assert str(soc.roster) in broken.msg
    assert "Traceback" not in broken.output
    assert not soc.calls()
    soc.roster.write_text(ROSTER)
    assert not soc.escalate().failed
    assert len(soc.calls()) == 1
    # From now on there is a last good copy.
    soc.roster.unlink()
    soc.world.raise_incident("muller-zonen-bv", 2, 30)
    soc.collect()
    copied = soc.escalate()
    assert not copied.failed
    assert "last good copy" in copied.output
    assert len(soc.calls()) == 2


def test_elasticsearch_away_calls_about_what_is_due(soc: Soc) -> None:
    soc.world.raise_incident("muller-zonen-bv", 1)
    soc.collect()
    soc.escalate()
    soc.world.advance(16 * 60)
    away = soc.escalate(elasticsearch_url="https://localhost:9", elasticsearch_timeout=2)
    assert away.failed
    assert "cannot be reached" in away.msg
    assert len(soc.calls()) == 1


def test_the_playbook_calls_when_the_vendor_cannot_be_asked_and_says_so(soc: Soc, tmp_path: Path) -> None:
    soc.world.raise_incident("muller-zonen-bv", 1)
    soc.collect()
    soc.escalate()
    soc.world.advance(16 * 60)
    search, mail = soc.search, soc.mail
    variables = {
        "ansible_connection": "local",
        "ansible_become": False,
        "runtime_venv": sys.prefix,
        "runtime_state_dir": str(soc.state),
        "runtime_log_dir": str(soc.state / "log"),
        "elasticsearch_url": search.endpoint.url,
        "elasticsearch_ca_path": str(search.endpoint.ca_path),
        "collect_elasticsearch_api_key_file": str(search.keys["collector"]),
        "escalate_elasticsearch_api_key_file": str(search.keys["escalator"]),
        "cyberalarm_base_url": "https://localhost:9",
        "cyberalarm_token_file": str(soc.vendors.folder / "secrets/cyberalarm-token"),
        "cyberalarm_profile": {"retry": {"max": 0}},
        "escalate_roster": str(soc.roster),
        "escalate_mail_from": "soc@soc.example",
        "escalate_mail_domain": "vocalnotify.example",
        "escalate_smtp_host": "localhost",
        "escalate_smtp_port": mail.smtp_port,
        "escalate_smtp_ca_path": str(mail.tls.ca),
        "escalate_smtp_username": mail.username,
        "escalate_smtp_password_file": str(mail.folder / "secrets/mail-password"),
        "soc_now": format_time(soc.world.now),
    }
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"soc": {"hosts": {"localhost": None}, "vars": variables}}))
    command = ["ansible-playbook", "-i", str(inventory), "playbooks/escalate.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert len(soc.calls()) == 1, done.stdout + done.stderr
    assert done.returncode != 0
    assert "Calls were made, but the alarms could not be refreshed before" in done.stdout


def test_no_secret_is_ever_shown(soc: Soc) -> None:
    soc.world.raise_incident("transport-coppee-sa", 2, 30)
    soc.collect()
    password = soc.mail.password.value
    outcome = soc.escalate("-vvv", "--diff", ansible=True, smtp_password_file=None, smtp_password=password)
    assert not outcome.failed
    assert password not in outcome.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"smtp_ca_path": None}, "certificate"),
        ({"smtp_password_file": None, "smtp_password": "wrong-password"}, "localhost"),
        ({"level1_wait": "soon"}, "is not a duration"),
        ({"exclusions": [{"company": "x", "who": "", "why": "y", "until": "2027-01-01"}]}, "who"),
    ],
)
def test_bad_input_gives_one_clear_sentence(soc: Soc, options: dict, sentence: str) -> None:
    soc.world.raise_incident("transport-coppee-sa", 2, 30)
    soc.collect()
    outcome = soc.escalate(**options)
    assert outcome.failed
    assert sentence in outcome.msg
    assert "Traceback" not in outcome.output
    assert "wrong-password" not in outcome.output
    assert not soc.calls()
