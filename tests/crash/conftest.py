# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest


def pytest_terminal_summary(terminalreporter: t.Any, config: pytest.Config) -> None:
    from tests.crash.test_crash import TALLY

    if not TALLY["schedules"]:
        return  # they ran in other processes, which count for themselves
    figures = " ".join(f"{name}={number}" for name, number in TALLY.items())
    terminalreporter.write_line(f"seed={config.getoption('--crash-seed')} {figures}")
