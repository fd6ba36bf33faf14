# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line a step on the screen, and all figures in the file that LAB_STEPS names."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lab_steps
type: stdout
short_description: One line for each step of the lab
description:
  - Plays that carry the variable C(lab_step) make up that step.
"""

OURS = "netcure.soc."


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "lab_steps"

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[dict] = []
        self._began = 0.0
        self._number = 0

    def v2_playbook_on_play_start(self, play) -> None:
        name = play.get_vars().get("lab_step", play.get_name())
        if self._steps and self._steps[-1]["name"] == name:
            return
        self._finish()
        self._began = time.monotonic()
        self._steps.append({"name": name, "results": [], "truth": None, "changed": 0, "tasks": 0})

    def v2_runner_on_ok(self, result) -> None:
        step, outcome = self._steps[-1], result._result
        step["tasks"] += 1
        step["changed"] += bool(outcome.get("changed"))
        action = result._task.resolved_action or result._task.action
        if action.startswith(OURS):
            for one in outcome.get("results", [outcome]):
                step["results"].append(
                    {"module": action.removeprefix(OURS), **json.loads(json.dumps(one, default=str))}
                )
        elif result._task.get_name().endswith("Ask what is true now"):
            step["truth"] = json.loads(json.dumps(outcome["json"]))

    def v2_runner_on_failed(self, result, ignore_errors: bool = False) -> None:
        outcome = result._result
        message = next((str(one["msg"]) for one in outcome.get("results", []) if one.get("failed")), outcome.get("msg"))
        sys.stdout.write(f"\n    {result._task.get_name()}: {message or outcome}\n")

    def v2_runner_on_unreachable(self, result) -> None:
        sys.stdout.write(f"\n    {result._task.get_name()}: {result._result.get('msg')}\n")

    def v2_playbook_on_no_hosts_matched(self) -> None:
        sys.stdout.write("    The inventory has no host for this step.\n")

    def v2_playbook_on_stats(self, stats) -> None:
        self._finish()
        Path(os.environ["LAB_STEPS"]).write_text(json.dumps(self._steps), encoding="utf-8")

    def _finish(self) -> None:
        if not self._steps:
            return
        step = self._steps[-1]
        step["seconds"] = round(time.monotonic() - self._began, 1)
        sys.stdout.write(f"  {step['name']:<34} {figures(step):<52} {step['seconds']:>5.1f} s\n")
        sys.stdout.flush()


def figures(step: dict) -> str:
    """What a step did, in the fewest words."""
    results = step["results"]
    told = []
    fetched = [tally for result in results if result["module"].endswith("_fetch") for tally in result["sets"].values()]
    if fetched:
        for name in ("new", "changed", "known", "vanished", "dead_letters"):
            total = sum(tally[name] for tally in fetched)
            if total or name == "new":
                told.append(f"{total:,} {name.replace('_', ' ')}")
    verdicts = [finding["verdict"] for result in results for finding in result.get("findings", ())]
    if verdicts:
        told = [f"{verdicts.count(verdict)} {verdict}" for verdict in ("fail", "warn", "ok") if verdict in verdicts]
    for result in results:
        if result["module"] == "vocalnotify_escalate":
            told = [f"{len(result['calls'])} called", f"{len(result['waiting'])} waiting"]
        elif result["module"] == "es_prune":
            told = [f"{result['archived']:,} archived", f"{result['deleted']:,} deleted"]
        elif result["module"] == "render_report":
            told = [f"{result['counts']['findings']} findings", f"{result['pages']} pages"]
    if not told and step["truth"]:
        told = [f"it is {step['truth']['now'][:16].replace('T', ' ')}"]
    return ", ".join(told or [f"{step['tasks']} tasks, {step['changed']} changed"])
