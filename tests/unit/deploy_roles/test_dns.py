# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How role dns judges an answer, tells who resolves names, and puts files back."""

from __future__ import annotations

import errno
import runpy
import struct
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles/dns/files"
ASK, LOOK, PUT = (runpy.run_path(str(FILES / f"{name}.py")) for name in ("ask", "look", "put"))


def answer(code: int, *answers: int) -> object:
    """A server that answers one question after another, with as many records."""
    left = iter(answers)
    return lambda asked: asked[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, next(left, 0), 0, 0)


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (answer(0, 1), ""),
        (answer(0, 0, 1), ""),
        (answer(0, 0, 0), "knows no address of it"),
        (answer(3), "knows no such name"),
        (answer(5), "refuses"),
        (answer(9), "answers with error 9"),
        (lambda asked: b"no", "says something that is no answer"),
    ],
    ids=["IPv4", "IPv6", "neither", "no such name", "refused", "other", "rubbish"],
)
def test_what_an_answer_is_worth(server: object, told: str) -> None:
    assert ASK["reason"]("www.soc.example", server) == told


def test_a_question_as_it_goes_over_the_wire() -> None:
    asked = ASK["question"]("www.Soc.example.", 1)
    assert asked[2:] == b"\x01\0\0\x01\0\0\0\0\0\0\x03www\x03Soc\x07example\0\0\x01\0\x01"


def test_a_name_is_no_server() -> None:
    assert ASK["tried"]("dns.example", "www.soc.example", False) == "is no IP address"


@pytest.mark.parametrize(
    ("given", "compared"),
    [
        ("2001:DB8:0::53#dns.example", "2001:db8::53#dns.example"),
        ("192.0.2.53", "192.0.2.53"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("none", "none"),
    ],
)
def test_a_server_is_compared_in_the_one_form_of_its_address(given: str, compared: str) -> None:
    assert LOOK["written"](given) == compared


@pytest.mark.parametrize(
    ("link", "resolved", "lookup", "resolvconf", "method"),
    [
        ("../run/systemd/resolve/stub-resolv.conf", True, "hosts: files dns", "", "resolved"),
        ("../run/systemd/resolve/stub-resolv.conf", False, "hosts: files dns", "", "file"),
        ("", True, "hosts: files resolve [!UNAVAIL=return] dns", "", "resolved"),
        ("", True, "hosts: files dns", "", "file"),
        ("/run/resolvconf/resolv.conf", False, "hosts: files dns", "debian", "resolvconf"),
        ("/run/resolvconf/resolv.conf", False, "hosts: files dns", "", "file"),
    ],
)
def test_who_resolves_names(link: str, resolved: bool, lookup: str, resolvconf: str, method: str) -> None:
    assert LOOK["method_of"](link, resolved, lookup, resolvconf) == method


def test_a_file_comes_back_where_a_link_was_put_and_a_link_where_a_file_was(tmp_path: Path) -> None:
    file, link, gone = tmp_path / "file", tmp_path / "link", tmp_path / "gone"
    file.write_text("old\n")
    link.symlink_to("nowhere")
    before = {path: LOOK["entry_of"](str(path)) for path in (file, link, gone)}
    file.unlink()
    file.symlink_to("elsewhere")
    link.unlink()
    link.write_text("new\n")
    gone.write_text("new\n")
    assert not [path for path, entry in before.items() if PUT["is_there"](path, entry)]
    for path, entry in before.items():
        PUT["put"](path, entry)
    assert [path for path, entry in before.items() if PUT["is_there"](path, entry)] == [file, link, gone]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_what_is_mounted_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("a longer new text\n")

    def busy(_self: Path, _target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    PUT["put"](file, {"content": "old\n", "mode": "0644"})
    assert file.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["resolv.conf"]
