# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every line of a log file is taken exactly once, whatever logrotate and crashes do in between."""

from __future__ import annotations

import collections
import gzip
import itertools
import os
import random
import types
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import files
from ansible_collections.netcure.soc.plugins.module_utils._collect.files import FORGET, LONGEST_LINE, read_files
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import StateError

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Collector:
    """What the journal does: records by id, and positions that are committed with their page."""

    def __init__(self, folder: Path, pattern: str = "firebox.log") -> None:
        self.folder, self.pattern = folder, pattern
        self.positions: dict[str, str] = {}
        self.lines: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self.order: list[str] = []
        self.read = 0

    def run(self, pages: int | None = None, page_size: int = 2, now: datetime = NOW) -> list[str]:
        """One run, which dies before it commits page number ``pages``. Returns the lines that were new."""
        new = []
        for number, page in enumerate(
            read_files([str(self.folder / self.pattern)], dict(self.positions), page_size, now)
        ):
            if number == pages:
                break
            assert len(page.records) <= page_size
            self.read += len(page.records)
            for record in page.records:
                if "problem" in record:
                    assert self.problems.setdefault(record["id"], record["problem"]) == record["problem"]
                    continue
                if record["id"] not in self.lines:
                    new.append(record["line"])
                assert self.lines.setdefault(record["id"], record["line"]) == record["line"]
            for key, value in page.positions.items():
                if value == FORGET:
                    del self.positions[key]
                else:
                    self.positions[key] = value
        self.order += new
        return new


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "firebox.log"


@pytest.fixture
def collector(log: Path) -> Collector:
    return Collector(log.parent)


