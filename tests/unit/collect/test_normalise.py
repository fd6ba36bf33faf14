# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import (
    Malformed,
    normalise,
    operation,
    wanted,
)
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import compile_paths, dig, load, merge
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles import cyberalarm, guardian360
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import ConfigError


class TestPaths:
    def test_the_first_that_exists_counts(self) -> None:
        record = {"a": {"b": [1, {"c": 2}]}, "n": None, "z": 0}
        for paths, value in (
            ("a.b[-1].c", 2),
            ("a.b[0]", 1),
            (["x", "z"], 0),
            (["n", "a.b[0]"], 1),
            ("a.b[9]", None),
            ("a.b.c", None),
        ):
            assert dig(record, compile_paths(paths)) == value


class TestProfiles:
    def test_an_override_replaces_a_part(self) -> None:
        source = load(merge(guardian360.PROFILE, {"sets": {"probes": {"path": "/v2/probes", "drop": []}}}))
        assert source.sets["probes"].path == "/v2/probes"
        assert source.sets["probes"].drop == frozenset()
        assert guardian360.PROFILE["sets"]["probes"]["path"] == "/api/v1/probes"

    @pytest.mark.parametrize(
        ("override", "sentence"),
        [
            ({}, "The address of cyberalarm is not set"),
            ({"base_url": "http://x"}, "give an https address"),
            (
                {"base_url": "https://x", "sets": {"logs": {"kind": "log"}}},
                "logs has kind 'log'; it must be one of event",
            ),
            ({"base_url": "https://x", "sets": {"logs": {"id": None}}}, "logs lacks id"),
            ({"base_url": "https://x", "sets": {"logs": {"paging": {"style": "offset"}}}}, "paging style 'offset'"),
            ({"base_url": "https://x", "sets": {"logs": {"envelope": {"items": []}}}}, "where the records are"),
            ({"base_url": "https://x", "sets": {"logs": {"paging": {"cap": "100"}}}}, "whole number as paging.cap"),
            (
                {"base_url": "https://x", "sets": {"logs": {"paging": {"cursor": None}}}},
                "needs paging.send and paging.cursor",
            ),
            ({"base_url": "https://x", "sets": {"logs": {"tenant": "company"}}}, "entry of the wrong kind"),
            ({"base_url": "https://x", "sets": {"logs": {"zone": "Europe/Brussel"}}}, "entry of the wrong kind"),
            ({"base_url": "https://x", "sets": {"logs": "none"}}, "entry of the wrong kind"),
            ({"base_url": "https://x", "sets": None}, "entry of the wrong kind"),
        ],
    )
    def test_a_wrong_profile_is_told(self, override: dict, sentence: str) -> None:
        with pytest.raises(ConfigError, match=sentence):
            load(merge(cyberalarm.PROFILE, override))


