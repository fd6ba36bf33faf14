# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import ConfigError
from ansible_collections.netcure.soc.plugins.module_utils._deploy.kinds import KINDS, address, check_name, compare


def paths(kind: str, wanted: dict, found: dict) -> list[str]:
    return [one.path for one in compare(kind, wanted, found)]


class TestTemplates:
    # As a real 8.19 gave them back for what is wanted here.
    FOUND = {
        "template": {
            "settings": {"index": {"number_of_replicas": "0", "refresh_interval": "5s", "sort": {"field": ["a"]}}},
            "mappings": {
                "dynamic": "false",
                "properties": {"a": {"type": "keyword"}, "n": {"index": False, "type": "long"}},
            },
        },
        "version": 3,
    }
    WANTED = {
        "version": "3",
        "template": {
            "settings": {"number_of_replicas": 0, "index": {"refresh_interval": "5s"}, "sort.field": "a"},
            "mappings": {
                "dynamic": False,
                "properties": {"a": {"type": "keyword"}, "n": {"type": "long", "index": "false"}},
            },
        },
    }

    def test_what_comes_back_in_another_form_is_the_same(self) -> None:
        assert paths("component_template", self.WANTED, self.FOUND) == []

    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"settings": {"number_of_replicas": 1}}, "template.settings.index.number_of_replicas"),
            ({"settings": {"index.codec": "best_compression"}}, "template.settings.index.codec"),
            ({"mappings": {"properties": {"a": {"type": "text"}}}}, "template.mappings.properties.a.type"),
            ({"mappings": {"properties": {"b": {"type": "text"}}}}, "template.mappings.properties.b"),
            ({"aliases": {"x": {}}}, "template.aliases"),
        ],
    )
    def test_one_value_that_differs_is_named(self, change: dict, path: str) -> None:
        wanted = {**self.WANTED, "template": merged(self.WANTED["template"], change)}
        assert paths("component_template", wanted, self.FOUND) == [path]

    def test_what_is_no_longer_wanted_differs(self) -> None:
        wanted = {"template": {"settings": self.WANTED["template"]["settings"]}}
        assert paths("component_template", wanted, self.FOUND) == ["template.mappings", "version"]

    def test_what_the_server_adds_is_no_difference(self) -> None:
        wanted = {"index_patterns": "w-*", "data_stream": {}, "template": {"lifecycle": {"data_retention": "7d"}}}
        found = {
            "index_patterns": ["w-*"],
            "composed_of": [],
            "data_stream": {"hidden": False, "allow_custom_routing": False},
            "template": {"lifecycle": {"enabled": True, "data_retention": "7d"}},
            "created_date_millis": 1,
        }
        assert paths("index_template", wanted, found) == []
        assert paths("index_template", {**wanted, "index_patterns": ["w-*", "x-*"]}, found) == ["index_patterns"]
        assert paths("index_template", {"index_patterns": "w-*", "template": wanted["template"]}, found) == [
            "data_stream"
        ]

    def test_the_order_of_lists_counts(self) -> None:
        found = {"index_patterns": ["a"], "composed_of": ["one", "two"]}
        assert paths("index_template", {"index_patterns": ["a"], "composed_of": ["two", "one"]}, found) == [
            "composed_of[0]",
            "composed_of[1]",
        ]


def merged(one: dict, other: dict) -> dict:
    both = dict(one)
    for key, value in other.items():
        both[key] = merged(one[key], value) if isinstance(value, dict) and isinstance(one.get(key), dict) else value
    return both


class TestPolicies:
    FOUND = {
        "policy": {
            "phases": {
                "hot": {"min_age": "0ms", "actions": {"rollover": {"max_age": "30d"}}},
                "delete": {"min_age": "90d", "actions": {"delete": {"delete_searchable_snapshot": True}}},
            }
        }
    }

    def test_the_same(self) -> None:
        phases = {
            "hot": {"actions": {"rollover": {"max_age": "30d"}}},
            "delete": {"min_age": "90d", "actions": {"delete": {}}},
        }
        assert paths("ilm_policy", {"policy": {"phases": phases}}, self.FOUND) == []
        assert paths("ilm_policy", {"policy": {"phases": {"hot": phases["hot"]}}}, self.FOUND) == [
            "policy.phases.delete"
        ]
        phases["hot"]["actions"]["readonly"] = {}
        assert paths("ilm_policy", {"policy": {"phases": phases}}, self.FOUND) == ["policy.phases.hot.actions.readonly"]


class TestSecurity:
    ROLE = {
        "cluster": ["monitor"],
        "indices": [{"names": ["a*"], "privileges": ["read"], "allow_restricted_indices": False}],
        "applications": [],
        "run_as": [],
        "metadata": {},
        "transient_metadata": {"enabled": True},
    }

    def test_a_role_as_it_comes_back(self) -> None:
        assert (
            paths("role", {"cluster": "monitor", "indices": [{"names": "a*", "privileges": ["read"]}]}, self.ROLE) == []
        )
        assert paths("role", {"indices": [{"names": "a*", "privileges": ["read"]}]}, self.ROLE) == ["cluster"]
        assert paths("role", {"cluster": ["monitor"]}, self.ROLE) == ["indices"]

    def test_a_query_comes_back_as_text(self) -> None:
        found = {**self.ROLE, "indices": [{**self.ROLE["indices"][0], "query": '{"term": {"a": "1"}}'}]}
        wanted = {
            "cluster": ["monitor"],
            "indices": [{"names": ["a*"], "privileges": ["read"], "query": {"term": {"a": 1}}}],
        }
        assert paths("role", wanted, found) == []
        wanted["indices"][0]["query"] = {"term": {"a": 2}}
        assert paths("role", wanted, found) == ["indices[0].query.term.a"]

    def test_a_user_as_it_comes_back(self) -> None:
        found = {"username": "x", "roles": ["r"], "full_name": None, "email": None, "metadata": {}, "enabled": True}
        assert paths("user", {"roles": ["r"]}, found) == []
        assert paths("user", {"roles": ["r"], "enabled": False}, found) == ["enabled"]
        assert paths("user", {"roles": ["r"], "full_name": "X"}, found) == ["full_name"]


def test_cluster_settings_of_others_are_left_alone() -> None:
    found = {"cluster.max_shards_per_node": "1500", "a.b": "of somebody else"}
    assert paths("cluster_settings", {"cluster": {"max_shards_per_node": 1500}}, found) == []
    assert paths("cluster_settings", {"cluster.max_shards_per_node": None, "c": None}, found) == [
        "cluster.max_shards_per_node"
    ]


def test_settings_of_repositories_are_text() -> None:
    found = {"type": "fs", "uuid": "x", "settings": {"compress": "true", "location": "/srv"}}
    assert paths("snapshot_repository", {"type": "fs", "settings": {"location": "/srv", "compress": True}}, found) == []
    assert paths("snapshot_repository", {"type": "fs", "settings": {"location": "/srv"}}, found) == [
        "settings.compress"
    ]


@pytest.mark.parametrize(
    "name", ["", "*", "a*", "a,b", "_all", "..", ".", " a", "a/b", "a\nb", "-a", "a?", "a#b", "a:b"]
)
def test_a_name_that_means_more_than_one_object_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for role"):
        check_name("role", name)


def test_names_are_quoted_in_addresses() -> None:
    check_name("user", "Jan de Vries@acme.example")
    assert address("user", "Jan %2e") == "/_security/user/Jan%20%252e"
    assert address("cluster_settings", "persistent") == "/_cluster/settings"
    assert {kind: address(kind, "x") for kind in KINDS}["ilm_policy"] == "/_ilm/policy/x"
