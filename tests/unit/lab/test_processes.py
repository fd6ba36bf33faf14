# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import hashlib
import os
import socket
import sys
import typing as t
from pathlib import Path

import pytest

from lab import LabError, artefacts
from lab.certificates import certificates
from lab.processes import Process, free_port, port_is_free, spawn

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_process_is_known_again_and_ended(tmp_path: Path) -> None:
    process = spawn(SLEEP, tmp_path / "log", tmp_path, dict(os.environ))
    process.save(tmp_path / "state")
    assert Process.load(tmp_path / "state") == process
    process.stop()
    assert Process.load(tmp_path / "state") is None
    process.stop()  # ending what has ended is no error


def test_a_number_that_now_belongs_to_another_process_is_left_alone(tmp_path: Path) -> None:
    process = spawn(SLEEP, tmp_path / "log", tmp_path, dict(os.environ))
    stranger = dataclasses.replace(process, began="another boot:1")
    stranger.save(tmp_path / "state")
    assert Process.load(tmp_path / "state") is None
    stranger.stop()
    assert process.running
    assert process.began != Process.of(os.getpid()).began
    process.stop()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}'])
def test_a_damaged_state_file_is_no_process(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state").write_bytes(content)
    assert Process.load(tmp_path / "state") is None


def test_a_taken_port_is_not_used_again() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert not port_is_free(port)
        assert free_port(port) != port
    assert free_port(port) == port
    assert free_port(port, taken=[port]) != port


def test_certificates_are_made_once_and_keys_are_private(tmp_path: Path) -> None:
    first = certificates(tmp_path)
    before = first.key.read_bytes()
    assert certificates(tmp_path) == first
    assert first.key.read_bytes() == before
    assert first.key.stat().st_mode & 0o777 == 0o600
    first.server_context()


ARTEFACT = artefacts.Artefact("example.group", "thing", "1", "jar", hashlib.sha256(b"right").hexdigest())


def fake_maven(content: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """jgo's three steps, giving the next of ``content`` at each download."""

    class Maven:
        def __init__(self, repo_cache: Path, timeout: float) -> None:
            self.folder = repo_cache

        def project(self, *_names: str) -> t.Any:
            return self

        def at_version(self, _version: str) -> t.Any:
            return self

        def artifact(self, **_kind: str) -> t.Any:
            return self

        def resolve(self) -> Path:
            path = self.folder / "thing.jar"
            path.write_bytes(content.pop(0))
            return path

    monkeypatch.setattr(artefacts, "MavenContext", Maven)


def test_only_what_has_the_right_checksum_enters_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOC_CACHE", str(tmp_path))
    fake_maven([b"wrong", b"right"], monkeypatch)
    path = artefacts.fetch(ARTEFACT)
    assert path.read_bytes() == b"right"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert artefacts.fetch(ARTEFACT) == path, "it was fetched again"


def test_a_damaged_cache_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOC_CACHE", str(tmp_path))
    (tmp_path / ARTEFACT.file).write_bytes(b"rig")
    fake_maven([b"right"], monkeypatch)
    assert artefacts.fetch(ARTEFACT).read_bytes() == b"right"


def test_what_cannot_be_fetched_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOC_CACHE", str(tmp_path))
    fake_maven([b"no", b"no", b"no"], monkeypatch)
    with pytest.raises(LabError, match="another checksum than the pinned one"):
        artefacts.fetch(ARTEFACT)
    assert list(tmp_path.iterdir()) == []
