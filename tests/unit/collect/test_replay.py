# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading again: what was collected comes back once, whatever is damaged, filtered, interrupted or written by others."""

from __future__ import annotations

import collections
import contextlib
import errno
import json
import os
import random
import sqlite3
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import archive, replay
from ansible_collections.netcure.soc.plugins.module_utils._collect.archive import Contents, read_manifest, seal
from ansible_collections.netcure.soc.plugins.module_utils._collect.replay import (
    Segment,
    Span,
    argument_spec,
    find_segments,
    make_plan,
    progress_text,
    span_of,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import clock
from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import BulkOutcome
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AuthError,
    ConfigError,
    SocError,
    StateError,
    Unreachable,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run
from ansible_collections.netcure.soc.plugins.module_utils._core.state import lock

NOW = "2026-11-24T02:00:00Z"
ALARMS, PROBES = "soc-lab.alarm-acme", "soc-lab.probes-acme"


def bulk(number: int, index: str = ALARMS, version: int | None = None) -> bytes:
    """Document ``number``, of minute ``number``: the two lines that the journal writes."""
    target: dict = {"_index": index, "_id": f"{number:032x}"}
    action = {"create": target}
    if version is not None:
        action = {"index": {**target, "version": version, "version_type": "external"}}
    source = {"@timestamp": time_of(number), "soc": {"id": target["_id"], "state": version}}
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in (action, source))


def time_of(number: int) -> str:
    return f"2026-11-20T{number // 60:02d}:{number % 60:02d}:00.000Z"


