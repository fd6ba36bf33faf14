# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real processes, ended by SIGKILL at the worst moments, and then the counting: nothing lost, nothing twice."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import typing as t
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import run
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles import cyberalarm
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time
from ansible_collections.netcure.soc.plugins.module_utils._escalate.run import argument_spec

from lab.companies import COMPANIES
from lab.world import World
from tests.conftest import ROOT, Search, true_ids
from tests.crash.conftest import FIGURES

COLLECT_POINTS = (
    "before_append",
    "before_fsync",
    "after_fsync",
    "before_commit",
    "after_commit",
    "before_bulk",
    "bulk_ok_reply_lost",
    "before_acknowledge",
    "before_seal",
    "after_compress",
    "before_manifest",
    "after_manifest",
    "before_remove",
)
FAULTS = ("429", "500", "cut", "short", "repeat", "shuffle", "swap")
FEW = 3
TALLY = dict.fromkeys(FIGURES, 0)


def child(work: str, params: dict, point: str = "", nth: int = 1, profile: str = "cyberalarm") -> dict | None:
    """What a run in a process of its own returned; None when it was killed at ``point``, the ``nth`` time it got there."""
    asked = {"work": work, "profile": profile, "params": params, "point": point, "nth": nth}
    command = [sys.executable, "-m", "tests.crash.child"]
    done = subprocess.run(command, input=json.dumps(asked), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == -9:
        TALLY["kills"] += 1
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(autouse=True, scope="module")
def counted(tally: Counter) -> t.Iterator[None]:
    yield
    tally.update(TALLY)


class Collector:
    """Collecting runs against the vendors of a test, with pages so small that there are many of them."""

    def __init__(self, search: Search, vendors: t.Any, folder: Path) -> None:
        self.vendors, self.search = vendors, search
        options = run.argument_spec(cyberalarm.PROFILE).options
        self.params = {
            **{name: option.get("default") for name, option in options.items()},
            "base_url": vendors.url("cyberalarm"),
            "token_file": str(vendors.folder / "secrets/cyberalarm-token"),
            "ca_path": str(vendors.tls.ca),
            "sets": ["logs", "probes"],
            "profile": {"retry": {"backoff": 0.01, "longest": 0.02}, "sets": {"logs": {"body": {"size": 15}}}},
            "state_dir": str(folder / "state"),
            "log_dir": str(folder / "log"),
            "archive_dir": str(folder / "archive"),
            **search.full_options("collector"),
        }

    def run(self, point: str = "", nth: int = 1) -> dict | None:
        return child("collect", {**self.params, "now": format_time(self.vendors.world.now)}, point, nth)

    def finish(self) -> None:
        """Run until one run completes, and count."""
        self.vendors.faults.clear()
        for _attempt in range(5):
            result = self.run()
            if result and "failure" not in result:
                break
        else:
            pytest.fail(f"no run completed: {result}")
        true, seen = true_ids(self.vendors, "cyberalarm"), self.search.ids("soc-cyberalarm.*")
        TALLY["schedules"] += 1
        TALLY["lost"] += sum((true - seen).values())
        TALLY["duplicated"] += sum((seen - true).values())
        assert seen == true


@pytest.fixture
def collector(search: Search, vendors: t.Any, tmp_path: Path) -> Collector:
    return Collector(search, vendors, tmp_path)


@pytest.mark.parametrize("point", COLLECT_POINTS)
def test_a_collecting_run_that_is_killed_loses_and_doubles_nothing(collector: Collector, point: str) -> None:
    assert collector.run(point, nth=2) is None, f"nothing happens at {point} twice"
    collector.vendors.world.advance(600)
    collector.finish()


def test_random_schedules(search: Search, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Faults, incidents, late records, clock steps and kills in random order; the seed tells which.

    A few, to see that a real Elasticsearch is no other than the one in memory (test_machine.py), where the many are.
    """
    from lab.simulators import Simulators

    seed, number = request.config.getoption("--crash-seed"), request.config.getoption("--crash-schedules")
    for schedule in range(min(number, FEW)):
        rng = random.Random(f"{seed}/{schedule}")
        now = datetime(2026, 11, 9, rng.randrange(24), rng.randrange(60), tzinfo=UTC)
        world = World(
            seed=rng.randrange(10**6),
            per_day=rng.randint(3, 15),
            start=now - timedelta(days=rng.randint(0, 2)),
            now=now,
        )
        folder = tmp_path / str(schedule)
        with Simulators(folder / "vendors", world) as vendors:
            collector, story = Collector(search, vendors, folder), []
            if rng.random() < 0.5:
                world.delay_records(0.2, rng.randint(60, 1800))
            for _cycle in range(rng.randint(1, 3)):
                for _fault in range(rng.randint(0, 2)):
                    kind = rng.choice(FAULTS)
                    story.append(kind)
                    vendors.faults.add(kind, source="cyberalarm", set="logs", after=rng.randint(0, 4), retry_after=0)
                point, nth = rng.choice((*COLLECT_POINTS, "")), rng.randint(1, 6)
                story.append(f"{point or 'no kill'} {nth}")
                collector.run(point, nth)
                for _incident in range(rng.randint(0, 2)):
                    company = rng.choice([company for company in COMPANIES if company.subscribed])
                    world.raise_incident(company.slug, rng.randint(1, 3), rng.randint(1, 40))
                world.advance(rng.choice((1, 60, 300, 1500)))
            try:
                world.advance(1800)  # what is late is there now; it is later than no look-back
                collector.finish()
            except AssertionError as exc:
                raise AssertionError(f"seed {seed}, schedule {schedule}: {story}") from exc
        search.clear()


@pytest.mark.parametrize("point", ["before_seal", "mid_trim"])
def test_a_pruning_run_that_is_killed_deletes_nothing_that_is_not_archived(
    search: Search, collector: Collector, tmp_path: Path, point: str
) -> None:
    collector.finish()
    before = search.ids("soc-cyberalarm.alarm-*")
    params = {
        "rules": [{"pattern": "soc-cyberalarm.alarm-*", "keep": 5}],
        "archive_dir": str(tmp_path / "archive"),
        "state_dir": str(tmp_path / "state"),
        "max_deletions": 10_000,
        "now": None,
        **search.full_options("retention"),
    }
    assert child("prune", params, point, nth=2) is None
    result = child("prune", params)
    assert result and result["archived"] == result["deleted"] > 0
    archived = {}
    for path in (tmp_path / "archive").rglob("*.ndjson.gz"):
        lines = gzip.decompress(path.read_bytes()).splitlines()
        for action, source in zip(lines[::2], lines[1::2]):
            archived[json.loads(action)["index"]["_index"], json.loads(source)["event"]["id"]] = True
    left = search.ids("soc-cyberalarm.alarm-*")
    assert all(key in archived for key in before - left)
    assert {index: sum(1 for key in left if key[0] == index) for index, _id in left} == {
        index: min(5, sum(1 for key in before if key[0] == index)) for index, _id in before
    }


def test_an_escalation_that_is_killed_calls_once(
    search: Search, collector: Collector, mail: t.Any, tmp_path: Path
) -> None:
    """The point of doubt: the mail server took the mail, and nobody noted it. The other points are in test_escalate_kill."""
    world = collector.vendors.world
    world.review_open(1)
    world.raise_incident("muller-zonen-bv", 2, 30)
    collector.finish()
    roster = tmp_path / "roster.yml"
    roster.write_text("contacts:\n  - name: An\n    list: oncall\n")
    params = {
        **{name: option.get("default") for name, option in argument_spec().options.items()},
        **search.full_options("escalator"),
        "mail_domain": "vocalnotify.example",
        "mail_from": "soc@soc.example",
        "smtp_host": "localhost",
        "smtp_port": mail.smtp_port,
        "smtp_ca_path": str(mail.tls.ca),
        "smtp_username": mail.username,
        "smtp_password": mail.password.value,
        "roster": str(roster),
        "state_dir": str(tmp_path / "state"),
        "now": format_time(world.now),
    }
    assert child("escalate", params, "after_mail_before_log") is None
    for _again in range(2):
        result = child("escalate", params)
        assert result and not result.get("failure"), result
    assert len(mail.mailbox().calls()) == 1
