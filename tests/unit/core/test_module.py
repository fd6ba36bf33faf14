# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import InputError
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run, run_module


class Left(Exception):
    """The module ended."""


class Module:
    """What AnsibleModule is to run_module."""

    def __init__(self, diff: bool = False, **params: t.Any) -> None:
        self.params, self.check_mode, self._diff, self.tmpdir = params, False, diff, "/tmp"
        self.left: dict = {}

    def warn(self, text: str) -> None:
        pass

    def exit_json(self, **result: t.Any) -> None:
        self.left = result
        raise Left

    def fail_json(self, **result: t.Any) -> None:
        self.left = {"failed": True, **result}
        raise Left


def leave(module: Module, work: t.Callable[[Run], dict]) -> dict:
    with pytest.raises(Left):
        run_module(module, work)
    return module.left


def test_a_result_and_its_diff() -> None:
    assert leave(Module(), lambda run: {"changed": True, "diff": {}}) == {"changed": True}
    assert leave(Module(diff=True), lambda run: {"diff": {"before": 1}}) == {"diff": {"before": 1}}


def test_time_is_a_parameter() -> None:
    told = leave(Module(now="2026-11-20T12:00:00Z"), lambda run: {"year": run.clock().year})
    assert told == {"year": 2026}
    assert leave(Module(now="noon"), lambda run: {})["failure"]["code"] == "config_invalid"


def test_an_error_is_a_sentence_and_a_code() -> None:
    def work(_run: Run) -> dict:
        raise InputError("The file is empty.", line=1)

    assert leave(Module(), work) == {
        "failed": True,
        "msg": "The file is empty.",
        "failure": {"code": "input_invalid", "message": "The file is empty.", "details": {"line": 1}},
    }


def test_what_was_done_goes_with_a_failure_of_a_part() -> None:
    failure = {"code": "unreachable", "message": "No answer.", "details": {}}
    told = leave(Module(), lambda run: {"done": 3, "failure": failure})
    assert told == {"failed": True, "msg": "No answer.", "done": 3, "failure": failure}


def test_a_fault_of_ours_names_its_place_and_shows_nothing_else() -> None:
    def work(_run: Run) -> dict:
        return {}["s3cret"]

    told = leave(Module(), work)
    assert told["failure"]["code"] == "internal_error"
    assert "KeyError in test_module.py, line" in told["msg"]
    assert "s3cret" not in str(told)