class FakeElastic:
    """Keeps documents by Elasticsearch's rules; answers of ``odd`` come first. Threads may share it."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], tuple[int, dict]] = {}
        self.odd: dict[str, tuple[int, str]] = {}
        self.calls = 0
        self.fail: t.Callable[[int], None] = lambda _call: None
        self.sent: list[bytes] = []
        self._lock = threading.Lock()

    def bulk(self, payload: bytes) -> BulkOutcome:
        with self._lock:
            self.calls += 1
            self.fail(self.calls)
            self.sent.append(payload)
            outcome = BulkOutcome([], {})
            lines = payload.splitlines()
            for position, (action, source) in enumerate(zip(lines[::2], lines[1::2])):
                ((kind, target),) = json.loads(action).items()
                status, reason = self._take(kind, target, json.loads(source))
                outcome.statuses.append(status)
                if reason:
                    outcome.reasons[position] = reason
            return outcome

    def _take(self, kind: str, target: dict, source: dict) -> tuple[int, str]:
        if target["_id"] in self.odd:
            return self.odd[target["_id"]]
        key, version = (target["_index"], target["_id"]), target.get("version", 1)
        held = self.documents.get(key)
        if held and (kind == "create" or held[0] >= version):
            return 409, "version_conflict_engine_exception: [x]: version conflict"
        self.documents[key] = (version, source)
        return (200 if held else 201), ""

    def call(self, name: str, **arguments: t.Any) -> dict:
        assert name == "mget"
        with self._lock:
            self.calls += 1
            self.fail(self.calls)
            answers = []
            for entry in arguments["docs"]:
                held = self.documents.get((entry["_index"], entry["_id"]))
                indices = {index for index, _identity in self.documents}
                if entry["_index"] not in indices:
                    answers.append({"error": {"type": "index_not_found_exception"}})
                else:
                    answers.append({"found": True, "_version": held[0]} if held else {"found": False})
            return {"docs": answers}


class Site:
    """An archive of three segments and a journal with a fourth and a fifth; ``run`` is the module."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.archive, self.state = folder, folder / "archive", folder / "state"
        self.elastic = FakeElastic()
        self.warnings: list[str] = []
        monkeypatch.setattr(replay, "connect", lambda _params: self.elastic)
        # 0..99 in minutes of one night, twenty a segment; the probes in several versions, across segments.
        self.pieces: dict[int, list[bytes]] = {
            number: [
                *(bulk(entry) for entry in range(20 * number - 20, 20 * number)),
                *(bulk(entry, PROBES, 100 + number) for entry in range(20 * number - 20, 20 * number - 15)),
                *(bulk(1000 + entry, PROBES, 100 + number) for entry in range(3)),
            ]
            for number in range(1, 6)
        }
        raws = self.state / "lab/segments"
        raws.mkdir(parents=True)
        for number, pieces in self.pieces.items():
            raw = raws / f"{number:08d}.ndjson"
            raw.write_bytes(b"".join(pieces))
            if number <= 3:
                seal(str(raw), str(self.archive / "collected"), "lab", number, NOW)
                raw.unlink()
        with contextlib.closing(sqlite3.connect(self.state / "lab/journal.sqlite")) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE page (number INTEGER PRIMARY KEY, segment INT, start INT, length INT)")
            for number in (4, 5):
                start = 0
                for piece in self.pieces[number]:
                    database.execute("INSERT INTO page VALUES (NULL, ?, ?, ?)", (number, start, len(piece)))
                    start += len(piece)
            database.commit()

    def gz(self, number: int) -> Path:
        return self.archive / f"collected/lab/{number:08d}.ndjson.gz"

    def raw(self, number: int) -> Path:
        return self.state / f"lab/segments/{number:08d}.ndjson"

    def run(
        self, check: bool = False, reach: t.Any = lambda _point: None, ticks: t.Any = None, **options: t.Any
    ) -> dict:
        params = {name: option.get("default") for name, option in argument_spec().options.items()}
        params |= {"source": "lab", "archive_dir": str(self.archive), "state_dir": str(self.state)}
        params |= {"log_dir": str(self.folder / "log"), **options}
        work = Run(params, check, clock(NOW), str(self.folder), self.warnings.append)
        return replay.replay(work, reach, *([ticks] if ticks else []))

    def newest(self, numbers: t.Iterable[int] = range(1, 6)) -> dict[tuple[str, str], int]:
        """(index, id) and version of everything in these segments, the newest of each."""
        found: dict[tuple[str, str], int] = {}
        for number in numbers:
            for piece in self.pieces[number]:
                ((_kind, target),) = json.loads(piece.splitlines()[0]).items()
                key = (target["_index"], target["_id"])
                found[key] = max(found.get(key, 0), target.get("version", 1))
        return found

    def held(self) -> dict[tuple[str, str], int]:
        return {key: version for key, (version, _source) in self.elastic.documents.items()}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many calls for little."""
    sealed, raw = replay.blocks_of, replay.raw_blocks
    monkeypatch.setattr(replay, "blocks_of", lambda handle, path: sealed(handle, path, 1000))
    monkeypatch.setattr(replay, "raw_blocks", lambda path, length: raw(path, length, 1000))


def segment(number: int, oldest: int, newest: int, indices: dict[str, int]) -> Segment:
    first, last = (time_of(oldest), "a"), (time_of(newest), "b")
    return Segment(number, "", Contents(sum(indices.values()), first, last, indices, 0, ""))


class TestPlan:
    SEGMENTS: t.ClassVar = [
        segment(1, 0, 9, {ALARMS: 30}),
        segment(2, 5, 19, {ALARMS: 20, PROBES: 10}),
        segment(3, 20, 20, {PROBES: 5}),
        Segment(4, "", Contents(0, None, None, {}, 0, "")),
    ]

    @pytest.mark.parametrize(
        ("since", "until", "patterns", "expected"),
        [
            (None, None, [], [(1, True, 30), (2, True, 30), (3, True, 5)]),
            (0, 21, [], [(1, True, 30), (2, True, 30), (3, True, 5)]),
            (5, None, [], [(1, False, 30), (2, True, 30), (3, True, 5)]),
            (9, 10, [], [(1, False, 30), (2, False, 30)]),
            (10, 19, [], [(2, False, 30)]),
            (None, 5, [], [(1, False, 30)]),
            (20, None, [], [(3, True, 5)]),
            (21, None, [], []),
            (None, 20, [], [(1, True, 30), (2, True, 30)]),
            (None, None, [ALARMS], [(1, True, 30), (2, False, 20)]),
            (None, None, ["soc-lab.p*"], [(2, False, 10), (3, True, 5)]),
            (None, None, ["soc-lab.p*", "soc-*-acme"], [(1, True, 30), (2, True, 30), (3, True, 5)]),
            (None, None, ["soc-other.*"], []),
            (6, None, [PROBES], [(2, False, 10), (3, True, 5)]),
        ],
    )
    def test_which_segments_and_how(self, since: t.Any, until: t.Any, patterns: list, expected: list) -> None:
        span = Span(since if since is None else time_of(since), until if until is None else time_of(until))
        plan = make_plan(self.SEGMENTS, span, patterns)
        assert [(part.segment.number, part.whole, part.documents) for part in plan.parts] == expected

    def test_a_span_has_its_beginning_and_not_its_end(self) -> None:
        span = Span(time_of(5), time_of(7))
        assert [number for number in range(10) if time_of(number) in span] == [5, 6]

    def test_times_are_understood_in_any_zone(self) -> None:
        span = span_of({"since": "2026-11-20T01:00:00+01:00", "until": "2026-11-21"})
        assert span == Span("2026-11-20T00:00:00.000Z", "2026-11-21T00:00:00.000Z")

    def test_progress(self) -> None:
        assert (
            progress_text(3, 17, 250_000, 1_200_000, 12.5)
            == "segment 3 of 17, 250000 of 1200000 documents, 20.8 %, 20000 a second, 0:00:48 left"
        )
        assert progress_text(1, 1, 0, 0, 0).endswith("0.0 %, 0 a second")


class TestReplay:
    def test_everything_comes_back_and_again_changes_nothing(self, site: Site, small_blocks: None) -> None:
        result = site.run()
        assert "failure" not in result and not site.warnings
        assert site.held() == site.newest()
        # The oldest versions may lose to newer ones on the way, nothing else may.
        assert result["documents"] == result["indexed"] + result["already_indexed"] == 5 * 28
        assert result["indexed"] >= len(site.newest())
        assert site.elastic.calls > 20
        assert [entry["sealed"] for entry in result["segments"]] == [True, True, True, False, False]
        assert [entry["path"] for entry in result["segments"]][2:4] == [str(site.gz(3)), str(site.raw(4))]
        assert [entry["sent"] for entry in result["segments"]] == [28] * 5
        again = site.run()
        assert (again["changed"], again["indexed"], again["already_indexed"]) == (False, 0, 5 * 28)
        assert again["diff"]["after"] == {}
        assert site.held() == site.newest()

    def test_the_very_bytes_are_sent(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archive, "_parsed", None)  # no JSON is parsed
        site.run(workers=1)
        assert site.elastic.sent == [b"".join(site.pieces[number]) for number in range(1, 6)]

    @pytest.mark.parametrize("seed", range(5))
    def test_the_order_of_arrival_does_not_matter(self, site: Site, small_blocks: None, seed: int) -> None:
        rng, real = random.Random(seed), site.elastic.bulk
        waiting: list[threading.Event] = []

        def shuffled(payload: bytes) -> BulkOutcome:
            """Calls wait until another one passes them, so that older versions often come last."""
            if rng.random() < 0.5:
                mine = threading.Event()
                waiting.append(mine)
                mine.wait(0.02)
            elif waiting:
                waiting.pop().set()
            return real(payload)

        site.elastic.bulk = shuffled  # type: ignore[method-assign]
        site.run(workers=4)
        assert site.held() == site.newest()

    @pytest.mark.parametrize("workers", [1, 3])
    def test_calls_overlap_as_many_as_asked_for(self, site: Site, small_blocks: None, workers: int) -> None:
        real, active, peak, enough = site.elastic.bulk, [0], [0], threading.Event()

        def slow(payload: bytes) -> BulkOutcome:
            active[0] += 1
            peak[0] = max(peak[0], active[0])
            if active[0] == workers:
                enough.set()
            enough.wait(2)
            active[0] -= 1
            return real(payload)

        on_its_way, most = collections.Counter(), [0]

        def reach(point: str) -> None:
            on_its_way[point] += 1
            most[0] = max(most[0], on_its_way["before_bulk"] - on_its_way["after_bulk"])

        site.elastic.bulk = slow  # type: ignore[method-assign]
        site.run(workers=workers, reach=reach)
        assert peak == most == [workers]  # and memory does not hold more blocks than that

    def test_a_span_and_patterns(self, site: Site, small_blocks: None) -> None:
        result = site.run(since=time_of(15), until=time_of(25))
        assert set(site.held()) == {(ALARMS, f"{number:032x}") for number in range(15, 25)} | {
            (PROBES, f"{number:032x}") for number in range(20, 25)
        }
        assert [(entry["segment"], entry["sent"], entry["whole"]) for entry in result["segments"]] == [
            (1, 5, False),
            (2, 10, False),
        ]
        site.elastic.documents.clear()
        result = site.run(indices=[PROBES])
        assert site.held() == {key: version for key, version in site.newest().items() if key[0] == PROBES}
        assert result["diff"]["after"].keys() == {PROBES}

    def test_check_mode_says_what_a_run_would_do_and_writes_nothing(self, site: Site) -> None:
        before = sorted(path for path in site.folder.rglob("*"))
        assert (site.run(check=True)["indexed"], site.run(check=True)["changed"]) == (5 * 28, True)
        assert site.held() == {}
        assert sorted(path for path in site.folder.rglob("*")) == before
        site.run()
        told = site.run(check=True)
        assert (told["changed"], told["indexed"], told["already_indexed"]) == (False, 0, 5 * 28)
        del site.elastic.documents[(ALARMS, f"{7:032x}")]
        site.elastic.documents[(PROBES, f"{1000:032x}")] = (103, {})
        told = site.run(check=True)
        # One alarm is lacking, and versions 104 and 105 of a probe.
        assert (told["changed"], told["indexed"]) == (True, 3)
        assert told["diff"]["after"] == {ALARMS: {"indexed": 1}, PROBES: {"indexed": 2}}
        assert not site.warnings

    def test_check_mode_without_the_right_to_read(self, site: Site) -> None:
        def deny(_call: int) -> None:
            raise AuthError("no")

        site.elastic.fail = deny
        told = site.run(check=True, indices=[PROBES])
        assert "failure" not in told
        assert (told["changed"], told["indexed"], told["documents"]) == (True, 40, 40)
        assert told["diff"]["after"] == {PROBES: {"indexed": 40}}
        assert "may not read" in site.warnings[0]

    def test_a_run_that_died_is_run_again(self, site: Site, small_blocks: None) -> None:
        class Crash(BaseException):
            pass

        passed = collections.Counter()
        site.run(reach=lambda point: passed.update([point]))
        assert passed["before_bulk"] == passed["after_bulk"] == site.elastic.calls
        for point in ("before_bulk", "after_bulk"):
            for when in (1, 3, 17):
                site.elastic.documents.clear()
                passes = iter(range(when - 1))

                def reach(reached: str, point: str = point, passes: t.Iterator[int] = passes) -> None:
                    if reached == point and next(passes, None) is None:
                        raise Crash

                with pytest.raises(Crash):
                    site.run(reach=reach)
                assert site.held() != site.newest()
                assert "failure" not in site.run()
                assert site.held() == site.newest()

    @pytest.mark.parametrize("damage", ["gone", "torn", "flipped", "manifest gone", "manifest garbled"])
    def test_a_damaged_segment_is_named_and_nothing_of_it_is_sent(self, site: Site, damage: str) -> None:
        harm(site.gz(2), damage)
        result = site.run()
        assert site.held() == site.newest([1, 3, 4, 5])
        message = result["failure"]["message"]
        assert message.startswith("lab was not loaded whole: 00000002: ")
        assert "backup" in message or damage == "gone"
        assert list(result["failure"]["details"]) == ["00000002"]
        assert result["changed"] is True
        assert "Traceback" not in message

    def test_a_damaged_journal_segment_is_named(self, site: Site) -> None:
        site.raw(4).write_bytes(site.raw(4).read_bytes()[:-700])
        result = site.run()
        assert "00000004: The journal's segment" in result["failure"]["message"]
        assert site.held() == site.newest([1, 2, 3, 5])
        site.raw(4).write_bytes(b"".join(site.pieces[4][:-1]))
        assert "00000004.ndjson is shorter than what was recorded" in site.run()["failure"]["message"]
        site.raw(5).unlink()
        assert "00000005.ndjson is lost" in site.run()["failure"]["message"]

    def test_a_file_that_is_not_what_it_says_is_told(self, site: Site) -> None:
        """Right checksum, wrong count: somebody wrote the manifest by hand."""
        place = site.gz(2).with_name("00000002.manifest.json")
        place.write_text(json.dumps({**json.loads(place.read_text()), "documents": 29}))
        assert "holds 28 documents and not 29" in site.run()["failure"]["message"]

    def test_bytes_that_the_journal_does_not_vouch_for_stay_out(self, site: Site) -> None:
        with site.raw(5).open("ab") as handle:
            handle.write(bulk(5000) + b'{"create":')
        site.run()
        assert site.held() == site.newest()

    def test_a_segment_that_is_sealed_while_it_is_looked_for(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        real = replay.raw_blocks

        def too_late(path: str, length: int) -> t.Iterator[bytes]:
            if site.raw(4).exists():
                seal(str(site.raw(4)), str(site.archive / "collected"), "lab", 4, NOW)
                site.raw(4).unlink()
            return real(path, length)

        monkeypatch.setattr(replay, "raw_blocks", too_late)
        assert "failure" not in site.run()
        assert site.held() == site.newest()

    def test_a_segment_that_is_sealed_between_plan_and_sending(self, site: Site) -> None:
        def reach(point: str) -> None:
            if site.raw(4).exists():
                seal(str(site.raw(4)), str(site.archive / "collected"), "lab", 4, NOW)
                site.raw(4).unlink()

        assert "failure" not in site.run(reach=reach)
        assert site.held() == site.newest()

    def test_a_raw_file_that_was_left_behind_is_not_loaded_twice(self, site: Site) -> None:
        site.raw(3).write_bytes(b"".join(site.pieces[3]))
        assert site.run()["documents"] == 5 * 28

    def test_what_elasticsearch_can_never_take_is_counted_by_reason(self, site: Site) -> None:
        for number in (3, 5, 9):
            site.elastic.odd[f"{number:032x}"] = (400, f"document_parsing_exception: [1:{number}] failed to parse")
        site.elastic.odd[f"{11:032x}"] = (400, "illegal_argument_exception: Limit of total fields")
        result = site.run(indices=[ALARMS])
        assert "failure" not in result
        assert (result["refused"], result["indexed"]) == (4, 96)
        assert {entry["reason"]: entry["count"] for entry in result["refusals"]} == {
            "document_parsing_exception": 3,
            "illegal_argument_exception": 1,
        }
        assert result["refusals"][0]["example"].endswith(": [1:3] failed to parse")
        assert "4 documents of lab can never be taken" in site.warnings[0]

    @pytest.mark.parametrize(
        ("status", "reason", "code"),
        [
            (403, "security_exception: no", "auth_failed"),
            (404, "index_not_found_exception: no such index", "answer_invalid"),
            (400, "validation_exception: this cluster has no room", "answer_invalid"),
            (500, "boom", "unreachable"),
        ],
    )
    def test_when_elasticsearch_takes_nothing_the_run_stops(
        self, site: Site, small_blocks: None, status: int, reason: str, code: str
    ) -> None:
        site.elastic.odd[f"{45:032x}"] = (status, reason)
        result = site.run(workers=2)
        assert result["failure"]["code"] == code
        assert list(result["failure"]["details"]) == ["elasticsearch"]
        assert 0 < result["indexed"] < 120 and result["changed"]
        assert (ALARMS, f"{99:032x}") not in site.held()
        assert "stopped: " in (site.folder / "log/replay.progress.log").read_text().splitlines()[-1]

    def test_when_elasticsearch_goes_away_what_is_on_its_way_is_still_counted(
        self, site: Site, small_blocks: None
    ) -> None:
        def fail(call: int) -> None:
            if call == 7:
                raise Unreachable("Elasticsearch cannot be reached.")

        site.elastic.fail = fail
        result = site.run(workers=4)
        assert result["failure"]["code"] == "unreachable"
        assert result["documents"] == sum(len(payload.splitlines()) // 2 for payload in site.elastic.sent)

    def test_lines_of_others_are_not_sent(self, site: Site) -> None:
        odd = b'{"index":{"_index":"soc-audit","_id":"x"}}\n{"@timestamp":"2026-11-20T10:00:00.000Z"}\n'
        odd += b'{"create":{"_index":".security","_id":"x"}}\n{"@timestamp":"2026-11-20T10:00:00.000Z"}\n'
        raw, place = site.folder / "raw", site.gz(2).with_name("00000002.manifest.json")
        raw.write_bytes(b"".join(site.pieces[2]))
        body = json.loads(place.read_text())
        content = archive.gzip.compress(b"".join(site.pieces[2]) + odd)
        site.gz(2).write_bytes(content)
        place.write_text(
            json.dumps({**body, "gz_sha256": archive.hashlib.sha256(content).hexdigest(), "documents": 30})
        )
        result = site.run()
        assert site.held() == site.newest()
        assert [(entry["reason"], entry["count"]) for entry in result["refusals"]] == [
            ("an action that a journal does not write", 2)
        ]

    def test_an_archive_without_a_journal_and_the_other_way_round(self, site: Site, tmp_path: Path) -> None:
        assert site.run(state_dir=str(tmp_path / "other"))["documents"] == 3 * 28
        assert site.held() == site.newest([1, 2, 3])
        site.elastic.documents.clear()
        assert site.run(archive_dir=str(tmp_path / "none"))["documents"] == 2 * 28

    def test_the_journal_is_only_read(self, site: Site) -> None:
        journal = site.state / "lab"
        before = {path.name: path.read_bytes() for path in journal.rglob("*") if path.is_file()}
        for folder in (journal, journal / "segments"):
            folder.chmod(0o500)
        site.run()
        for folder in (journal, journal / "segments"):
            folder.chmod(0o700)
        assert {path.name: path.read_bytes() for path in journal.rglob("*") if path.is_file()} == before

    def test_a_journal_that_is_being_written_to_is_read(self, site: Site) -> None:
        with contextlib.closing(sqlite3.connect(site.state / "lab/journal.sqlite")) as writer:
            writer.isolation_level = None
            writer.execute("DELETE FROM page WHERE segment = 5")  # committed, and in the write-ahead log only
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("INSERT INTO page VALUES (NULL, 4, 99999, 10)")
            assert "failure" not in site.run()
            writer.execute("ROLLBACK")
        assert site.held() == site.newest([1, 2, 3, 4])

    def test_two_runs_never_overlap(self, site: Site) -> None:
        with lock(str(site.state / "replay/lock")), pytest.raises(SocError) as caught:
            site.run()
        assert caught.value.code == "locked"
        assert site.held() == {}

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"source": "../lab"}, "is not a name"),
            ({"source": "nobody"}, "Nothing of nobody is in"),
            ({"workers": 0}, "a number from 1 to 8"),
            ({"workers": 9}, "a number from 1 to 8"),
            ({"since": "yesterday"}, "since is not a time"),
            ({"since": "2026-11-20", "until": "2026-11-20"}, "is not before until"),
            ({"indices": ["kibana-*"]}, "only patterns that start with soc-"),
        ],
    )
    def test_bad_input_gives_one_clear_sentence(self, site: Site, options: dict, sentence: str) -> None:
        with pytest.raises(ConfigError, match=sentence):
            site.run(**options)
        assert site.elastic.calls == 0


class TestProgress:
    def lines(self, site: Site) -> list[str]:
        return (site.folder / "log/replay.progress.log").read_text().splitlines()

    def test_a_person_can_follow(self, site: Site, small_blocks: None) -> None:
        seconds = iter(range(0, 10_000, 2))
        site.run(ticks=lambda: float(next(seconds)), workers=1)
        lines = self.lines(site)
        # One call takes two seconds here, and a line comes every five.
        assert len(lines) == site.elastic.calls // 3 + 1
        assert lines[0].startswith("2026-11-24T02:00:00.000Z lab: segment 1 of 5, ")
        assert "of 140 documents" in lines[0] and " left" in lines[0]
        assert lines[-1].endswith("lab: done: 140 documents sent, 140 indexed, 0 already there, 0 refused")
        shares = [float(line.split(" %")[0].split()[-1]) for line in lines[:-1]]
        assert shares == sorted(shares) and shares[-1] > 80
        assert oct((site.folder / "log/replay.progress.log").stat().st_mode & 0o777) == "0o640"
        site.run()
        assert len(self.lines(site)) == len(lines) + 1

    def test_a_log_that_cannot_be_written_is_told_and_stops_nothing(self, site: Site) -> None:
        (site.folder / "log").write_text("a file where the folder should be")
        assert "failure" not in site.run()
        assert "progress of this run cannot be followed" in site.warnings[0]
        assert site.held() == site.newest()

    def test_a_full_disk_stops_nothing(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.write

        def full(descriptor: int, payload: bytes) -> int:
            if b" lab: " in payload:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, payload)

        monkeypatch.setattr(replay.os, "write", full)
        assert "failure" not in site.run()
        assert site.held() == site.newest()


def test_find_segments_reads_manifests_and_not_archives(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "blocks_of", None)
    found, failures = find_segments(str(site.archive), str(site.state), "lab")
    assert not failures
    assert [(entry.number, bool(entry.raw), entry.contents.documents) for entry in found] == [
        (1, False, 28),
        (2, False, 28),
        (3, False, 28),
        (4, True, 28),
        (5, True, 28),
    ]
    assert found[0].manifest == read_manifest(str(site.gz(1)))


def test_a_journal_that_cannot_be_read_is_told(site: Site) -> None:
    (site.state / "lab/journal.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StateError, match="cannot be read"):
        site.run()


def harm(path: Path, damage: str) -> None:
    """Do to a sealed segment, or to its manifest, what disks and people do."""
    manifest = path.with_name(path.name.split(".")[0] + ".manifest.json")
    if damage == "gone":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "manifest gone":
        manifest.unlink()
    elif damage == "manifest garbled":
        manifest.write_bytes(manifest.read_bytes()[:100])
