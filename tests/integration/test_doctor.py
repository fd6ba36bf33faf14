# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""soc_doctor through Ansible, against the simulators and a real Elasticsearch."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.conftest import Outcome, Search, run_here, run_module


class Patient:
    """A source with its simulator, and the options with which to look at it."""

    def __init__(self, name: str, vendors: t.Any, search: Search, folder: Path) -> None:
        self.vendors, secrets = vendors, vendors.folder / "secrets"
        self.options = {
            "source": name,
            "base_url": vendors.url(name),
            "token_file": str(secrets / f"{name}-token"),
            "ca_path": str(vendors.tls.ca),
            "state_dir": str(folder / "state"),
            **search.options("collector"),
        }
        if name == "guardian360":
            self.options["api_key_file"] = str(secrets / "guardian360-api-key")

    def look(self, *flags: str, ansible: bool = False, **options: t.Any) -> Outcome:
        """One look, in this process or through Ansible."""
        return (run_module if ansible else run_here)("soc_doctor", {**self.options, **options}, *flags)


@pytest.fixture
def cyberalarm(vendors: t.Any, search: Search, tmp_path: Path) -> Patient:
    return Patient("cyberalarm", vendors, search, tmp_path)


@pytest.fixture
def guardian360(vendors: t.Any, search: Search, tmp_path: Path) -> Patient:
    return Patient("guardian360", vendors, search, tmp_path)


def verdicts(outcome: Outcome, what: str) -> dict[str, str]:
    return {finding["check"]: finding["verdict"] for finding in outcome.findings if finding["what"] == what}


def of(outcome: Outcome, verdict: str) -> list[tuple[str, str]]:
    return [(entry["what"], entry["check"]) for entry in outcome.findings if entry["verdict"] == verdict]


