# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fetch modules through Ansible, against the simulators and a real Elasticsearch."""

from __future__ import annotations

import collections
import os
import subprocess
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import ecs
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time

from tests.conftest import Search, run_here, run_module, true_ids


class Source:
    """The options with which one fetch module reaches its vendor."""

    def __init__(self, name: str, module: str, vendors: t.Any, search: Search, folder: Path) -> None:
        self.name, self.module, self.vendors = name, module, vendors
        secrets = vendors.folder / "secrets"
        self.options = {
            "base_url": vendors.url(name),
            "token_file": str(secrets / f"{name}-token"),
            "ca_path": str(vendors.tls.ca),
            "state_dir": str(folder / "state"),
            "log_dir": str(folder / "log"),
            "archive_dir": str(folder / "archive"),
            "profile": {"retry": {"backoff": 0.01, "longest": 1}},
            **search.options("collector"),
        }
        if name == "guardian360":
            self.options["api_key_file"] = str(secrets / "guardian360-api-key")

    def run(self, *flags: str, ansible: bool = False, **options: t.Any) -> t.Any:
        """One run, in this process or through Ansible."""
        options = {**self.options, "now": format_time(self.vendors.world.now), **options}
        return (run_module if ansible else run_here)(self.module, options, *flags)


@pytest.fixture
def cyberalarm(vendors: t.Any, search: Search, tmp_path: Path) -> Source:
    return Source("cyberalarm", "cyberalarm_fetch", vendors, search, tmp_path)


@pytest.fixture
def guardian360(vendors: t.Any, search: Search, tmp_path: Path) -> Source:
    return Source("guardian360", "g360_fetch", vendors, search, tmp_path)


@pytest.mark.parametrize("name", ["cyberalarm", "guardian360"])
def test_check_collect_again_and_what_is_new(
    name: str, request: pytest.FixtureRequest, search: Search, tmp_path: Path
) -> None:
    source: Source = request.getfixturevalue(name)
    world = source.vendors.world

    rehearsed = source.run("--check", "--diff", ansible=True)
    assert rehearsed.changed and not rehearsed.failed, rehearsed.output
    assert not (tmp_path / "state").exists() and not search.documents()

    first = source.run("--diff", ansible=True)
    assert first.changed, first.output
    assert first.sets == rehearsed.sets
    assert first.collected == first.indexed == sum(true_ids(source.vendors, name).values())
    assert first.diff == rehearsed.diff
    assert search.ids() == true_ids(source.vendors, name)

    again = source.run(ansible=True)
    assert again.changed is False, again.result
    assert source.run("--check", ansible=True).changed is False

    world.advance(4 * 3600)
    world.raise_incident("muller-zonen-bv", 1)
    later = source.run()
    assert search.ids() == true_ids(source.vendors, name)
    assert later.sets["logs" if name == "cyberalarm" else "hacker_alerts"]["new"] > 0
    assert later.waiting == 0
    # Nobody but us may read what was collected.
    assert not [path for path in (tmp_path / "state").rglob("*") if path.stat().st_mode & 0o007]


def test_a_review_replaces_the_document(cyberalarm: Source, search: Search) -> None:
    world = cyberalarm.vendors.world
    (alarm,) = world.raise_incident("muller-zonen-bv", 1)
    cyberalarm.run(sets=["logs"])
    world.review(alarm, by="an")
    outcome = cyberalarm.run(sets=["logs"])
    assert outcome.sets["logs"]["changed"] == 1
    (hit,) = [hit for hit in search.documents("soc-cyberalarm.alarm-*") if hit["_source"]["event"]["id"] == alarm]
    assert (hit["_source"]["soc"]["reviewed"], hit["_source"]["soc"]["reviewed_by"]) == (True, "an")


