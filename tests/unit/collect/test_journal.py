# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import concurrent.futures
import dataclasses
import errno
import gzip
import json
import os
import stat
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import journal as journal_module
from ansible_collections.netcure.soc.plugins.module_utils._collect.archive import seal, sealed_path
from ansible_collections.netcure.soc.plugins.module_utils._collect.journal import (
    Cursor,
    DeadLetter,
    Journal,
    Known,
    Moved,
    plan_page,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import StateError


class TestPlanPage:
    """Known: k. Walk 5, stamp 100."""

    def known(self, document: t.Any, **fields: t.Any) -> dict[str, Known]:
        return {document.id: dataclasses.replace(Known(document.digest, 50, 4, True), **fields)}

    def test_new_changed_unchanged(self, document: t.Callable) -> None:
        old, other = document(), document(id="al-2")
        plan = plan_page([old, other], self.known(old), 5, 100)
        assert [(write.document.id, write.new, write.version) for write in plan.writes] == [(other.id, True, 100)]
        assert (plan.unchanged, plan.fresh) == (1, 2)
        plan = plan_page([document(reviewed=True)], self.known(old), 5, 100)
        assert [(write.new, write.version) for write in plan.writes] == [(False, 100)]

    def test_versions_grow_even_when_the_clock_goes_back(self, document: t.Callable) -> None:
        plan = plan_page([document(reviewed=True)], self.known(document(), version=500), 5, 100)
        assert plan.writes[0].version == 501

    def test_an_event_is_never_written_again(self, document: t.Callable) -> None:
        event = dataclasses.replace(document(reviewed=True), kind="event")
        assert plan_page([event], self.known(document()), 5, 100).writes == ()

    def test_what_had_vanished_and_is_back_is_written(self, document: t.Callable) -> None:
        probe = document("probes")
        assert plan_page([probe], self.known(probe, present=False), 5, 100).writes[0].new is False

    def test_repeated_in_one_page_the_last_content_counts(self, document: t.Callable) -> None:
        plan = plan_page([document(), document(), document(reviewed=True)], {}, 5, 100)
        assert [write.document.source["soc"]["reviewed"] for write in plan.writes] == [True]
        assert (plan.writes[0].new, plan.fresh, plan.unchanged) == (True, 1, 1)

    def test_a_page_that_this_walk_has_seen_brings_nothing_fresh(self, document: t.Callable) -> None:
        assert plan_page([document()], self.known(document(), walk=5), 5, 100).fresh == 0


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the product catches it."""


def die_at(point: str) -> t.Callable[[str], None]:
    def reach(name: str) -> None:
        if name == point:
            raise Killed

    return reach


def write(journal: Journal, *documents: t.Any, dead: t.Sequence[DeadLetter] = (), stamp: int = 100) -> int:
    walk = journal.begin_walk("logs")
    plan = plan_page(documents, journal.known([document.id for document in documents]), walk, stamp)
    last = max((document.time, document.vendor_id) for document in documents)
    journal.write_page("logs", walk, plan, dead, Moved(cursor=Cursor(*last)))
    return len(plan.writes)


def shipped(journal: Journal) -> list[dict]:
    """The sources of all documents that wait to be shipped, in order."""
    lines = b"".join(batch.payload for batch in journal.batches()).splitlines()
    return [json.loads(line) for line in lines[1::2]]


class TestJournal:
    def test_what_was_written_comes_back(self, tmp_path: Path, document: t.Callable) -> None:
        documents = [document(id=f"al-{number}") for number in range(5)]
        with Journal(str(tmp_path)) as journal:
            assert write(journal, *documents) == 5
        with Journal(str(tmp_path)) as journal:
            assert write(journal, *documents) == 0
            assert shipped(journal) == [made.source for made in documents]
            assert journal.cursor("logs") == Cursor("2026-11-20T09:14:03.000Z", "al-4")
            assert journal.waiting() == 5

    def test_files_are_not_for_everybody(self, tmp_path: Path, document: t.Callable) -> None:
        old = os.umask(0)
        try:
            with Journal(str(tmp_path / "j")) as journal:
                write(journal, document())
                modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "j").rglob("*")}
        finally:
            os.umask(old)
        assert len(modes) >= 3
        assert not [path for path, mode in modes.items() if mode & 0o007]

    @pytest.mark.parametrize("point", ["before_append", "before_fsync", "after_fsync", "before_commit"])
    def test_a_page_that_was_not_committed_never_was(self, tmp_path: Path, document: t.Callable, point: str) -> None:
        with Journal(str(tmp_path)) as journal:
            write(journal, document())
        with Journal(str(tmp_path), reach=die_at(point)) as journal, pytest.raises(Killed):
            write(journal, document(id="al-2"))
        with Journal(str(tmp_path)) as journal:
            assert [body["event"]["id"] for body in shipped(journal)] == ["al-1"]
            assert journal.cursor("logs").tie == "al-1"
            write(journal, document(id="al-3"))
            assert [body["event"]["id"] for body in shipped(journal)] == ["al-1", "al-3"]

    def test_a_page_that_was_committed_stays(self, tmp_path: Path, document: t.Callable) -> None:
        with Journal(str(tmp_path), reach=die_at("after_commit")) as journal, pytest.raises(Killed):
            write(journal, document())
        with Journal(str(tmp_path)) as journal:
            assert len(shipped(journal)) == 1
            assert write(journal, document()) == 0

    def test_a_torn_last_line_is_cut_off(self, tmp_path: Path, document: t.Callable) -> None:
        with Journal(str(tmp_path)) as journal:
            write(journal, document())
        segment = tmp_path / "segments/00000001.ndjson"
        with segment.open("ab") as handle:
            handle.write(b'{"index":{"_ind')
        with Journal(str(tmp_path)) as journal:
            write(journal, document(id="al-2"))
            assert [body["event"]["id"] for body in shipped(journal)] == ["al-1", "al-2"]
        assert segment.read_bytes().count(b"\n") == 4

    def test_a_segment_that_lost_bytes_is_told(self, tmp_path: Path, document: t.Callable) -> None:
        with Journal(str(tmp_path)) as journal:
            write(journal, document())
        os.truncate(tmp_path / "segments/00000001.ndjson", 10)
        with Journal(str(tmp_path)) as journal:
            with pytest.raises(StateError, match="damaged"):
                write(journal, document(id="al-2"))
            with pytest.raises(StateError, match="damaged"):
                list(journal.batches())

    def test_a_full_disk_is_told_and_nothing_is_lost(
        self, tmp_path: Path, document: t.Callable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Journal(str(tmp_path)) as journal:
            write(journal, document())
            real = os.write

            def full(descriptor: int, data: t.Any) -> int:
                real(descriptor, bytes(data[:10]))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            with monkeypatch.context() as patch:
                patch.setattr(os, "write", full)
                with pytest.raises(StateError, match="No space left on device. Nothing was lost"):
                    write(journal, document(id="al-2"))
            write(journal, document(id="al-2"))
            assert [body["event"]["id"] for body in shipped(journal)] == ["al-1", "al-2"]

    def test_behind_a_commit_that_failed_nothing_follows_in_the_same_run(
        self, tmp_path: Path, document: t.Callable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Journal(str(tmp_path)) as journal:
            with monkeypatch.context() as patch:
                patch.setattr(
                    journal_module, "_insert_dead", lambda *_rest: journal._db.execute("INSERT INTO none VALUES (1)")
                )
                with pytest.raises(StateError):
                    write(journal, document())
            # Another data set, in the same process.
            with pytest.raises(StateError, match="Nothing was lost: run again"):
                write(journal, document(id="al-2"))
        with Journal(str(tmp_path)) as journal:
            write(journal, document(id="al-2"))
            write(journal, document())
            assert [body["event"]["id"] for body in shipped(journal)] == ["al-2", "al-1"]

    def test_a_database_that_cannot_be_read_is_told(self, tmp_path: Path, document: t.Callable) -> None:
        with Journal(str(tmp_path)) as journal:
            write(journal, document())
            journal._db.execute("DROP TABLE record")
            with pytest.raises(StateError, match="cannot be read"):
                journal.known(["x"])

    def test_a_rehearsal_in_a_folder_with_an_odd_name(self, tmp_path: Path, document: t.Callable) -> None:
        folder = str(tmp_path / "a#b?c d")
        with Journal(folder) as journal:
            write(journal, document())
        before = sorted(path.name for path in Path(folder).rglob("*"))
        with Journal(folder, rehearsal=True) as journal:
            assert journal.waiting() == 1
        assert sorted(path.name for path in Path(folder).rglob("*")) == before

    def test_a_short_write_is_completed(
        self, tmp_path: Path, document: t.Callable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.write
        with Journal(str(tmp_path)) as journal:
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:100])))
                write(journal, document())
            assert len(shipped(journal)) == 1

    def test_segments_rotate(self, tmp_path: Path, document: t.Callable, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal_module, "SEGMENT_SIZE", 1500)
        for number in range(6):
            with Journal(str(tmp_path)) as journal:
                write(journal, document(id=f"al-{number}"))
        assert len(list((tmp_path / "segments").iterdir())) > 1
        with Journal(str(tmp_path)) as journal:
            assert [body["event"]["id"] for body in shipped(journal)] == [f"al-{number}" for number in range(6)]

    def test_only_what_was_acknowledged_is_not_sent_again(
        self, tmp_path: Path, document: t.Callable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal_module, "SHIP_SIZE", 1500)
        with Journal(str(tmp_path)) as journal:
            for number in range(6):
                write(journal, document(id=f"al-{number}"))
            first = next(journal.batches())
            journal.mark_shipped(first, [])
            assert first.last < 6
            assert len(shipped(journal)) == 6 - first.last
            for batch in journal.batches():
                journal.mark_shipped(batch, [])
            assert journal.waiting() == 0
            assert write(journal, document(id="al-1")) == 0

    def test_the_cursor_only_moves_forwards(self, tmp_path: Path, document: t.Callable) -> None:
        with Journal(str(tmp_path)) as journal:
            write(journal, document(id="b"))
            write(journal, document(id="a"))
            assert journal.cursor("logs").tie == "b"
            write(journal, document(id="a", timestamp="2026-11-20T09:14:03.001Z"))
            assert journal.cursor("logs").tie == "a"

    def test_dead_letters_are_kept_once(self, tmp_path: Path, document: t.Callable) -> None:
        letter = DeadLetter("1", "logs", "it has no id", "2026-11-20T12:00:00.000Z", b"{}")
        with Journal(str(tmp_path)) as journal:
            write(journal, document(), dead=[letter])
            write(journal, document(), dead=[letter])
            assert journal.dead_letters() == 1

    def test_a_company_keeps_its_name_in_indices(self, tmp_path: Path) -> None:
        with Journal(str(tmp_path)) as journal:
            assert journal.slug_of("c1", "Acme NV") == "acme-nv"
            assert journal.slug_of("c1", "Acme Group") == "acme-nv"
            other = journal.slug_of("c2", "ACME nv.")
            assert other.startswith("acme-nv-")
            assert journal.slug_of("c3", "***")
        with Journal(str(tmp_path)) as journal:
            assert journal.slug_of("c2", "renamed") == other

    def test_a_rehearsal_leaves_no_trace(self, tmp_path: Path, document: t.Callable) -> None:
        folder = tmp_path / "none"
        with Journal(str(folder), rehearsal=True) as journal:
            assert write(journal, document()) == 1
        assert not folder.exists()
        with Journal(str(folder)) as journal:
            write(journal, document())
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with Journal(str(folder), rehearsal=True) as journal:
            assert write(journal, document(), document(id="al-2")) == 1
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path in before} == before

    def test_what_vanished_is_marked_with_its_last_content(
        self, tmp_path: Path, document: t.Callable, now: t.Any
    ) -> None:
        with Journal(str(tmp_path)) as journal:
            walk = journal.begin_walk("probes")
            probes = [document("probes", id=f"p{number}") for number in range(3)]
            journal.write_page("probes", walk, plan_page(probes, {}, walk, 100))
            walk = journal.begin_walk("probes")
            left = probes[:1]
            journal.write_page("probes", walk, plan_page(left, journal.known([left[0].id]), walk, 200))
            gone = journal.vanished("probes", walk)
            assert sorted(entry[1].vendor_id for entry in gone) == ["p1", "p2"]
            journal.write_vanished("probes", walk, gone, now)
            assert journal.vanished("probes", walk) == []
            last = shipped(journal)[-2:]
            assert {(body["event"]["id"], body["soc"]["present"], body["soc"]["vanished"]) for body in last} == {
                ("p1", False, "2026-11-20T12:00:00.000Z"),
                ("p2", False, "2026-11-20T12:00:00.000Z"),
            }
            assert journal.known([probes[1].id])[probes[1].id].present is False


class TestSealing:
    def sealed(self, folder: Path) -> t.Callable[[int], str]:
        return lambda number: sealed_path(str(folder / "archive"), "cyberalarm", number)

    def seal_all(self, journal: Journal, folder: Path) -> list[int]:
        done = []
        for number, path in journal.sealable():
            seal(path, str(folder / "archive"), "cyberalarm", number, "2026-11-21T00:00:00.000Z")
            journal.mark_sealed(number)
            done.append(number)
        return done

    def ship(self, journal: Journal) -> None:
        for batch in journal.batches():
            journal.mark_shipped(batch, [])

    def test_a_segment_is_turned_by_age_and_sealed_when_all_of_it_was_shipped(
        self, tmp_path: Path, document: t.Callable, now: t.Any
    ) -> None:
        day = timedelta(hours=24)
        with Journal(str(tmp_path), sealed=self.sealed(tmp_path)) as journal:
            journal.turn_segment(now, day)
            write(journal, document())
            journal.turn_segment(now + day / 2, day)
            write(journal, document(id="al-2"))
            assert self.seal_all(journal, tmp_path) == []
            journal.turn_segment(now + day, day)
            assert self.seal_all(journal, tmp_path) == []  # Elasticsearch has not acknowledged it
            self.ship(journal)
            assert self.seal_all(journal, tmp_path) == [1]
            assert self.seal_all(journal, tmp_path) == []
        assert not list((tmp_path / "segments").iterdir())
        assert (tmp_path / "archive/cyberalarm/00000001.ndjson.gz").exists()

    def test_a_run_that_ends_behind_a_sealed_segment_goes_on_in_the_next(
        self, tmp_path: Path, document: t.Callable, now: t.Any
    ) -> None:
        day = timedelta(hours=24)
        with Journal(str(tmp_path)) as journal:
            journal.turn_segment(now, day)
            write(journal, document())
            self.ship(journal)
        with Journal(str(tmp_path)) as journal:
            journal.turn_segment(now + day, day)
            assert self.seal_all(journal, tmp_path) == [1]
        with Journal(str(tmp_path)) as journal:
            journal.turn_segment(now + day, day)
            write(journal, document(id="al-2"))
            assert journal.waiting() == 1
        assert [path.name for path in (tmp_path / "segments").iterdir()] == ["00000002.ndjson"]

    def test_a_journal_that_was_lost_leaves_the_archive_as_it_is(self, tmp_path: Path, document: t.Callable) -> None:
        with Journal(str(tmp_path), archived=7) as journal:
            write(journal, document())
        with Journal(str(tmp_path), archived=7) as journal:
            write(journal, document(id="al-2"))
        assert [path.name for path in (tmp_path / "segments").iterdir()] == ["00000008.ndjson"]

    def test_a_torn_tail_is_not_sealed(self, tmp_path: Path, document: t.Callable, now: t.Any) -> None:
        day = timedelta(hours=24)
        with Journal(str(tmp_path)) as journal:
            journal.turn_segment(now, day)
            write(journal, document())
            self.ship(journal)
        with (tmp_path / "segments/00000001.ndjson").open("ab") as handle:
            handle.write(b'{"index":{"_in')
        with Journal(str(tmp_path), sealed=self.sealed(tmp_path)) as journal:
            journal.turn_segment(now + day, day)
            assert self.seal_all(journal, tmp_path) == [1]
        assert gzip.decompress(Path(self.sealed(tmp_path)(1)).read_bytes()).endswith(b"}\n")

    def test_a_run_that_died_before_removing_the_file_is_cleaned_up_after(
        self, tmp_path: Path, document: t.Callable, now: t.Any
    ) -> None:
        day = timedelta(hours=24)
        with Journal(str(tmp_path), reach=die_at("before_remove")) as journal:
            journal.turn_segment(now, day)
            write(journal, document())
            self.ship(journal)
            journal.turn_segment(now + day, day)
            with pytest.raises(Killed):
                self.seal_all(journal, tmp_path)
        assert list((tmp_path / "segments").iterdir())
        with Journal(str(tmp_path)) as journal:
            assert journal.sealable() == []
        assert not list((tmp_path / "segments").iterdir())

    def test_what_vanished_is_found_in_the_archive(self, tmp_path: Path, document: t.Callable, now: t.Any) -> None:
        day = timedelta(hours=24)
        with Journal(str(tmp_path), sealed=self.sealed(tmp_path)) as journal:
            journal.turn_segment(now, day)
            walk, probes = journal.begin_walk("probes"), [document("probes", id=f"p{number}") for number in range(3)]
            journal.write_page("probes", walk, plan_page(probes, {}, walk, 100))
            self.ship(journal)
            journal.turn_segment(now + day, day)
            assert self.seal_all(journal, tmp_path) == [1]
            gone = journal.vanished("probes", journal.begin_walk("probes"), spared=["nobody"])
            assert [found.source["event"]["id"] for _id, found, _version in gone] == sorted(
                ["p0", "p1", "p2"], key=lambda key: document("probes", id=key).id
            )
            assert journal.vanished("probes", 9, spared=["c1"]) == []


class TestCompanies:
    def test_a_journal_that_was_lost_gives_every_company_what_it_had(self, tmp_path: Path) -> None:
        kept = str(tmp_path / "archive/companies.json")
        with Journal(str(tmp_path / "a"), companies=kept) as journal:
            assert journal.slug_of("c1", "Acme") == "acme"
            second = journal.slug_of("c2", "Acme")
            assert second.startswith("acme-")
        with Journal(str(tmp_path / "b"), companies=kept) as journal:
            assert journal.slug_of("c2", "Acme") == second
            assert journal.slug_of("c1", "Acme, with another name") == "acme"
        assert stat.S_IMODE(os.stat(kept).st_mode) == 0o640

    def test_a_list_that_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "companies.json").write_text("[")
        with pytest.raises(StateError, match="which company has which index"):
            Journal(str(tmp_path / "a"), companies=str(tmp_path / "companies.json"))

    def test_a_rehearsal_writes_none(self, tmp_path: Path) -> None:
        with Journal(str(tmp_path / "a"), companies=str(tmp_path / "companies.json"), rehearsal=True) as journal:
            journal.slug_of("c1", "Acme")
        assert not list(tmp_path.iterdir())

    def test_an_archive_that_is_away_stops_nothing(self, tmp_path: Path) -> None:
        with Journal(str(tmp_path / "a"), companies=str(tmp_path / "archive/companies.json")) as journal:
            assert journal.slug_of("c1", "Acme") == "acme"
            (tmp_path / "archive").rename(tmp_path / "elsewhere")
            (tmp_path / "archive").write_text("not a folder")
            assert journal.slug_of("c2", "Beta") == "beta"


class TestThreads:
    def test_sets_are_journaled_side_by_side(self, tmp_path: Path, document: t.Callable) -> None:
        with Journal(str(tmp_path)) as journal:

            def work(name: str) -> None:
                walk = journal.begin_walk(name)
                for number in range(40):
                    made = dataclasses.replace(document(id=f"{name}-{number}"), id=f"{name}-{number}")
                    journal.write_page(name, walk, plan_page([made], journal.known([made.id]), walk, 100))

            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(work, ["a", "b", "c", "d"]))
            lines = b"".join(batch.payload for batch in journal.batches()).splitlines()
            assert journal.waiting() == 160
        assert len({json.loads(line)["event"]["id"] for line in lines[1::2]}) == 160
