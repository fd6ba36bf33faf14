# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts over all crash tests, told as the last line."""

from __future__ import annotations

import typing as t
from collections import Counter

import pytest

FIGURES = ("schedules", "kills", "lost", "duplicated")
COUNTS = pytest.StashKey[Counter]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = Counter()


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Counter:
    """What the tests add their figures to."""
    return request.config.stash[COUNTS]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes, which the first one counts together
        session.config.workeroutput["crash"] = dict(session.config.stash[COUNTS])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: t.Any) -> None:
    node.config.stash[COUNTS].update(getattr(node, "workeroutput", {}).get("crash", {}))


def pytest_unconfigure(config: pytest.Config) -> None:
    counts = config.stash[COUNTS]
    if counts["schedules"] and not hasattr(config, "workeroutput"):
        print(" ".join(f"{name}={counts[name]}" for name in FIGURES), flush=True)
