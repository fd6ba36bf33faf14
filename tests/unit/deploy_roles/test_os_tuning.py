# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role os_tuning decides, and that the kernel gets all values or none."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles/os_tuning/files"
LOOK = runpy.run_path(str(FILES / "look.py"))
WRITE = runpy.run_path(str(FILES / "write.py"))
FLOORS = ["vm.max_map_count"]


def plan(wanted: dict, remembered: dict, **now: str) -> dict:
    names = {"swappiness": "vm.swappiness", "maps": "vm.max_map_count"}
    found = {names[name]: {"path": name, "value": value, "settable": True} for name, value in now.items()}
    return LOOK["plan_of"]("sysctl", wanted, remembered, found, FLOORS)


def test_what_there_was_is_remembered_once() -> None:
    first = plan({"vm.swappiness": 1}, {}, swappiness="60")
    assert first["write"] == {"swappiness": "1"}
    assert first["during"] == first["after"] == {"sysctl": {"vm.swappiness": {"was": "60", "set": "1"}}}
    again = plan({"vm.swappiness": 2}, first["after"]["sysctl"], swappiness="1")
    assert again["write"] == {"swappiness": "2"}
    assert again["after"]["sysctl"]["vm.swappiness"] == {"was": "60", "set": "2"}


def test_what_is_not_wanted_any_more_gets_its_old_value_unless_somebody_changed_it() -> None:
    remembered = {"vm.swappiness": {"was": "60", "set": "1"}}
    assert plan({}, remembered, swappiness="1")["write"] == {"swappiness": "60"}
    assert plan({}, remembered, swappiness="10")["write"] == {}
    assert plan({}, remembered, swappiness="1")["after"] == {"sysctl": {}}


def test_more_is_never_made_less() -> None:
    assert plan({"vm.max_map_count": 1048576}, {}, maps="65530")["write"] == {"maps": "1048576"}
    higher = plan({"vm.max_map_count": 1048576}, {}, maps="2000000")
    assert higher["write"] == {} and higher["aims"] == {"vm.max_map_count": "2000000"}


def test_what_belongs_to_the_machine_is_neither_written_nor_remembered() -> None:
    found = {"vm.swappiness": {"path": "x", "value": "60", "settable": False}}
    there = LOOK["plan_of"]("sysctl", {"vm.swappiness": 1}, {}, found, FLOORS)
    assert there["write"] == {} and there["after"] == {"sysctl": {}}


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("vm.swappiness", "/proc/sys/vm/swappiness"),
        ("net/ipv4/conf/eth0.1/forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_both_ways_to_write_a_name(key: str, path: str) -> None:
    assert LOOK["path_of"](key) == path


def test_the_last_file_has_the_last_word() -> None:
    config = (
        "# /usr/lib/sysctl.d/50-a.conf\nvm.swappiness = 5\n\n# /etc/sysctl.d/99-b.conf\n# a note\n-vm/swappiness=10\n"
    )
    assert LOOK["at_boot"](config) == {"/proc/sys/vm/swappiness": {"file": "/etc/sysctl.d/99-b.conf", "value": "10"}}


def test_the_kernel_gets_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("always [madvise] never\n")
    second.mkdir()  # Takes no value.
    monkeypatch.setattr(sys, "argv", ["write.py", json.dumps({str(first): "never", str(second): "1"})])
    with pytest.raises(SystemExit, match=r"All values were put back\.$"):
        WRITE["main"]()
    assert first.read_text() == "madvise\n"
