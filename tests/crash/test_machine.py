# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The crash proof: schedules drawn by Hypothesis, and the shortest ones that ever broke the collector, by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import journal

from tests.crash import mutants
from tests.crash.machine import (
    POINTS,
    SIZES,
    STARTS,
    Advance,
    Arrive,
    Broken,
    Collect,
    Purge,
    Rename,
    Review,
    Schedule,
    Tally,
    Toggle,
    World,
    play,
)

ROOT = Path(__file__).resolve().parents[2]
WINTER, CLOCKS_GO_BACK, CLOCKS_GO_FORWARD = STARTS
DAY = 86400


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests share the process."""
    for name, size in SIZES.items():
        monkeypatch.setattr(journal, name, size)


# What each of them once did is in its name. Calls 1 and 2 of a run ask for the companies.
ONCE_BROKEN = {
    "a page of nothing but clashing events ended the walk": Schedule(
        WINTER,
        ("operations",),
        page=1,
        history=(
            Arrive("operations", count=2),
            Arrive("operations", ago=1, shape="clash"),
            Arrive("operations", ago=1),
        ),
    ),
    "an event counted as met because another one has its id": Schedule(
        WINTER,
        ("operations",),
        page=1,
        history=(Arrive("operations", ago=60),),
        steps=(Collect(), Arrive("operations", shape="clash"), Arrive("operations", ago=120)),
    ),
    "a commit that failed only seemingly left a journal without its bytes": Schedule(
        WINTER,
        ("flows",),
        history=(Arrive("flows", count=8),),
        steps=tuple(Collect(disk=("unsure", nth)) for nth in range(1, 10)),
    ),
    "a company with a new name made clashes of its events": Schedule(
        WINTER, ("operations",), history=(Arrive("operations"),), steps=(Collect(), Rename("c1", "Other"))
    ),
    "of many open alarms only a page was asked for again": Schedule(
        WINTER,
        ("alarms",),
        page=2,
        history=(Arrive("alarms", count=5),),
        steps=(
            *(Collect(), Advance(DAY), Arrive("alarms"), Collect()),
            *(Review("alarms", number) for number in range(5)),
        ),
    ),
    "the cursor moved after a walk that ended at a repeated page": Schedule(
        WINTER,
        ("tickets",),
        page=2,
        history=(Arrive("tickets", count=6, apart=3600),),
        steps=(Collect(vendor=((4, "again"),)),),
    ),
    "the cursor moved after a walk under which the list moved on": Schedule(
        WINTER,
        ("operations",),
        page=1,
        history=(Arrive("operations", count=3, apart=7200),),
        steps=(Collect(meanwhile=((4, Arrive("operations")),)),),
    ),
    "records that were tried again hid a page from the walk": Schedule(
        WINTER,
        ("alarms",),
        page=2,
        history=(Arrive("alarms", count=4, shape="no_level"),),
        steps=(Collect(), Rename("c3", "Other"), Advance(60), Arrive("alarms", count=2)),
    ),
    "in the hour that comes twice new pages looked old": Schedule(
        CLOCKS_GO_BACK,
        ("operations", "tickets"),
        page=1,
        steps=(
            Advance(1500),
            *(Arrive(name, count=2) for name in ("operations", "tickets")),
            Collect(),
            Advance(600),
            *(Arrive(name, count=3) for name in ("operations", "tickets")),
            Collect(),
        ),
    ),
    "in the hour that comes twice new pages looked old, sorted by text": Schedule(
        CLOCKS_GO_BACK,
        ("tickets",),
        page=1,
        odd=True,
        steps=(Advance(1500), Arrive("tickets", count=2), Collect(), Advance(600), Arrive("tickets", count=3)),
    ),
    "a last page that was repeated marked probes as gone": Schedule(
        WINTER,
        ("probes",),
        page=2,
        history=(Arrive("probes", count=4),),
        steps=(Collect(), Collect(vendor=((4, "again"),))),
    ),
}


@pytest.mark.parametrize("schedule", ONCE_BROKEN.values(), ids=ONCE_BROKEN)
def test_what_once_broke_it(schedule: Schedule, tally: Counter) -> None:
    counted = Tally()
    try:
        play(schedule, counted)
    finally:
        tally.update(schedules=counted.schedules, kills=counted.kills)


@pytest.mark.parametrize("start", STARTS, ids=["winter", "clocks go back", "clocks go forward"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_point(point: str, start: int, tally: Counter) -> None:
    """Also where it is reached for the second and the third time, with and without a power cut; all kinds of sets."""
    sets = ("alarms", "flows", "tickets", "operations", "issues", "probes")
    kills = [Collect(kill=(point, nth), power=power) for nth in (1, 2, 3) for power in (0, nth)]
    steps: list = []
    for number, kill in enumerate(kills):
        steps += [*(Arrive(name, count=2, tenant="c2") for name in sets), Review("alarms", number), kill, Advance(1200)]
    counted = Tally()
    history = tuple(Arrive(name, count=6, apart=1800) for name in sets)
    play(Schedule(start, sets, page=3, history=history, steps=tuple(steps)), counted)
    assert counted.where[point] >= 3
    tally.update(schedules=counted.schedules, kills=counted.kills)


def test_random_schedules(request: pytest.FixtureRequest, tally: Counter) -> None:
    """In a process of its own, because the same seed shall give the same schedules."""
    seed, number = request.config.getoption("--crash-seed"), request.config.getoption("--crash-schedules")
    command = [sys.executable, "-m", "tests.crash.machine", "--seed", str(seed), "--schedules", str(number)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    figures = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", done.stdout.strip().rpartition("\n")[2])}
    tally.update(figures)
    assert done.returncode == 0, done.stdout + done.stderr
    assert figures["schedules"] == number


# The machine itself: it must see what is wrong.


def broken(schedule: Schedule, spoil: str, tmp_path: Path) -> str:
    """What the machine says when ``spoil`` is done to the index or the journal before the end."""
    world = World(schedule, tmp_path, Tally())
    for step in schedule.steps:
        world.happen(step)
    key = next(key for key in world.index.documents if key[0] != "soc-probe")
    if spoil == "lost":
        del world.index.documents[key]
    elif spoil == "twice":
        world.index.documents["soc-crash.elsewhere-acme-nv", key[1]] = world.index.documents[key]
    elif spoil == "changed":
        world.index.documents[key][1]["soc"]["reviewed"] = True
    elif spoil == "torn":
        with (world.state / "segments" / "00000001.ndjson").open("ab") as segment:
            segment.write(b"torn")
    with pytest.raises(Broken) as caught:
        world.check()
    return str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("lost", "missing"),
        ("twice", "twice"),
        ("changed", "has reviewed=True, the vendor False"),
        ("torn", "of which"),
    ],
)
def test_the_machine_sees_what_is_wrong(spoil: str, words: str, tmp_path: Path) -> None:
    history = (Arrive("issues"),)
    assert words in broken(Schedule(WINTER, ("issues",), history=history, steps=(Collect(),)), spoil, tmp_path)


def test_a_schedule_shows_itself_as_it_is_written() -> None:
    schedule = Schedule(WINTER, ("issues",), history=(Arrive("issues", ago=3),), steps=(Purge("issues"), Toggle(2)))
    assert eval(repr(schedule)) == schedule
    assert "page" not in repr(schedule)


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=[mutant.name for mutant in mutants.MUTANTS])
def test_every_mutation_fits_the_code(mutant: mutants.Mutant) -> None:
    """Whether the schedules notice them is what `make crash-mutants` says."""
    assert (ROOT / "plugins/module_utils" / mutant.file).read_text().count(mutant.old) == 1