@pytest.fixture
def inodes(log: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What inodes files claim to have, by name."""
    claimed: dict[str, int] = {}
    fstat, listing = os.fstat, files._Reading._listing

    def claim(handle: int) -> t.Any:
        status, name = fstat(handle), Path(f"/proc/self/fd/{handle}").readlink().name
        return types.SimpleNamespace(
            st_ino=claimed.get(name, status.st_ino),
            **{field: getattr(status, field) for field in ("st_mode", "st_size", "st_mtime_ns")},
        )

    monkeypatch.setattr(files.os, "fstat", claim)
    monkeypatch.setattr(
        files._Reading,
        "_listing",
        lambda self, folder: {k: claimed.get(k, v) for k, v in listing(self, folder).items()},
    )
    return claimed


def add(path: Path, *lines: str, end: str = "\n") -> None:
    with path.open("a", encoding="utf-8") as handle:
        handle.write("".join(line + end for line in lines))


def packed(path: Path) -> Path:
    """Compress ``path`` as logrotate does."""
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return target


class TestAppending:
    def test_only_what_is_new_is_taken_and_equal_lines_are_two(self, collector: Collector, log: Path) -> None:
        add(log, "a", "a", "b")
        assert collector.run() == ["a", "a", "b"]
        assert collector.run() == []
        add(log, "b")
        assert collector.run() == ["b"] and collector.read == 4

    def test_a_line_counts_when_it_has_an_end(self, collector: Collector, log: Path) -> None:
        add(log, "fir", end="")
        assert collector.run() == []
        add(log, "st", "se")
        assert collector.run() == ["first", "se"]
        add(log, "half", end="")
        assert collector.run() == []
        add(log, " whole")
        assert collector.run() == ["half whole"]

    def test_after_a_crash_the_same_lines_have_the_same_ids(self, collector: Collector, log: Path) -> None:
        add(log, *"abcdefg")
        for pages in range(5):
            collector.positions.clear()
            collector.run(pages)
        assert sorted(collector.lines.values()) == [*"abcdefg"]

    def test_bytes_that_are_not_utf8_are_kept_apart(self, collector: Collector, log: Path) -> None:
        log.write_bytes(b"caf\xe9\ncaf\xe8\r\n\n \n\x00\n")
        assert collector.run() == ["caf\ufffd", "caf\ufffd", "\x00"]

    def test_a_line_that_is_too_long_is_told_and_the_next_is_read(self, collector: Collector, log: Path) -> None:
        add(log, "x" * LONGEST_LINE, "y" * (LONGEST_LINE + 1), "z" * (5 * LONGEST_LINE), "end")
        assert [line[:3] for line in collector.run()] == ["xxx", "end"]
        assert [problem[:26] for problem in collector.problems.values()] == [
            "the line has 65538 bytes; ",
            "the line has 327681 bytes;",
        ]
        assert collector.run() == []

    def test_a_writer_that_never_stops_does_not_keep_us(self, collector: Collector, log: Path) -> None:
        add(log, "1", "2", "3")
        taken = []
        for page in read_files([str(log)], {}, 1, NOW):
            taken += [record["line"] for record in page.records]
            add(log, "more")
        assert taken == ["1", "2", "3"]


class TestRotating:
    def test_the_rest_of_a_renamed_file_comes_before_the_new_one(self, collector: Collector, log: Path) -> None:
        add(log, "a", "b")
        collector.run()
        add(log, "c")
        log.rename(log.with_name("firebox.log.1"))
        add(log, "e")
        add(log.with_name("firebox.log.1"), "d")  # the writer has not been told yet
        os.utime(log, ns=(2**61, 2**61))
        assert collector.run() == ["c", "d", "e"]
        add(log.with_name("firebox.log.1"), "f")
        assert collector.run() == ["f"] and not collector.problems

    def test_files_that_were_rotated_before_the_first_run_are_read(self, collector: Collector, log: Path) -> None:
        for age, name in enumerate(("firebox.log.3", "firebox.log-20261118", "firebox-20261119.log", "firebox.log")):
            add(log.with_name(name), name)
            os.utime(log.with_name(name), (age, age))
        packed(log.with_name("firebox.log.3"))
        add(log.with_name("firebox-branch.log"), "of another firewall")
        add(log.with_name("firebox.log.bak"), "not a rotated file")
        assert sorted(collector.run()) == [
            "firebox-20261119.log",
            "firebox.log",
            "firebox.log-20261118",
            "firebox.log.3",
        ]

    def test_the_rest_of_a_file_that_was_compressed_is_read(self, collector: Collector, log: Path) -> None:
        add(log, "a", "b")
        collector.run()
        add(log, "c", "d", "e")
        log.rename(log.with_name("firebox.log.1"))
        add(log, "f")
        collector.run(pages=1)
        packed(log.with_name("firebox.log.1")).rename(log.with_name("firebox.log.2.gz"))
        assert collector.run()[-2:] == ["e", "f"]
        assert collector.order == [*"abcdef"] and collector.read == 6 and not collector.problems

    def test_a_compressed_file_in_the_making_is_passed_over(self, collector: Collector, log: Path) -> None:
        first = log.with_name("firebox.log.1")
        add(first, "a", "b", "c")
        log.with_name("firebox.log.1.gz").write_bytes(gzip.compress(first.read_bytes())[:20])
        add(log, "d")
        assert collector.run() == ["a", "b", "c", "d"]
        packed(first)
        assert collector.run() == [] and collector.read == 4 and not collector.problems

    def test_a_compressed_file_is_unpacked_once(
        self, collector: Collector, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(log, *"abcdef")
        log.rename(log.with_name("firebox.log.1"))
        packed(log.with_name("firebox.log.1"))
        add(log, "g")
        collector.run()
        monkeypatch.setattr(gzip.GzipFile, "seek", lambda *_args: pytest.fail("unpacked again"))
        assert collector.run() == []

    @pytest.mark.parametrize("seen", [True, False])
    def test_copytruncate(self, collector: Collector, log: Path, seen: bool) -> None:
        copy = log.with_name("firebox.log.1")
        add(log, "a", "b", "c")
        os.utime(log, (1, 1))
        if seen:
            collector.run()
        copy.write_bytes(log.read_bytes()[:3])
        collector.run(pages=0 if not seen else None)  # while the copy is being made
        copy.write_bytes(log.read_bytes())
        collector.run()
        os.truncate(log, 0)
        collector.run()
        add(log, "d")
        collector.run()
        assert collector.order == [*"abcd"] and not collector.problems

    def test_a_copy_that_ends_early_gives_the_same_ids(self, collector: Collector, log: Path) -> None:
        add(log, "a", "b", "c")
        collector.run()
        log.with_name("firebox.log.1").write_bytes(b"a\nb\n")
        log.write_bytes(b"d\n")
        assert collector.run() == ["d"]

    def test_a_file_that_begins_as_the_one_before_is_another(self, collector: Collector, log: Path) -> None:
        for _again in range(3):
            add(log, "same second", "same second")
            assert collector.run() == ["same second"] * 2
            log.with_name("firebox.log.1").exists() and log.with_name("firebox.log.1").rename(
                log.with_name("firebox.log.2")
            )
            log.rename(log.with_name("firebox.log.1"))
        assert not collector.problems

    def test_equal_files_that_nobody_has_read_are_not_copies(self, collector: Collector, log: Path) -> None:
        for age, name in enumerate(("firebox.log.2", "firebox.log.1", "firebox.log")):
            add(log.with_name(name), "same second")
            os.utime(log.with_name(name), (age, age))
        assert collector.run() == ["same second"] * 3

    def test_an_inode_that_is_used_again_is_another_file(
        self, collector: Collector, log: Path, inodes: dict[str, int]
    ) -> None:
        inodes |= {"firebox.log": 7, "firebox.log.1": 7, "firebox.log.1.gz": 8}
        add(log, "same second")
        collector.run()
        log.rename(log.with_name("firebox.log.1"))
        packed(log.with_name("firebox.log.1"))
        collector.run()
        add(log, "same second")
        assert collector.run() == ["same second"] and not collector.problems

    def test_compressed_files_that_take_the_inodes_of_others(
        self, collector: Collector, log: Path, inodes: dict[str, int]
    ) -> None:
        first, second = log.with_name("firebox.log.1"), log.with_name("firebox.log.2")
        add(second, "same second")
        add(first, "same second", "b")
        add(log, "c")
        inodes |= {first.name: 1, second.name: 2}
        collector.run()
        packed(first), packed(second)
        inodes |= {first.name + ".gz": 2, second.name + ".gz": 3}
        assert collector.run() == [] and collector.read == 4 and not collector.problems

    def test_a_file_system_that_numbers_its_files_anew(
        self, collector: Collector, log: Path, inodes: dict[str, int]
    ) -> None:
        add(log.with_name("firebox.log.1"), "a", "b")
        add(log, "c")
        for number in range(1, 4):
            inodes |= {"firebox.log.1": number, "firebox.log": 10 + number}
            collector.run()
        assert collector.read == 3 and not collector.problems and len(collector.positions) == 2

    def test_files_that_are_renamed_while_they_are_looked_for(
        self, collector: Collector, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(log.with_name("firebox.log.1"), "a")
        add(log, "b")
        collector.run()
        add(log, "c")
        rotations = []

        def rotate() -> None:
            if len(rotations) < 2:
                for number in (3, 2, 1):
                    if log.with_name(f"firebox.log.{number}").exists():
                        log.with_name(f"firebox.log.{number}").rename(log.with_name(f"firebox.log.{number + 1}"))
                log.rename(log.with_name("firebox.log.1"))
                add(log, f"d{len(rotations)}")
                rotations.append(log)

        _before_opening(log, rotate, monkeypatch)
        assert collector.run() == ["c", "d0", "d1"] and not collector.problems

    def test_files_that_are_renamed_all_the_time(
        self, collector: Collector, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(log, "a")
        collector.run()
        spare = log.with_name("spare")

        def rotate() -> None:
            spare.unlink(missing_ok=True)
            add(spare, "b")
            spare.rename(log)

        _before_opening(log, rotate, monkeypatch)
        with pytest.raises(StateError, match="renamed faster than they can be read"):
            collector.run()
        assert not collector.problems

    def test_a_file_that_is_copied_and_truncated_while_it_is_looked_for(
        self, collector: Collector, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(log, "a")
        collector.run()
        add(log, "b")
        copy = log.with_name("firebox.log.1")

        def rotate() -> None:
            if not copy.exists():
                copy.write_bytes(log.read_bytes())
                os.truncate(log, 0)
                add(log, "c")

        _before_opening(log, rotate, monkeypatch)
        assert collector.run() == ["b", "c"] and not collector.problems

    def test_names_that_end_in_numbers_are_not_rotated_ones(self, tmp_path: Path) -> None:
        collector = Collector(tmp_path, "10.*")
        for name in ("10.0.0.1", "10.0.0.2", "10.0.0.1.1"):
            add(tmp_path / name, name)
        assert sorted(collector.run()) == ["10.0.0.1", "10.0.0.1.1", "10.0.0.2"]
        (tmp_path / "10.0.0.2").rename(tmp_path / "10.0.0.2.1")
        packed(tmp_path / "10.0.0.1.1")
        add(tmp_path / "10.0.0.2", "next")
        assert collector.run() == ["next"] and not collector.problems
        (tmp_path / "10.0.0.2").unlink()
        collector.run()
        assert ["10.0.0.2 was truncated" in problem for problem in collector.problems.values()] == [True]

    def test_a_rotated_file_that_passed_for_a_live_one(self, tmp_path: Path) -> None:
        collector = Collector(tmp_path, "10.*")
        add(tmp_path / "10.0.0.1.1", "a", "b")  # its successor is not there yet
        assert collector.run() == ["a", "b"]
        packed(tmp_path / "10.0.0.1.1").rename(tmp_path / "10.0.0.1.2.gz")
        add(tmp_path / "10.0.0.1", "c")
        assert collector.run() == ["c"] and collector.read == 3 and not collector.problems

    def test_a_rotated_file_that_is_moved_to_another_disk(self, tmp_path: Path) -> None:
        collector = Collector(tmp_path, "*/fw.log")
        here, there = tmp_path / "here", tmp_path / "there"
        here.mkdir(), there.mkdir()
        add(here / "fw.log", "a", "b")
        collector.run()
        add(here / "fw.log", "c")
        (there / "fw.log.1").write_bytes((here / "fw.log").read_bytes())
        (here / "fw.log").rename(tmp_path / "spare")
        add(here / "fw.log", "d")
        assert sorted(collector.run()) == ["c", "d"] and collector.read == 4 and not collector.problems

    def test_what_one_file_was_known_by_is_not_used_for_another(self, tmp_path: Path, inodes: dict[str, int]) -> None:
        collector = Collector(tmp_path, "*.log")
        inodes |= {"a.log.1": 1, "a.log.1.gz": 2, "b.log.1": 3}
        add(tmp_path / "a.log.1", "same second")
        collector.run()
        packed(tmp_path / "a.log.1")
        add(tmp_path / "b.log.1", "same second")
        assert collector.run() == ["same second"]

    def test_folders_may_be_patterns_too(self, tmp_path: Path) -> None:
        for name in ("a", "b", ".hidden"):
            (tmp_path / name).mkdir()
            add(tmp_path / name / "fw.log", name)
            add(tmp_path / name / "other", name)
        assert Collector(tmp_path, "*/*.log").run() == ["a", "b"]


def _before_opening(path: Path, act: t.Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """``act`` each time just before ``path`` is opened."""
    real = os.open

    def opening(name: str, *args: t.Any) -> int:
        if str(name) == str(path):
            act()
        return real(name, *args)

    monkeypatch.setattr(files.os, "open", opening)


class TestWhatIsLost:
    @pytest.mark.parametrize("what", ["truncated", "replaced", "removed", "begins alike", "grows alike"])
    def test_is_told_once(self, collector: Collector, log: Path, what: str) -> None:
        add(log, "a", "b")
        collector.run()
        add(log.with_name("firebox.log.9"), "old")
        if what == "removed":
            log.unlink()
        elif what.endswith("alike"):
            log.write_text("a\n" if what == "begins alike" else "a\nc\nd\n", "utf-8")
        else:
            log.write_text("c\n" if what == "replaced" else "", "utf-8")
        new = collector.run()
        assert [problem for problem in collector.problems.values() if "behind byte 4 may be lost" in problem]
        collector.run()
        assert len(collector.problems) == 1
        expected = {"replaced": ["c"], "begins alike": ["a"], "grows alike": ["a", "c", "d"]}
        assert sorted(new) == [*expected.get(what, []), "old"]

    def test_a_rotated_file_that_was_read_may_go(self, collector: Collector, log: Path) -> None:
        add(log, "a")
        log.rename(log.with_name("firebox.log.1"))
        add(log, "b")
        collector.run()
        log.with_name("firebox.log.1").unlink()
        collector.run()
        assert not collector.problems and len(collector.positions) == 2
        collector.run(now=NOW + timedelta(days=31))
        assert len(collector.positions) == 1

    def test_a_file_that_comes_back_goes_on_where_it_was(self, collector: Collector, log: Path) -> None:
        add(log, "a")
        add(log.with_name("firebox.log.1"), "b")
        collector.run()
        away = log.parent.with_name("away")
        log.parent.rename(away)
        with pytest.raises(StateError):
            collector.run()
        away.rename(log.parent)
        add(log, "c")
        assert collector.run() == ["c"] and collector.read == 3 and not collector.problems

    def test_a_damaged_file_gives_what_can_be_read(self, collector: Collector, log: Path) -> None:
        lines = [str(random.Random(number).random()) for number in range(2000)]
        data = gzip.compress("".join(line + "\n" for line in lines).encode())
        log.with_name("firebox.log.1.gz").write_bytes(data[: len(data) // 2])
        add(log, "live")
        new = collector.run(page_size=500)
        assert 100 < len(new) < 2000 and new[:-1] == lines[: len(new) - 1] and new[-1] == "live"
        collector.run()
        assert ["damaged" in problem for problem in collector.problems.values()] == [True]

    def test_a_compressed_file_that_ends_within_a_line_is_told(self, collector: Collector, log: Path) -> None:
        log.with_name("firebox.log.1.gz").write_bytes(gzip.compress(b"a\nhal"))
        log.with_name("firebox.log.2.gz").write_bytes(gzip.compress(b"all"))
        add(log, "live")
        assert collector.run() == ["a", "live"]
        collector.run()
        assert len(collector.problems) == 2

    def test_what_is_no_longer_asked_for_is_no_loss(self, collector: Collector, log: Path) -> None:
        add(log, "a")
        collector.run()
        collector.pattern = "other.log"
        add(log.with_name("other.log"), "b")
        assert collector.run() == ["b"] and not collector.problems


class TestTroubleWithFiles:
    def test_what_cannot_be_read_is_told_when_the_rest_was_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collector = Collector(tmp_path, "*.log")
        for name in ("a", "b", "c"):
            add(tmp_path / f"{name}.log", name)
        collector.run()
        add(tmp_path / "c.log", "more")
        (tmp_path / "a.log").unlink()
        real = os.open

        def guarded(path: str, *args: t.Any) -> int:
            if str(path).endswith("b.log"):
                raise PermissionError(13, "Permission denied")
            return real(path, *args)

        monkeypatch.setattr(files.os, "open", guarded)
        with pytest.raises(StateError, match=r"b\.log cannot be read: Permission denied. Give the user"):
            collector.run()
        assert "more" in collector.lines.values() and not collector.problems
        monkeypatch.undo()
        collector.run()
        assert len(collector.problems) == 1

    def test_what_a_file_lost_may_be_in_the_one_that_cannot_be_read(
        self, collector: Collector, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(log, "a", "b")
        collector.run()
        copy = log.with_name("firebox.log.1")
        copy.write_bytes(log.read_bytes() + b"c\n")
        log.write_bytes(b"a\n")  # another that begins with the same line
        real = os.open

        def guarded(path: str, *args: t.Any) -> int:
            if str(path) == str(copy):
                raise PermissionError(13, "Permission denied")
            return real(path, *args)

        monkeypatch.setattr(files.os, "open", guarded)
        with pytest.raises(StateError, match="Permission denied"):
            collector.run()
        monkeypatch.undo()
        assert sorted(collector.run()) == ["a", "c"] and not collector.problems

    def test_a_pattern_without_any_file_is_an_error_and_the_others_are_read(self, log: Path) -> None:
        add(log, "a")
        pages = read_files([f"{log.parent}/fw-*.log", str(log)], {}, 9, NOW)
        assert [record["line"] for record in next(pages).records] == ["a"]
        with pytest.raises(StateError, match="No file matches .*fw-.*; check the option syslog_files"):
            next(pages)

    def test_pipes_folders_and_dangling_links_stop_nothing(self, collector: Collector, log: Path) -> None:
        os.mkfifo(log.with_name("firebox.log.1"))
        log.with_name("firebox.log.2").mkdir()
        log.with_name("firebox.log.3").symlink_to("nowhere")
        add(log.with_name("real"), "a")
        log.symlink_to("real")
        assert collector.run() == ["a"]

    def test_one_file_under_two_names_is_read_once(self, tmp_path: Path) -> None:
        add(tmp_path / "fw-20261120.log", "a")
        (tmp_path / "fw.log").symlink_to("fw-20261120.log")
        for pattern in ("fw*.log", "fw.log"):
            collector = Collector(tmp_path, pattern)
            assert collector.run() == ["a"] and collector.run() == [] and collector.read == 1
            for link in tmp_path.iterdir():
                link.rename(link.with_suffix(".away"))
            add(tmp_path / "fw.log-1", "b")
            collector.run()
            assert len(collector.problems) == 1  # it was the live one
            (tmp_path / "fw.log-1").unlink()
            for link in tmp_path.iterdir():
                link.rename(link.with_suffix(".log"))


class Logrotate:
    """A log that is written and rotated at random, with runs and crashes in between, and the truth about it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random, self.collector = random.Random(seed), Collector(folder)
        self.live = folder / "firebox.log"
        self.written: collections.Counter = collections.Counter()
        self.half: dict[int, str] = {}  # by inode: what has no end yet
        self.second, self.moment = 0, itertools.count(1)
        self.settled = False

    def rotated(self, number: int, ending: str = "") -> Path:
        return self.live.with_name(f"firebox.log.{number}{ending}")

    def numbers(self, *endings: str) -> list[int]:
        return [number for number in range(1, 40) for end in endings if self.rotated(number, end).exists()]

    def write(self, path: Path, text: str | bytes, mode: str = "ab") -> None:
        with path.open(mode) as handle:
            handle.write(text if isinstance(text, bytes) else text.encode())
        moment = next(self.moment) * 10**9
        os.utime(path, ns=(moment, moment))
        self.settled = False

    def append(self, path: Path | None = None) -> None:
        path = path or self.live
        for _again in range(self.random.randint(1, 5)):
            self.second += self.random.random() < 0.4
            line = f"{self.second:05d} message {self.random.randint(0, 1)}"
            begun = self.half.pop(path.stat().st_ino, "") if path.exists() else ""
            self.write(path, (" rest" if begun else line) + "\n")
            self.written[begun + " rest" if begun else line] += 1

    def append_half(self) -> None:
        if not self.live.exists() or self.live.stat().st_ino not in self.half:
            self.write(self.live, f"{self.second:05d} half")
            self.half[self.live.stat().st_ino] = f"{self.second:05d} half"

    def make_room(self) -> None:
        for number in sorted(self.numbers("", ".gz"), reverse=True):
            for ending in ("", ".gz"):
                if self.rotated(number, ending).exists():
                    self.rotated(number, ending).rename(self.rotated(number + 1, ending))
        self.second += 1

    def rename(self) -> None:
        if self.live.exists():
            self.make_room()
            self.live.rename(self.rotated(1))
            if self.rotated(1).stat().st_ino in self.half or self.random.random() < 0.4:
                self.append(self.rotated(1))
                self.second += 1
            if self.random.random() < 0.5:
                self.write(self.live, "")

    def copy_and_truncate(self) -> None:
        if not self.live.exists() or self.live.stat().st_ino in self.half:
            return
        self.make_room()
        content = self.live.read_bytes()
        if self.random.random() < 0.4:
            self.write(self.rotated(1), content[: self.random.randint(0, len(content))], "wb")
            self.run()
        self.write(self.rotated(1), content, "wb")
        if self.random.random() < 0.4:
            self.run()
        self.write(self.live, "", "wb")

    def compress(self) -> None:
        whole = [number for number in self.numbers("") if self.rotated(number).stat().st_ino not in self.half]
        if whole:
            number = self.random.choice(whole)
            content = gzip.compress(self.rotated(number).read_bytes())
            if self.random.random() < 0.4:
                self.write(self.rotated(number, ".gz"), content[: self.random.randint(0, len(content))], "wb")
                self.run()
            self.write(self.rotated(number, ".gz"), content, "wb")
            if self.random.random() < 0.4:
                self.run()
            self.rotated(number).unlink()

    def drop_the_oldest(self) -> None:
        numbers = self.numbers("", ".gz")
        if self.settled and len(numbers) > 1:
            for ending in ("", ".gz"):
                self.rotated(max(numbers), ending).unlink(missing_ok=True)

    def run(self) -> None:
        if any(self.live.parent.iterdir()):
            crash = self.random.randint(0, 3) if self.random.random() < 0.4 else None
            self.collector.run(crash, self.random.choice([1, 2, 3, 50]))
            self.settled = crash is None

    def play(self, steps: int) -> None:
        acts: dict[t.Callable[[], None], float] = {self.append: 6, self.append_half: 1, self.rename: 1.5}
        acts |= {self.copy_and_truncate: 1, self.compress: 1.5, self.drop_the_oldest: 0.7, self.run: 4}
        for _again in range(steps):
            self.random.choices(list(acts), list(acts.values()))[0]()
        self.append()
        self.collector.run()


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_lost_and_nothing_is_there_twice(seed: int, tmp_path: Path) -> None:
    world = Logrotate(tmp_path, seed)
    world.play(40)
    assert collections.Counter(world.collector.lines.values()) == world.written
    assert not world.collector.problems