def test_a_probe_that_goes_down_and_one_that_vanishes(
    cyberalarm: Source, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = cyberalarm.vendors.world
    cyberalarm.run(sets=["probes"])
    probes = world.probes("cyberalarm")
    down, gone = probes[0][1]["id"], probes[1][1]["id"]
    world.set_probe(down, "offline")
    original = world.probes
    monkeypatch.setattr(world, "probes", lambda source: [entry for entry in original(source) if entry[1]["id"] != gone])
    outcome = cyberalarm.run(sets=["probes"])
    assert (outcome.sets["probes"]["changed"], outcome.sets["probes"]["vanished"]) == (1, 1)
    found = {
        hit["_source"]["event"]["id"]: hit["_source"]["soc"] for hit in search.documents("soc-cyberalarm.probes-*")
    }
    assert found[down]["status"] == "offline"
    assert found[gone]["present"] is False
    assert found[gone]["vanished"] == format_time(world.now)


@pytest.mark.parametrize(
    "faults",
    [
        [{"kind": "429", "retry_after": 1}, {"kind": "429", "retry_after": 1, "date": True}],
        [{"kind": "500"}, {"kind": "cut", "after": 1}, {"kind": "short", "after": 1}],
        [{"kind": "timeout", "seconds": 3}],
        [{"kind": "repeat", "after": 1}, {"kind": "shuffle", "after": 1}, {"kind": "swap", "after": 1}],
    ],
    ids=lambda faults: "+".join(fault["kind"] for fault in faults),
)
def test_faults_that_pass_cost_nothing(cyberalarm: Source, search: Search, faults: list[dict]) -> None:
    for fault in faults:
        cyberalarm.vendors.faults.add(fault.pop("kind"), source="cyberalarm", set="logs", **fault)
    profile = {"retry": {"backoff": 0.01, "longest": 1}, "sets": {"logs": {"body": {"size": 10}}}}
    outcome = cyberalarm.run(timeout=2, profile=profile)
    assert not outcome.failed, outcome.output
    cyberalarm.vendors.world.advance(60)
    cyberalarm.run(profile=profile)
    assert search.ids() == true_ids(cyberalarm.vendors, "cyberalarm")
    assert cyberalarm.vendors.faults.list() == []  # each of them did strike


def test_a_token_that_expired_is_told_and_a_new_one_is_used(cyberalarm: Source, search: Search, tmp_path: Path) -> None:
    vendor_file, ours = Path(cyberalarm.options["token_file"]), tmp_path / "token"
    old = vendor_file.read_text()
    ours.write_text(old)
    cyberalarm.vendors.vendors["cyberalarm"].token.renew()
    fresh = vendor_file.read_text()
    refused = cyberalarm.run(token_file=str(ours))
    assert refused.failed and refused.failure["details"]["logs"]["code"] == "auth_failed"
    assert "refused the credentials" in refused.msg
    assert old.strip() not in refused.output and fresh.strip() not in refused.output
    ours.write_text(fresh)
    assert not cyberalarm.run(token_file=str(ours)).failed
    assert search.ids() == true_ids(cyberalarm.vendors, "cyberalarm")


def test_a_missing_api_key_is_told(guardian360: Source) -> None:
    outcome = guardian360.run(api_key_file=None)
    assert outcome.failed
    assert outcome.failure["code"] == "auth_failed"


def test_one_broken_set_does_not_stop_the_others(cyberalarm: Source, search: Search, tmp_path: Path) -> None:
    cyberalarm.vendors.faults.add("500", source="cyberalarm", set="logs", count=None)
    outcome = cyberalarm.run()
    assert outcome.failed
    assert "logs: " in outcome.msg and "status 500" in outcome.msg
    assert search.ids() == true_ids(cyberalarm.vendors, "cyberalarm", "probes")
    assert "logs: unreachable" in (tmp_path / "log/cyberalarm.error.log").read_text()
    assert not cyberalarm.run(ignore_set_errors=True).failed


def test_elasticsearch_away_in_the_middle_loses_nothing(cyberalarm: Source, search: Search) -> None:
    away = cyberalarm.run(ansible=True, elasticsearch_url="https://localhost:9", elasticsearch_timeout=2)
    assert away.failed
    assert away.failure["code"] == "unreachable"
    assert "cannot be reached" in away.msg and "safe in the journal" in away.msg
    total = sum(true_ids(cyberalarm.vendors, "cyberalarm").values())
    assert (away.collected, away.indexed, away.waiting) == (total, 0, total)
    back = cyberalarm.run()
    assert (back.collected, back.indexed, back.waiting) == (0, total, 0)
    assert back.changed
    assert search.ids() == true_ids(cyberalarm.vendors, "cyberalarm")


def test_a_key_that_may_not_write_keeps_everything_waiting(cyberalarm: Source, search: Search) -> None:
    outcome = cyberalarm.run(**search.options("retention"))
    assert outcome.failed
    assert outcome.failure["code"] == "auth_failed"
    assert "create_index and index on soc-*" in outcome.msg
    assert outcome.waiting == outcome.collected > 0


def test_what_elasticsearch_can_never_take_is_a_dead_letter(
    cyberalarm: Source, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that our own check of types lets through."""
    monkeypatch.setitem(ecs.SIMPLE, "ip", str)
    world = cyberalarm.vendors.world
    (alarm,) = world.raise_incident("muller-zonen-bv", 1)
    body = world.body
    monkeypatch.setattr(
        world, "body", lambda record: {**body(record), **({"src_ip": "not an address"} if record.id == alarm else {})}
    )
    outcome = cyberalarm.run(sets=["logs"])
    assert not outcome.failed
    assert (outcome.dead_letters, outcome.waiting) == (1, 0)
    assert "could not be used" in outcome.output
    assert sum(search.ids().values()) == sum(true_ids(cyberalarm.vendors, "cyberalarm", "logs").values()) - 1
    assert cyberalarm.run(sets=["logs"]).changed is False


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_told_and_loses_nothing(cyberalarm: Source, search: Search, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(small)], check=True)
    try:
        full = cyberalarm.run(ansible=True, state_dir=str(small))
        assert full.failed
        assert full.failure["code"] == "state_unusable"
        assert "No space left on device" in full.msg or "disk is full" in full.msg
        assert "Traceback" not in full.output
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        assert not cyberalarm.run(state_dir=str(small)).failed
        assert search.ids() == true_ids(cyberalarm.vendors, "cyberalarm")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_two_runs_never_overlap(cyberalarm: Source, tmp_path: Path) -> None:
    from ansible_collections.netcure.soc.plugins.module_utils._core.state import lock

    with lock(str(tmp_path / "state/cyberalarm/lock")):
        outcome = cyberalarm.run(ansible=True)
    assert outcome.failed
    assert outcome.failure["code"] == "locked"
    assert f"process {os.getpid()}" in outcome.msg


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"base_url": "http://vendor.example"}, "give an https address"),
        ({"token_file": "/none"}, "bearer token cannot be read from /none"),
        ({"ca_path": "/none"}, "file /none of ca_path is not there"),
        ({"look_back": "soon"}, "'soon' is not a duration"),
        ({"profile": {"sets": {"logs": {"kind": "x"}}}}, "has kind 'x'"),
        ({"ca_path": None}, "is not trusted"),
    ],
)
def test_bad_input_gives_one_clear_sentence(cyberalarm: Source, options: dict, sentence: str) -> None:
    outcome = cyberalarm.run(**options)
    assert outcome.failed
    assert sentence in outcome.msg
    assert "Traceback" not in outcome.output


def test_no_secret_is_ever_shown(guardian360: Source, search: Search) -> None:
    secrets = [Path(guardian360.options[name]).read_text().strip() for name in ("token_file", "api_key_file")]
    secrets.append(search.keys["collector"].read_text().strip())
    options = {
        "api_key_file": None,
        "api_key": secrets[1],
        "elasticsearch_api_key_file": None,
        "elasticsearch_api_key": secrets[2],
    }
    for fault in (None, "500", "401"):
        if fault:
            guardian360.vendors.faults.add(fault, source="guardian360", count=None)
        outcome = guardian360.run("-vvv", "--diff", ansible=True, **options)
        assert outcome.failed == bool(fault), outcome.output
        assert not [secret for secret in secrets if secret in outcome.output]


def test_keys_open_what_they_should_and_no_more(cyberalarm: Source, search: Search) -> None:
    from ansible_collections.netcure.soc.plugins.module_utils._core.errors import AuthError

    cyberalarm.run(sets=["logs"])
    hit = search.documents("soc-cyberalarm.alarm-muller-zonen-bv")[0]
    index, identity = hit["_index"], hit["_id"]
    for duty, denied in {
        "collector": [
            ("delete", {"index": index, "id": identity}),
            ("indices.delete", {"index": index}),
        ],
        "retention": [("index", {"index": index, "id": "x", "document": {}}), ("indices.delete", {"index": index})],
        "escalator": [("delete", {"index": index, "id": identity}), ("index", {"index": index, "document": {}})],
        "reader-muller-zonen-bv": [
            ("search", {"index": "soc-cyberalarm.alarm-transport-coppee-sa"}),
            ("delete", {"index": index, "id": identity}),
        ],
        # The slug of one company ends like that of the other.
        "reader-het-groene-hart-bv": [("search", {"index": "soc-cyberalarm.alarm-tuincentrum-het-groene-hart-bv"})],
    }.items():
        elastic = search.as_duty(duty)
        for call, arguments in denied:
            with pytest.raises(AuthError):
                elastic.call(call, **arguments)
    assert search.as_duty("reader-muller-zonen-bv").call("search", index=index)["hits"]["hits"]
    assert search.ids()[(index, hit["_source"]["event"]["id"])] == 1


def test_values_of_the_mapping(cyberalarm: Source, search: Search) -> None:
    """Addresses, levels and flags can be searched as what they are."""
    cyberalarm.run(sets=["logs"])
    found = collections.Counter(hit["_source"]["soc"]["level"] for hit in search.documents())
    for level, count in found.items():
        assert (
            search.admin.call("count", index="soc-cyberalarm.*", query={"term": {"soc.level": level}})["count"] == count
        )
    inside = {"bool": {"should": [{"term": {"source.ip": "10.0.0.0/8"}}, {"term": {"destination.ip": "10.0.0.0/8"}}]}}
    assert search.admin.call("count", index="soc-cyberalarm.*", query=inside)["count"] == sum(found.values())


def test_what_an_analyst_closes_is_closed_here_one_cycle_later(cyberalarm: Source, search: Search) -> None:
    """However long ago the alarm was: the world is two days old, the look-back 40 minutes."""
    cyberalarm.run(sets=["logs"])
    world = cyberalarm.vendors.world
    oldest = min(
        (hit["_source"] for hit in search.documents("soc-cyberalarm.alarm-*") if not hit["_source"]["soc"]["reviewed"]),
        key=lambda source: source["@timestamp"],
    )
    world.review(oldest["event"]["id"], by="an")
    world.advance(300)
    assert cyberalarm.run(sets=["logs"]).sets["logs"]["changed"] == 1
    (hit,) = [hit for hit in search.documents() if hit["_id"] == oldest["soc"]["id"]]
    assert (hit["_source"]["soc"]["reviewed"], hit["_source"]["soc"]["reviewed_by"]) == (True, "an")


def test_counting_finds_what_is_missing_and_what_is_too_much(cyberalarm: Source, search: Search) -> None:
    options = {"sets": ["logs"], "reconcile": "48h"}
    assert cyberalarm.run(**options).reconciled == {"logs": {"gap": 0, "dup": 0}}
    assert cyberalarm.run(**options).reconciled == {}  # once a day
    world = cyberalarm.vendors.world
    before = format_time(world.now - timedelta(hours=5))
    (first, second, *_rest) = [hit for hit in search.documents() if hit["_source"]["@timestamp"] < before]
    search.admin.call("delete", index=first["_index"], id=first["_id"])
    for twin in ("x", "y"):
        search.admin.call("index", index=second["_index"], id=twin, document=second["_source"])
    world.advance(24 * 3600)
    outcome = cyberalarm.run(**options)
    assert outcome.reconciled == {"logs": {"gap": 1, "dup": 2}}
    assert "does not add up" in outcome.output
    search.admin.call("indices.refresh", index="soc-probe")
    runs = [hit["_source"]["soc"]["run"] for hit in search.documents("soc-probe")]
    assert sorted((run["gap"], run["dup"]) for run in runs if run["gap"] is not None) == [(0, 0), (1, 2)]


def test_a_source_that_falls_silent_is_told(
    cyberalarm: Source, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = cyberalarm.vendors.world
    profile = {**cyberalarm.options["profile"], "sets": {"logs": {"silent_after": "6h"}}}
    assert cyberalarm.run(sets=["logs"], profile=profile).silent == {}
    monkeypatch.setattr(world, "log", lambda *_asked, **_more: iter(()))
    world.advance(8 * 3600)
    outcome = cyberalarm.run(sets=["logs"], profile=profile)
    assert not outcome.failed
    assert "at most 6 hours is allowed" in outcome.silent["logs"]
    assert "Nothing new came since" in outcome.output


def test_a_segment_is_sealed_and_loads_again(cyberalarm: Source, search: Search, tmp_path: Path) -> None:
    world = cyberalarm.vendors.world
    cyberalarm.run()
    world.advance(25 * 3600)
    second = cyberalarm.run()
    assert second.sealed == 1
    assert [path.name for path in sorted((tmp_path / "archive/collected/cyberalarm").iterdir())] == [
        "00000001.manifest.json",
        "00000001.ndjson.gz",
        "companies.json",
    ]
    assert [path.name for path in (tmp_path / "state/cyberalarm/segments").iterdir()] == ["00000002.ndjson"]
    before = {(hit["_index"], hit["_id"]): hit["_source"] for hit in search.documents()}
    assert len(before) > 100
    search.clear()
    options = {key: cyberalarm.options[key] for key in ("state_dir", "log_dir", "archive_dir")}
    outcome = run_module("soc_replay", {"source": "cyberalarm", **options, **search.options("collector")})
    assert not outcome.failed, outcome.output
    assert {(hit["_index"], hit["_id"]): hit["_source"] for hit in search.documents()} == before


def test_the_history_of_a_new_client(cyberalarm: Source, search: Search, tmp_path: Path) -> None:
    """A first run from noon on, and then what was before, for as long as it takes."""
    now = cyberalarm.vendors.world.now
    first = cyberalarm.run(sets=["logs"], since=format_time(now - timedelta(hours=6)))
    assert 0 < first.collected < sum(true_ids(cyberalarm.vendors, "cyberalarm", "logs").values())
    since = format_time(now - timedelta(days=3))
    second = cyberalarm.run(sets=["logs"], since=since)
    assert second.sets["logs"]["backfilled_to"] is None
    assert search.ids() == true_ids(cyberalarm.vendors, "cyberalarm", "logs")
    assert "100% of the way" in (tmp_path / "log/cyberalarm.progress.log").read_text()
    assert cyberalarm.run(sets=["logs"], since=since).changed is False


def test_only_what_is_due(guardian360: Source) -> None:
    assert len(guardian360.run(only_due=True).sets) == 16
    guardian360.vendors.world.advance(300)
    assert sorted(guardian360.run(only_due=True).sets) == ["hacker_alert_appliances", "hacker_alerts", "probes"]
    guardian360.vendors.world.advance(24 * 3600)
    assert len(guardian360.run(only_due=True).sets) == 16


def test_one_company_that_fails_does_not_stop_the_others(
    guardian360: Source, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = guardian360.vendors.world
    company = world.truth()["sources"]["guardian360"]["companies"]
    guardian360.vendors.faults.add("500", source="guardian360", set="risks_per_scanner", after=1, count=4)
    profile = {"retry": {"backoff": 0.01, "longest": 1, "max": 3}}
    outcome = guardian360.run(sets=["risks_per_scanner", "probes"], profile=profile)
    assert outcome.failed
    assert len(outcome.failure["details"]) == 1
    assert next(iter(outcome.failure["details"])).startswith("risks_per_scanner of ")
    found = {hit["_source"]["organization"]["name"] for hit in search.documents("soc-guardian360.risks-per-scanner-*")}
    assert len(found) == len(company) - 1
    assert not guardian360.run(sets=["risks_per_scanner"]).failed
    assert search.ids() == true_ids(guardian360.vendors, "guardian360", "risks_per_scanner", "probes")
