# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By what names role certificates wants a certificate to be, and what it tells of a file."""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path

import pytest

LOOK = runpy.run_path(str(Path(__file__).resolve().parents[3] / "roles/certificates/files/look.py"))
HOST = ["SOC.example.net", "127.0.0.1", "::1", "fe80::1", ""]


@pytest.mark.parametrize(
    ("item", "names"),
    [
        ({"usage": ["serverAuth"]}, ["DNS:soc.example.net", "IP:127.0.0.1", "IP:::1"]),
        ({"usage": ["clientAuth"]}, []),
        (
            {"usage": ["clientAuth"], "dns_names": ["a.example"], "ip_addresses": ["2001:DB8::0:1"]},
            ["DNS:a.example", "IP:2001:db8::1"],
        ),
    ],
    ids=["server", "client", "client with names of its own"],
)
def test_names_as_they_stand_in_a_certificate(item: dict, names: list[str]) -> None:
    assert LOOK["names"](item, HOST) == names
    assert len(HOST) == 5


def test_what_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "http.key"
    assert LOOK["file_of"](path) is None
    path.write_text("key")
    path.chmod(0o640)
    assert LOOK["file_of"](path) == {
        "sum": hashlib.sha256(b"key").hexdigest(),
        "rights": ["0640", path.owner(), path.group()],
    }
