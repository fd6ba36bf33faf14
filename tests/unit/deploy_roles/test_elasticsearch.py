# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version role elasticsearch finds on a host."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

LOOK = runpy.run_path(str(Path(__file__).resolve().parents[3] / "roles/elasticsearch/files/look.py"))


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("installed 8.19.8", "8.19.8"),
        ("installed 8.19.8-1", "8.19.8"),
        ("config-files 8.19.8", ""),
        ("", ""),
    ],
    ids=["installed", "with a revision", "removed, settings are left", "unknown"],
)
def test_the_version_of_a_package(monkeypatch: pytest.MonkeyPatch, told: str, version: str) -> None:
    monkeypatch.setitem(LOOK["version_of"].__globals__, "said", lambda *_command: told)
    assert LOOK["version_of"]({"packaged": True}) == version


@pytest.mark.parametrize("folder", ["8.17.0", "8.17.0-container"])
def test_the_version_of_an_archive_or_an_image(tmp_path: Path, folder: str) -> None:
    home = tmp_path / "current"
    wanted = {"packaged": False, "home": str(home)}
    assert LOOK["version_of"](wanted) == ""
    home.symlink_to(f"/opt/elasticsearch/{folder}")
    assert LOOK["version_of"](wanted) == "8.17.0"
