# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The error log of a source on a real disk."""

from __future__ import annotations

import multiprocessing
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import errorlog


@pytest.fixture
def umask() -> t.Iterator[t.Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes_are_right_whatever_the_umask(tmp_path: Path, umask: t.Callable, mask: int) -> None:
    umask(mask)
    home = tmp_path / "log"
    assert errorlog.write(str(home), "cyberalarm", ["one", "two"]) is None
    log = home / "cyberalarm.error.log"
    assert log.read_text() == "one\ntwo\n"
    assert mode(log) == 0o640
    assert mode(home) == 0o750 & ~mask


def test_the_mode_is_right_before_the_first_byte(
    tmp_path: Path, umask: t.Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    umask(0o077)
    seen = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (seen.append(os.fstat(fd).st_mode & 0o777), real(fd, data))[1])
    errorlog.write(str(tmp_path), "cyberalarm", ["one"])
    assert seen == [0o640]


def test_an_entry_is_one_line_whatever_a_vendor_wrote(tmp_path: Path) -> None:
    errorlog.write(str(tmp_path), "x", ["bad\r\n2026 forged: entry\x1b[31m\u2028red\u202e \ud800end", "é" * 9000])
    first, second = (tmp_path / "x.error.log").read_text().splitlines()
    assert first == "bad 2026 forged: entry [31m red end"
    assert second == "é" * 4000


def test_nothing_to_say_makes_no_file(tmp_path: Path) -> None:
    assert errorlog.write(str(tmp_path / "log"), "x", []) is None
    assert not (tmp_path / "log").exists()


def test_it_rotates_and_keeps_five(tmp_path: Path) -> None:
    for number in range(20):
        assert errorlog.write(str(tmp_path), "x", [f"entry {number:02} " + "-" * 80], max_size=200) is None
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["x.error.log"] + [f"x.error.log.{number}" for number in range(1, 6)]
    assert all(path.stat().st_size <= 200 and mode(path) == 0o640 for path in tmp_path.iterdir())
    kept = "".join((tmp_path / name).read_text() for name in [*reversed(names[1:]), names[0]])
    assert [line.split()[1] for line in kept.splitlines()] == [f"{number:02}" for number in range(8, 20)]


def test_an_entry_that_alone_is_too_long_is_written(tmp_path: Path) -> None:
    errorlog.write(str(tmp_path), "x", ["a" * 300], max_size=100)
    errorlog.write(str(tmp_path), "x", ["b" * 300], max_size=100)
    assert (tmp_path / "x.error.log").read_text() == "b" * 300 + "\n"


def _writer(folder: str, name: str) -> None:
    for number in range(60):
        errorlog.write(folder, "x", [f"{name} {number} " + "." * 50], max_size=3000)


def test_several_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_writer, args=(str(tmp_path), name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert sorted(line.rstrip(".") for line in lines) == sorted(f"{name} {n} " for name in "abc" for n in range(60))


def test_a_log_that_another_process_is_rotating_is_appended_to(tmp_path: Path) -> None:
    import fcntl

    errorlog.write(str(tmp_path), "x", ["a" * 90])
    with open(tmp_path / "x.error.log") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert errorlog.write(str(tmp_path), "x", ["b" * 90], max_size=100) is None
    assert len((tmp_path / "x.error.log").read_text().splitlines()) == 2


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reason = errorlog.write(str(tmp_path / "file" / "log"), "x", ["one"])
    assert reason and str(tmp_path / "file" / "log") in reason
    (tmp_path / "x.error.log").mkdir()
    reason = errorlog.write(str(tmp_path), "x", ["one"])
    assert reason and "Is a directory" in reason


def test_neither_a_link_nor_a_path_is_followed(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "x.error.log").symlink_to(tmp_path / "elsewhere")
    assert errorlog.write(str(tmp_path / "log"), "x", ["one"])
    assert errorlog.write(str(tmp_path / "log"), "../y", ["one"]) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]
