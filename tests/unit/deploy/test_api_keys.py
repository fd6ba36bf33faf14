# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import ConfigError
from ansible_collections.netcure.soc.plugins.module_utils._deploy.api_keys import (
    Found,
    Step,
    Wanted,
    decide,
    id_of,
    wanted_of,
)

NOW = datetime(2026, 11, 9, 9, tzinfo=UTC)
ROLES = {"r": {"cluster": ["monitor"], "indices": [{"names": ["soc-*"], "privileges": ["read"]}]}}


def entry(**values: object) -> dict:
    return {
        "name": "k",
        "path": "/etc/soc/k.key",
        "role_descriptors": ROLES,
        "metadata": {},
        "expiration": None,
        "renew_before": "30d",
        "rotate": False,
        "owner": None,
        "group": None,
        "mode": "0640",
        "state": "present",
        **values,
    }


def wanted(**values: object) -> Wanted:
    return wanted_of([entry(**values)], "host-1")[0]


def key(identity: str = "one", host: str = "host-1", **values: object) -> dict:
    """A key as a real 8.19 tells of it."""
    role = {"allow_restricted_indices": False, "names": ["soc-*"], "privileges": ["read"]}
    more = {"applications": [], "run_as": [], "metadata": {}, "transient_metadata": {"enabled": True}}
    return {
        "id": identity,
        "name": "k",
        "username": "admin",
        "metadata": {"netcure_soc": {"host": host, "path": "/etc/soc/k.key"}},
        "role_descriptors": {"r": {"cluster": ["monitor"], "indices": [role], **more}},
        **values,
    }


def found(*keys: dict, **values: object) -> Found:
    return dataclasses.replace(Found(True, True, "one", keys), **values)


def in_days(days: float) -> int:
    return int((NOW + timedelta(days=days)).timestamp() * 1000)


def outcome(have: Found, **values: object) -> Step:
    return decide(wanted(**values), have, NOW, "admin")


class TestDecisions:
    def test_a_key_that_works_stays(self) -> None:
        assert outcome(found(key())) == Step("unchanged")

    def test_a_key_of_another_host_with_the_same_name_is_not_ours(self) -> None:
        assert outcome(found(key(), key("two", host="host-2"))) == Step("unchanged")

    def test_without_a_file_one_is_made_and_what_was_lost_ends(self) -> None:
        step = outcome(found(key("lost"), has_file=False, works_as=None))
        assert (step.action, step.make, step.invalidate) == ("created", True, ("lost",))

    def test_a_file_that_does_not_work_is_replaced(self) -> None:
        step = outcome(found(works_as=None))
        assert (step.action, step.make, step.invalidate) == ("renewed", True, ())

    def test_what_it_may_do_is_changed_in_place(self) -> None:
        step = outcome(found(key(role_descriptors={"r": {"cluster": ["all"]}})))
        assert (step.action, step.update, step.make) == ("updated", True, False)
        assert step.reason == "role_descriptors differ"
        assert outcome(found(key()), metadata={"a": 1}).reason == "metadata differ"
        assert outcome(found(key(role_descriptors={**key()["role_descriptors"], "more": {}}))).update

    def test_a_key_that_somebody_else_made_cannot_be_changed(self) -> None:
        step = outcome(found(key(username="else", role_descriptors={})))
        assert step.make and step.invalidate == ("one",) and "only else" in step.reason
        assert outcome(found(key(username="else"))) == Step("unchanged")

    @pytest.mark.parametrize(("days", "makes"), [(29, True), (31, False), (-1, True)])
    def test_it_is_renewed_before_its_end(self, days: float, makes: bool) -> None:
        assert outcome(found(key(expiration=in_days(days))), expiration="365d").make is makes

    @pytest.mark.parametrize(("days", "makes"), [(91, True), (90, False), (None, True)])
    def test_it_does_not_live_longer_than_wanted(self, days: float | None, makes: bool) -> None:
        step = outcome(found(key(**({} if days is None else {"expiration": in_days(days)}))), expiration="90d")
        assert step.make is makes

    def test_it_is_rotated_on_demand(self) -> None:
        step = outcome(found(key()), rotate=True)
        assert (step.action, step.make, step.invalidate) == ("renewed", True, ("one",))

    def test_a_key_that_was_there_before_this_module_is_ours_by_its_file(self) -> None:
        step = outcome(found(key(metadata={})))
        assert (step.action, step.reason, step.invalidate) == ("updated", "metadata differ", ())
        assert outcome(found(key(metadata={})), rotate=True).invalidate == ("one",)

    def test_what_an_interrupted_run_left_ends(self) -> None:
        step = outcome(found(key(), key("stray")))
        assert (step.action, step.make, step.invalidate) == ("updated", False, ("stray",))

    def test_owner_and_mode_are_set_without_a_new_key(self) -> None:
        step = outcome(found(key(), rights_hold=False))
        assert (step.action, step.set_rights, step.make) == ("updated", True, False)

    def test_absent(self) -> None:
        gone = outcome(found(key(), key("two", host="host-2")), state="absent", role_descriptors=None)
        assert (gone.action, gone.invalidate) == ("deleted", ("one",))
        assert outcome(found(has_file=False, works_as=None), state="absent") == Step("unchanged")
        assert outcome(found(works_as=None), state="absent").action == "deleted"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"role_descriptors": {}}, "could do whatever its maker can"),
        ({"name": "k*"}, "is no name"),
        ({"metadata": {"netcure_soc": 1}}, "netcure_soc"),
        ({"expiration": "1y"}, "write a whole number"),
        ({"expiration": "1.5d"}, "write a whole number"),
        ({"expiration": "30d"}, "which is always"),
        ({"renew_before": "soon"}, "is not a duration"),
        ({"mode": "0644"}, "opens a file of secrets"),
        ({"mode": "416"}, "four octal digits"),
    ],
)
def test_what_cannot_work_is_refused(values: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        wanted(**values)


@pytest.mark.parametrize("other", [{"path": "/other"}, {"name": "other"}])
def test_a_name_and_a_file_are_of_one_key(other: dict) -> None:
    with pytest.raises(ConfigError, match="one name and one file"):
        wanted_of([entry(), entry(**other)], "host-1")


def test_the_id_in_a_key() -> None:
    assert id_of(base64.b64encode(b"one:secret").decode()) == "one"
    for text in ("", "no base64!", base64.b64encode(b"one").decode(), base64.b64encode(b":x").decode(), "é"):
        assert id_of(text) is None
