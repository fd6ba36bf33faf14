# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scenario may not print, or a check after the second run not find."""

from __future__ import annotations

import pytest

from tests.molecule_log import faults


def log(*steps: tuple[str, int], extra: str = "") -> str:
    recap = "PLAY RECAP ****\nsoc.example.net            : ok=321  changed={}   unreachable=0    failed=0\n"
    printed = [f"INFO     [single > {step}] Executing\n{recap.format(changed)}" for step, changed in steps]
    return "INFO     [single > discovery] scenario test matrix: check\n" + extra + "".join(printed)


WELL = (("check", 66), ("converge", 66), ("idempotence", 0), ("check", 0), ("side_effect", 3), ("verify", 0))


def test_all_is_well() -> None:
    assert faults(log(*WELL)) == []


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        (
            log(*WELL[:3], ("check", 2), *WELL[4:]),
            ["The check after the second run would change 2 on soc.example.net."],
        ),
        (log(*WELL, extra="ok: x => {'password': 'secret-of-user'}\n"), ["It printed secret-of-user."]),
        (
            log(*WELL, extra="[DEPRECATION WARNING]: gone in 2.23\n" * 2),
            ["It printed [DEPRECATION WARNING]: gone in 2.23"],
        ),
    ],
    ids=["changes", "secret", "deprecation"],
)
def test_what_is_wrong_is_told(printed: str, says: list[str]) -> None:
    assert faults(printed) == says