class TestNormalise:
    def test_an_alarm_in_ecs(self, document: t.Callable, alarm: dict) -> None:
        made = document()
        body = made.source
        assert made.index == "soc-cyberalarm.alarm-acme-nv"
        assert body["@timestamp"] == "2026-11-20T09:14:03.000Z"
        assert body["organization"] == {"id": "c1", "name": "Acme NV"}
        assert body["rule"] == {"id": "2024217", "name": "ET TROJAN", "category": "malware"}
        assert body["source"] == {"ip": "10.0.0.66", "port": 51322}
        assert body["event"]["dataset"] == "cyberalarm.alarm"
        assert body["event"]["ingested"] == "2026-11-20T12:00:00.000Z"
        assert body["soc"] == {"id": made.id, "set": "logs", "level": 1, "count": 1, "reviewed": False}
        original = json.loads(body["event"]["original"])
        assert {key: original[key] for key in alarm} == alarm

    def test_what_nobody_needs_is_dropped(self, document: t.Callable) -> None:
        made = document(_links={"self": "x"})
        assert "_links" not in json.loads(made.source["event"]["original"])
        assert made.digest == document().digest

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"id": None}, "no id"),
            ({"id": ""}, "no id"),
            ({"id": {"$oid": "1"}}, "no id"),
            ({"id": 1.8446744073709552e19}, "no id"),
            ({"company": {"id": "", "name": "Acme"}}, "no company"),
            ({"company": None}, "no company"),
            ({"company": {"id": "c1", "name": "  "}}, "no company"),
            ({"company": {"id": None, "name": "Acme"}}, "no company"),
            ({"timestamp": None}, "time is unusable"),
            ({"timestamp": "soon"}, "time is unusable"),
            ({"level": None}, "no level"),
            ({"level": "high"}, "its level is 'high'"),
        ],
    )
    def test_what_cannot_be_used_is_never_guessed(self, document: t.Callable, fields: dict, reason: str) -> None:
        with pytest.raises(Malformed, match=reason):
            document(**fields)

    def test_not_even_an_object(self, cyberalarm_source: t.Any, now: t.Any) -> None:
        with pytest.raises(Malformed):
            normalise("text", cyberalarm_source, cyberalarm_source.sets["logs"], format_time(now), str)

    def test_the_id_follows_from_source_set_tenant_and_vendor_id_alone(self, document: t.Callable) -> None:
        assert document().id == document(level=3, reviewed=True, timestamp="2020-01-01").id
        assert (
            len(
                {
                    document().id,
                    document("probes").id,
                    document(id="al-2").id,
                    document(company={"id": "c2", "name": "Acme NV"}).id,
                }
            )
            == 4
        )

    def test_the_digest_is_of_content_not_of_what_always_moves(self, document: t.Callable) -> None:
        assert document().digest != document(reviewed=True).digest
        assert document("probes").digest == document("probes", last_seen="2026-11-20T10:00:00Z").digest
        assert document("probes").digest != document("probes", status="offline").digest

    @pytest.mark.parametrize(
        ("value", "flag"),
        [(0, False), (1, True), ("1", True), (False, False), (True, True), ("reviewed", True), ("no", False)],
    )
    def test_reviewed_is_a_flag_whatever_the_vendor_calls_it(
        self, document: t.Callable, value: object, flag: bool
    ) -> None:
        assert document(reviewed=value).source["soc"]["reviewed"] is flag

    def test_vendor_text_stays_text(self, document: t.Callable) -> None:
        made = document(signature="{{ 7*7 }}\n<script>")
        assert made.source["rule"]["name"] == "{{ 7*7 }}\n<script>"
        assert operation(made, 1).count(b"\n") == 2


class TestWanted:
    def test_levels_one_to_three_of_subscribed_companies(self, cyberalarm_source: t.Any, alarm: dict) -> None:
        logs, mine = cyberalarm_source.sets["logs"], frozenset({"c1"})
        assert wanted(alarm, logs, mine)
        assert wanted({**alarm, "level": "2"}, logs, mine)
        assert not wanted({**alarm, "level": 4}, logs, mine)
        assert not wanted(alarm, logs, frozenset({"c2"}))
        assert wanted(alarm, logs, None)

    def test_what_lacks_them_is_let_through_to_be_a_dead_letter(self, cyberalarm_source: t.Any, alarm: dict) -> None:
        assert wanted({**alarm, "level": None, "company": None}, cyberalarm_source.sets["logs"], frozenset())


class TestOperation:
    def test_state_is_replaced_under_its_version(self, document: t.Callable) -> None:
        action, source = map(json.loads, operation(document(), 7).splitlines())
        assert action == {
            "index": {
                "_index": "soc-cyberalarm.alarm-acme-nv",
                "_id": document().id,
                "version": 7,
                "version_type": "external",
            }
        }
        assert source == document().source

    def test_an_event_is_created_once(self, guardian360_source: t.Any, now: t.Any) -> None:
        record = {
            "id": "o1",
            "operation": "closed",
            "created_at": "2026-11-20 09:00:00",
            "company": {"data": {"id": "1", "name": "Acme"}},
        }
        made = normalise(
            record,
            guardian360_source,
            guardian360_source.sets["issue_operations"],
            format_time(now),
            lambda _id, _name: "acme",
        )
        assert json.loads(operation(made, 7).splitlines()[0]) == {
            "create": {"_index": "soc-guardian360.issue-operations-acme", "_id": made.id}
        }