@pytest.mark.parametrize("name", ["cyberalarm", "guardian360"])
def test_a_good_vendor_and_a_good_machine(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    patient: Patient = request.getfixturevalue(name)
    looked = patient.look(ansible=True)
    assert not looked.failed and looked.changed is False, looked.output
    assert not of(looked, "fail")
    assert not [entry for entry in of(looked, "warn") if entry[1] != "mapping"], looked.table
    assert looked.msg.splitlines() == looked.table
    assert max(map(len, looked.table)) <= 100
    assert looked.assumptions and not [
        (data_set, claim)
        for data_set, claims in looked.assumptions.items()
        for claim, word in claims.items()
        if word != "confirmed"
    ]
    assert verdicts(looked, "elasticsearch") == dict.fromkeys(["answer", "certificate", "privileges", "template"], "ok")
    assert not (tmp_path / "state").exists()
    checked = patient.look("--check", ansible=True)
    assert not checked.failed and checked.changed is False
    assert [entry["check"] for entry in checked.findings] == [entry["check"] for entry in looked.findings]


def test_a_wrong_token_is_told_once_and_never_shown(cyberalarm: Patient, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("not-the-token-at-all\n")
    token.chmod(0o644)
    looked = cyberalarm.look("-vvv", ansible=True, token_file=str(token))
    assert looked.failed
    assert looked.failure["code"] == "unhealthy"
    assert looked.msg.count("does not know the credentials") == 1
    assert of(looked, "fail") == [("cyberalarm", "token")]
    assert ("machine", "secrets") in of(looked, "warn")
    assert "not-the-token-at-all" not in looked.output


def test_a_vendor_that_ignores_ids(cyberalarm: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = cyberalarm.vendors.vendors["cyberalarm"]
    original = vendor._search

    def deaf(name: str, paging: dict, envelope: dict, asked: dict, fault: t.Any) -> t.Any:
        asked.pop("ids", None)
        return original(name, paging, envelope, asked, fault)

    monkeypatch.setattr(vendor, "_search", deaf)
    looked = cyberalarm.look()
    assert looked.failed and of(looked, "fail") == [("logs", "ids")]
    assert looked.assumptions["logs"]["ids"] == "refuted"


def test_a_renamed_field(cyberalarm: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    world = cyberalarm.vendors.world
    original = world.body

    def renamed(record: t.Any) -> dict:
        body = dict(original(record))
        body["source_address"] = body.pop("src_ip", None)
        return body

    monkeypatch.setattr(world, "body", renamed)
    looked = cyberalarm.look(sets=["logs"])
    assert not looked.failed and looked.coverage["logs"]["source.ip"] == 0
    assert "No record knows source.ip (src_ip)" in " ".join(looked.msg.split())
    # What the doctor proposes cures it.
    cured = cyberalarm.look(sets=["logs"], profile={"sets": {"logs": {"ecs": {"source.ip": "source_address"}}}})
    assert cured.coverage["logs"]["source.ip"] == 100


def test_faults_of_a_vendor(cyberalarm: Patient) -> None:
    faults = cyberalarm.vendors.faults
    for kind, check, verdict in (
        ("500", "answer", "fail"),
        ("html", "answer", "fail"),
        ("cut", "answer", "fail"),
        ("429", "answer", "unknown"),
    ):
        faults.add(kind, source="cyberalarm", set="probes")
        assert verdicts(cyberalarm.look(sets=["probes"]), "probes")[check] == verdict, kind
        faults.clear()
    assert not cyberalarm.look(sets=["probes"]).failed


def test_a_clock_that_is_wrong(cyberalarm: Patient) -> None:
    now = datetime.now(UTC)
    looked = cyberalarm.look(sets=["probes"], now=(now - timedelta(seconds=90)).isoformat())
    assert not looked.failed and verdicts(looked, "cyberalarm")["clock"] == "warn"
    assert "ahead of ours" in looked.msg
    assert verdicts(cyberalarm.look(sets=["probes"]), "cyberalarm")["clock"] == "ok"


def test_a_certificate_that_expires_soon(vendors: t.Any, search: Search, tmp_path: Path) -> None:
    from lab.simulators import Simulators

    folder = tmp_path / "soon"
    home = folder / "tls"
    home.mkdir(parents=True)
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=5))
    authority.cert_pem.write_to_path(str(home / "ca.pem"))
    leaf.private_key_pem.write_to_path(str(home / "lab.key"))
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(str(home / "lab.pem"), append=True)
    with Simulators(folder, vendors.world) as simulators:
        patient = Patient("cyberalarm", simulators, search, tmp_path)
        looked = patient.look(sets=["probes"])
        assert not looked.failed and verdicts(looked, "cyberalarm")["certificate"] == "warn"
        # By a clock six days later it has expired.
        later = (datetime.now(UTC) + timedelta(days=6)).isoformat()
        assert verdicts(patient.look(sets=["probes"], now=later), "cyberalarm")["certificate"] == "fail"


def test_a_key_that_may_not_write_and_a_search_that_is_down(cyberalarm: Patient, search: Search) -> None:
    looked = cyberalarm.look(sets=["probes"], **search.options("escalator"))
    assert looked.failed and of(looked, "fail") == [("elasticsearch", "privileges")]
    down = cyberalarm.look(sets=["probes"], elasticsearch_url="https://localhost:1", elasticsearch_timeout=2)
    assert down.failed and of(down, "fail") == [("elasticsearch", "answer")]
    admin = {"elasticsearch_api_key_file": None, "elasticsearch_username": search.endpoint.username}
    admin["elasticsearch_password"] = search.endpoint.password
    assert ("elasticsearch", "privileges") in of(cyberalarm.look(sets=["probes"], **admin), "warn")


def test_a_vendor_out_of_reach(cyberalarm: Patient) -> None:
    looked = cyberalarm.look(base_url="https://localhost:1", timeout=2)
    assert looked.failed and ("cyberalarm", "answer") in of(looked, "fail")
    assert verdicts(looked, "elasticsearch")["answer"] == "ok"


def test_it_reads_the_journal_of_the_collector(cyberalarm: Patient, tmp_path: Path) -> None:
    shared = {name: value for name, value in cyberalarm.options.items() if name != "source"}
    shared |= {"log_dir": str(tmp_path / "log"), "archive_dir": str(tmp_path / "archive")}
    fetched = run_here("cyberalarm_fetch", shared)
    assert not fetched.failed, fetched.output
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "state").rglob("*.sqlite")}
    looked = cyberalarm.look()
    assert verdicts(looked, "journal") == {"waiting": "ok", "dead letters": "ok"}
    assert verdicts(looked, "logs")["last walk"] == "ok"
    assert before == {path: path.stat().st_mtime_ns for path in before}
    (tmp_path / "state" / "cyberalarm" / "journal.sqlite").write_bytes(b"no database" * 1000)
    assert ("journal", "state") in of(cyberalarm.look(), "fail")
