# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How roles tell which certificates belong together, what is in place, what is missing, and how much room a folder to come has."""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
import yaml

from tests.conftest import run_playbook

FILES = Path(__file__).resolve().parents[3] / "roles/_common/files"
LOOK, PLACE, TLS = (runpy.run_path(str(FILES / f"{name}.py")) for name in ("look", "place", "tls"))


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two authorities, and a certificate of each with its key."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("one", "two"):
        authority = trustme.CA()
        leaf = authority.issue_cert("soc.example.net")
        authority.cert_pem.write_to_path(folder / f"{name}-ca.crt")
        leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
        leaf.private_key_pem.write_to_path(folder / f"{name}.key")
    return folder


@pytest.mark.parametrize(
    ("certificate", "key", "authority", "told"),
    [
        ("one.crt", "one.key", "one-ca.crt", ""),
        ("one.crt", "one.key", "", ""),
        ("one.crt", "two.key", "one-ca.crt", "is not that of the certificate"),
        ("one.crt", "none.key", "one-ca.crt", "is not that of the certificate"),
        ("none.crt", "none.key", "one-ca.crt", "is not that of the certificate"),
        ("one.crt", "one.key", "two-ca.crt", "was not signed by an authority in"),
    ],
    ids=["right", "no authority", "other key", "no key", "nothing", "other authority"],
)
def test_what_belongs_together(issued: Path, certificate: str, key: str, authority: str, told: str) -> None:
    reason = TLS["misfit"](str(issued / certificate), str(issued / key), authority and str(issued / authority))
    assert told in reason if told else reason == ""


def test_what_is_in_use_is_not_refused(
    issued: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Or an authority that has ended could not be replaced: its certificates have ended with it."""
    files = [{"src": str(issued / f"one{end}"), "dest": f"http{end}"} for end in (".crt", ".key")]
    wanted = {
        "files": [*files, {"src": str(issued / "two-ca.crt"), "dest": "ca.crt"}],
        "directory": "/nowhere",
        "group": "soc",
    }
    monkeypatch.setattr(sys, "argv", ["tls.py", json.dumps(wanted)])
    globals_of = TLS["main"].__globals__
    TLS["main"]()
    assert json.loads(capsys.readouterr().out)["wrong"]
    monkeypatch.setitem(globals_of, "in_place", lambda _source, target, _group: target.name != "ca.crt")
    TLS["main"]()
    told = json.loads(capsys.readouterr().out)
    assert told["wrong"] == [] and told["due"] == ["ca.crt"]


@pytest.mark.parametrize(
    ("change", "right"),
    [
        (lambda path: None, True),
        (lambda path: path.write_text("other"), False),
        (lambda path: path.chmod(0o644), False),
        (lambda path: path.unlink(), False),
    ],
    ids=["as it should be", "other content", "open to all", "missing"],
)
def test_what_is_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: object, right: bool) -> None:
    inside = TLS["in_place"].__globals__
    monkeypatch.setitem(inside, "pwd", SimpleNamespace(getpwuid=lambda _: SimpleNamespace(pw_name="root")))
    monkeypatch.setitem(inside, "grp", SimpleNamespace(getgrgid=lambda _: SimpleNamespace(gr_name="soc")))
    source, target = tmp_path / "source", tmp_path / "http.key"
    source.write_text("key")
    shutil.copy(source, target)
    target.chmod(0o640)
    change(target)
    assert TLS["in_place"](str(source), target, "soc") is right
    assert TLS["in_place"](str(source), target, "others") is False


def test_a_folder_that_is_not_there_has_the_room_of_the_disk_it_will_be_on(tmp_path: Path) -> None:
    room = LOOK["free_mb"](str(tmp_path / "not" / "there"))
    assert abs(room - shutil.disk_usage(tmp_path).free // 2**20) < 100


@pytest.mark.parametrize(
    ("kind", "change", "right"),
    [
        ("file", lambda path: None, True),
        ("file", lambda path: path.write_text("other"), False),
        ("file", lambda path: path.chmod(0o600), False),
        ("file", lambda path: path.unlink(), False),
        ("touched", lambda path: path.write_text("other"), True),
        ("touched", lambda path: path.unlink(), False),
        ("touched", lambda path: path.chmod(0o600), False),
        ("folder", lambda path: None, False),
        ("nothing", lambda path: None, False),
        ("nothing", lambda path: path.unlink(), True),
        ("nothing", lambda path: (path.unlink(), path.symlink_to("/nowhere")), False),
    ],
    ids=[
        "file",
        "file with other content",
        "file with another mode",
        "no file",
        "touched, with content",
        "touched, not there",
        "touched, with another mode",
        "a file, and no folder",
        "not wanted",
        "not wanted, not there",
        "not wanted, a link to nowhere",
    ],
)
def test_what_is_as_it_should_be(tmp_path: Path, kind: str, change: object, right: bool) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    path.chmod(0o640)
    wanted = {
        "path": str(path),
        "kind": kind,
        "owner": path.owner(),
        "group": path.group(),
        "mode": "0640",
        "sum": hashlib.sha256(b"content").hexdigest(),
    }
    change(path)
    assert PLACE["right"](wanted) is right
    if kind != "nothing":
        assert PLACE["right"]({**wanted, "owner": "nobody"}) is False
        assert PLACE["right"]({**wanted, "group": "nogroup"}) is False


def test_a_folder_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o750)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk")
    wanted = {
        "path": str(link),
        "kind": "folder",
        "owner": link.owner(),
        "group": link.group(),
        "mode": "0750",
        "sum": "",
    }
    assert PLACE["right"](wanted) is True
    assert PLACE["right"]({**wanted, "mode": "0700"}) is False


def test_a_package_that_was_removed_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dpkg-query"
    program.write_text("#!/bin/sh\nprintf 'nginx installed\\nprocps config-files\\n'; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert LOOK["missing"](["nginx", "procps", "nothing"]) == ["procps", "nothing"]
    assert LOOK["missing"]([]) == []


def test_who_a_user_is_and_what_a_file_says(tmp_path: Path) -> None:
    assert LOOK["account_of"]("root") == ["root", "/root", "/bin/bash"]
    assert LOOK["account_of"]("nobody-has-this-name") == []
    (tmp_path / "marker").write_text("3.11\n")
    assert LOOK["text_of"](str(tmp_path / "marker")) == "3.11\n"
    assert LOOK["text_of"](str(tmp_path / "none")) == ""


@pytest.mark.parametrize(
    ("memory", "skew", "told"),
    [
        ("256", "10", ""),
        ("1024", "10", "and 1024 MB are needed"),
        ("256", "2", "by more than 2 seconds"),
        ("256", "0", ""),
    ],
)
def test_numbers_may_come_as_text(tmp_path: Path, memory: str, skew: str, told: str) -> None:
    """As ansible-core 2.18 gives what a template says, and every version what somebody gives with C(-e)."""
    tasks = yaml.safe_load((FILES.parent / "tasks/preflight.yml").read_text("utf-8"))
    wanted = {"Refuse a host with too little memory", "Refuse a clock that is wrong"}
    facts = {"ansible.builtin.set_fact": {"memtotal_mb": 512, "cacheable": True}}
    tasks = [facts, *(task for task in tasks if task["name"] in wanted)]
    assert len(tasks) == 3
    variables = {"_common_memory_mb": memory, "_common_clock_skew": skew, "_common_looked": {"skew": -3}}
    done = run_playbook(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]), variables, tmp_path
    )
    assert (done.returncode == 0) == (not told), done.stdout + done.stderr
    assert told in done.stdout + done.stderr
