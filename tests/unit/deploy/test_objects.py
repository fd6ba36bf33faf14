# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    SocError,
    Unreachable,
)
from ansible_collections.netcure.soc.plugins.module_utils._deploy.objects import (
    UNCHANGED,
    Wanted,
    _shown,
    decide,
    needs_login,
    settle,
    wanted_of,
)
from ansible_collections.netcure.soc.plugins.module_utils._deploy.rest import Unsupported
from ansible_collections.netcure.soc.plugins.module_utils._deploy.several import each, failure_of

ROLE = Wanted("role", "r", {"cluster": ["monitor"]})
USER = Wanted("user", "u", {"roles": ["r"]}, "secret-of-u")
RESERVED = {"roles": ["kibana_system"], "metadata": {"_reserved": True}, "enabled": True}


def entry(**values: object) -> dict:
    return {"kind": "role", "name": "r", "body": None, "state": "present", **values}


@pytest.mark.parametrize(
    ("values", "passwords", "told"),
    [
        ({}, {}, "say in body"),
        ({"name": None, "body": {"cluster": []}}, {}, "is no name"),
        ({"body": {"cluster": []}}, {"r": "secret-of-r"}, "passwords names r, and objects has no such user"),
        ({"kind": "user"}, {}, "give its roles"),
        ({"kind": "user", "body": {"password": "secret-of-u"}}, {}, "in the option passwords"),
        ({"kind": "user", "body": {"password_hash": "x"}}, {}, "in the option passwords"),
        ({"kind": "user", "body": {"roles": []}}, {"r": "short"}, "too short"),
        ({"kind": "cluster_settings"}, {}, "name the settings"),
        ({"kind": "cluster_settings", "body": {"cluster.*": None}}, {}, "name each setting"),
    ],
)
def test_what_cannot_work_is_refused(values: dict, passwords: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        wanted_of([entry(**values)], passwords)
    assert "secret-of" not in caught.value.message


def test_one_object_is_listed_once() -> None:
    with pytest.raises(ConfigError, match="role r is in objects twice"):
        wanted_of([entry(body={"cluster": []}), entry(state="absent")], {})


def test_absent_cluster_settings_are_null() -> None:
    (wanted,) = wanted_of([entry(kind="cluster_settings", name="any", body={"a": {"b": 1}}, state="absent")], {})
    assert wanted.name == "persistent" and wanted.body == {"a.b": None}


def test_whose_password_it_is() -> None:
    entries = [
        entry(body={"cluster": []}),
        entry(kind="user", body={"roles": []}),
        entry(kind="user", name="gone", state="absent"),
    ]
    role, user, gone = wanted_of(entries, {"r": 123456, "gone": "secret-of-gone"})
    assert (role.password, user.password, gone.password) == (None, "123456", None)


class TestDecisions:
    def test_each_action(self) -> None:
        absent = Wanted("role", "r", None)
        assert decide(ROLE, None, None).action == "created"
        assert decide(ROLE, {"cluster": ["all"]}, None).action == "updated"
        assert decide(ROLE, {"cluster": ["monitor"], "run_as": []}, None) is UNCHANGED
        assert decide(absent, {"cluster": []}, None).action == "deleted"
        assert decide(absent, None, None) is UNCHANGED

    def test_a_password_counts_when_nobody_logs_in_with_it(self) -> None:
        found = {"username": "u", "roles": ["r"], "enabled": True}
        assert needs_login(USER, found) and not needs_login(USER, None)
        assert decide(USER, found, True) is UNCHANGED
        assert [one.path for one in decide(USER, found, False).differences] == ["password"]

    def test_who_is_disabled_cannot_log_in_with_any_password(self) -> None:
        wanted, found = (
            Wanted("user", "u", {"roles": ["r"], "enabled": False}, "secret-of-u"),
            {"roles": ["r"], "enabled": False},
        )
        assert not needs_login(wanted, found)
        assert decide(wanted, found, None) is UNCHANGED

    def test_of_a_user_of_elasticsearch_only_the_password_counts(self) -> None:
        wanted = Wanted("user", "kibana_system", {}, "secret-of-u")
        assert decide(wanted, RESERVED, True) is UNCHANGED
        assert [one.path for one in decide(wanted, RESERVED, False).differences] == ["password"]


class Elastic:
    """Holds one role, in its own form when ``stubborn``."""

    def __init__(self, found: dict | None, stubborn: bool = False, lacks: bool = False) -> None:
        self.found, self.stubborn, self.lacks, self.asked = found, stubborn, lacks, []

    def get(self, path: str, **query: str) -> dict | None:
        if self.lacks:
            raise Unsupported("no handler found", reason="no handler found")
        return None if self.found is None else {"r": self.found}

    def call(self, method: str, path: str, body: dict | None = None, missing: bool = False) -> None:
        self.asked.append((method, path, body))
        if not self.stubborn:
            self.found = body


class TestSettling:
    def test_nothing_is_written_that_is_right_or_in_check_mode(self) -> None:
        warnings: list[str] = []
        same, other = Elastic({"cluster": "monitor"}), Elastic(None)
        assert settle(same, ROLE, False, warnings.append) is UNCHANGED
        assert settle(other, ROLE, True, warnings.append).action == "created"
        assert not same.asked and not other.asked and not warnings

    def test_what_differs_is_written_once(self) -> None:
        warnings: list[str] = []
        elastic = Elastic({"cluster": ["all"]})
        assert settle(elastic, ROLE, False, warnings.append).action == "updated"
        assert elastic.asked == [("PUT", "/_security/role/r", {"cluster": ["monitor"]})] and not warnings

    def test_what_does_not_become_as_it_was_written_is_told(self) -> None:
        warnings: list[str] = []
        settle(Elastic({"cluster": ["all"]}, stubborn=True), ROLE, False, warnings.append)
        assert "role r: Elasticsearch keeps cluster[0] as 'all' after it was written as 'monitor'" in warnings[0]

    def test_a_kind_that_the_server_lacks(self) -> None:
        with pytest.raises(ConfigError, match=r"lacks security.*minimal.*leave out what is of kind role") as caught:
            settle(Elastic(None, lacks=True), ROLE, False, print)
        assert caught.value.details == {"kind": "role"}
        assert settle(Elastic(None, lacks=True), Wanted("role", "r", None), False, print) is UNCHANGED

    def test_a_user_of_elasticsearch_has_no_body(self) -> None:
        elastic = Elastic(RESERVED)
        elastic.identity = lambda _header: None
        with pytest.raises(ConfigError, match="only its password can be set"):
            settle(elastic, Wanted("user", "r", {"roles": ["x"]}, "secret-of-u"), False, print)
        settle(elastic, Wanted("user", "r", {}, "secret-of-u"), False, lambda _text: None)
        assert elastic.asked == [("PUT", "/_security/user/r/_password", {"password": "secret-of-u"})]


def test_what_is_secret_by_its_name_is_not_shown() -> None:
    shown = _shown("", {"a": [{"secret_key": "x"}], "tokens": 5, "keyword": "y", "password": None})
    assert shown == {"a": [{"secret_key": "********"}], "tokens": "********", "keyword": "y", "password": None}


class TestEach:
    @staticmethod
    def run(*outcomes: SocError | None) -> tuple[list[str], dict]:
        def settle_one(outcome: SocError | None, entry: dict) -> None:
            if outcome:
                raise outcome
            entry["action"] = "created"

        entries, failures = each(outcomes, str, settle_one)
        return [one["action"] for one in entries], failure_of(failures)

    def test_a_refusal_does_not_stop_the_others(self) -> None:
        actions, told = self.run(AnswerError("no"), None, AuthError("not you", status=403), None)
        assert actions == ["failed", "created", "failed", "created"]
        assert told["failure"]["code"] == "answer_invalid" and told["failure"]["message"] == "no: no; not you: not you"
        assert set(told["failure"]["details"]) == {"no", "not you"}

    @pytest.mark.parametrize("end", [Unreachable("gone"), AuthError("who", status=401)])
    def test_a_server_that_is_gone_is_asked_no_more(self, end: SocError) -> None:
        assert self.run(None, end, None)[0] == ["created", "failed", "not_tried"]

    def test_nothing_failed(self) -> None:
        assert self.run(None) == (["created"], {})
