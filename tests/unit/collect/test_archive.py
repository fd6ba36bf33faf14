# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealing: what is in the archive is what was in the journal, whatever dies in between, and nothing half counts."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import archive
from ansible_collections.netcure.soc.plugins.module_utils._collect.archive import (
    Manifest,
    Survey,
    blocks_of,
    operations,
    read_at,
    read_manifest,
    seal,
    sealed_numbers,
    sealed_path,
    verify,
    whole_operations,
)
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import operation
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import ArchiveError, StateError

SEALED = "2026-11-24T02:00:00.000Z"
LATER = "2026-11-25T02:00:00.000Z"
POINTS = ("before_seal", "after_compress", "before_manifest", "after_manifest")


class Crash(BaseException):
    """The process ends here."""


def bulk(number: int, index: str = "soc-lab.alarm-acme", version: int | None = None, time: str = "") -> bytes:
    """The two lines of document ``number``, as the journal writes them."""
    target: dict = {"_index": index, "_id": f"{number:032x}"}
    action = {"create": target}
    if version is not None:
        action = {"index": {**target, "version": version, "version_type": "external"}}
    time = time or f"2026-11-20T09:{number // 60 % 60:02d}:{number % 60:02d}.000Z"
    source = {"@timestamp": time, "soc": {"id": target["_id"]}, "event": {"original": "\u20ac\\n" * 40}}
    lines = [json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in (action, source)]
    return "\n".join([*lines, ""]).encode()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A segment of 500 documents in two indices, not in the order of time, some in two versions."""
    path = tmp_path / "state/00000001.ndjson"
    path.parent.mkdir()
    pieces = [bulk(number, version=10) for number in range(300, 500)] + [bulk(number) for number in range(250)]
    pieces += [bulk(number, "soc-lab.probes-acme", 11) for number in range(300, 350)]
    path.write_bytes(b"".join(pieces))
    return path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of many gzip members."""
    real = archive.raw_blocks
    monkeypatch.setattr(archive, "raw_blocks", lambda path, length=None: real(path, length, block=5000))


def seal_it(
    raw: Path, folder: Path, at: str = SEALED, reach: t.Callable[[str], None] = lambda _point: None
) -> Manifest:
    return seal(str(raw), str(folder), "lab", 1, at, reach)


def blocks(path: str, size: int = archive.BLOCK) -> list[bytes]:
    """What is in the sealed segment ``path``, as it is read."""
    with open(path, "rb") as handle:
        return list(blocks_of(handle, path, size))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class TestSeal:
    def test_the_archive_holds_the_very_bytes_and_says_so(self, raw: Path, tmp_path: Path) -> None:
        content = raw.read_bytes()
        manifest = seal_it(raw, tmp_path / "archive")
        path = tmp_path / "archive/lab/00000001.ndjson.gz"
        assert manifest.path == str(path) == sealed_path(str(tmp_path / "archive"), "lab", 1)
        assert gzip.decompress(path.read_bytes()) == content == raw.read_bytes()
        told = json.loads((path.parent / "00000001.manifest.json").read_bytes())
        assert told["format"] == 1
        assert (told["source"], told["segment"], told["sealed"], told["documents"]) == ("lab", 1, SEALED, 500)
        assert told["indices"] == {"soc-lab.alarm-acme": 450, "soc-lab.probes-acme": 50}
        assert told["first"] == ["2026-11-20T09:00:00.000Z", f"{0:032x}"]
        assert told["last"] == ["2026-11-20T09:08:19.000Z", f"{499:032x}"]
        assert (told["raw_bytes"], told["gz_bytes"]) == (len(content), path.stat().st_size)
        assert not [name for name in files(path.parent) if "partial" in name]
        assert sealed_numbers(str(tmp_path / "archive"), "lab") == [1]
        assert read_manifest(str(path)) == manifest
        verify(manifest)

    def test_ties_of_time_are_decided_by_the_id(self, tmp_path: Path) -> None:
        survey = Survey()
        for number in (63, 65, 60):
            survey.add(bulk(number, time="2026-11-20T09:01:00.000Z"))
        contents = survey.contents()
        assert (contents.first, contents.last) == (
            ("2026-11-20T09:01:00.000Z", f"{60:032x}"),
            ("2026-11-20T09:01:00.000Z", f"{65:032x}"),
        )

    @pytest.mark.parametrize("umask", [0o000, 0o077])
    def test_modes_do_not_depend_on_the_umask(self, raw: Path, tmp_path: Path, umask: int) -> None:
        seen = []

        def reach(point: str) -> None:
            if point == "after_compress":
                seen.append(stat.S_IMODE((tmp_path / "archive/lab/00000001.ndjson.gz.partial").stat().st_mode))

        before = os.umask(umask)
        try:
            seal_it(raw, tmp_path / "archive", reach=reach)
        finally:
            os.umask(before)
        assert seen == [0o640]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "archive/lab").iterdir()}
        assert modes == {0o640}
        assert not (tmp_path / "archive/lab").stat().st_mode & 0o027

    @pytest.mark.parametrize("point", POINTS)
    def test_a_crash_at_any_point_changes_nothing_in_the_end(self, raw: Path, tmp_path: Path, point: str) -> None:
        seal_it(raw, tmp_path / "truth")

        def reach(reached: str) -> None:
            if reached == point:
                raise Crash

        with pytest.raises(Crash):
            seal_it(raw, tmp_path / "archive", reach=reach)
        complete = point == "after_manifest"
        assert (tmp_path / "archive/lab/00000001.manifest.json").exists() == complete
        for again in (LATER, LATER) if complete else (SEALED, LATER):
            seal_it(raw, tmp_path / "archive", at=again)
            assert files(tmp_path / "archive") == files(tmp_path / "truth")
        raw.unlink()
        assert seal_it(raw, tmp_path / "archive").sealed == SEALED

    def test_every_point_is_passed_in_order(self, raw: Path, tmp_path: Path) -> None:
        passed: list[str] = []
        seal_it(raw, tmp_path / "archive", reach=passed.append)
        assert tuple(passed) == POINTS

    def test_an_empty_segment_is_sealed_too(self, raw: Path, tmp_path: Path) -> None:
        raw.write_bytes(b"")
        manifest = seal_it(raw, tmp_path / "archive")
        assert (manifest.contents.documents, manifest.contents.first, manifest.contents.indices) == (0, None, {})
        content = Path(manifest.path).read_bytes()
        assert content and gzip.decompress(content) == b""
        assert read_manifest(manifest.path) == manifest
        assert blocks(manifest.path) == []
        verify(manifest)

    @pytest.mark.parametrize("damage", ["gone", "torn", "flipped", "manifest gone", "manifest garbled"])
    def test_what_is_damaged_is_sealed_anew_while_the_segment_is_there(
        self, raw: Path, tmp_path: Path, damage: str
    ) -> None:
        truth = seal_it(raw, tmp_path / "archive")
        before = files(tmp_path / "archive")
        harm(Path(truth.path), damage)
        assert seal_it(raw, tmp_path / "archive") == truth
        assert files(tmp_path / "archive") == before

    @pytest.mark.parametrize("damage", ["", "manifest gone", "torn"])
    def test_other_documents_under_that_number_are_never_replaced(self, raw: Path, tmp_path: Path, damage: str) -> None:
        truth = seal_it(raw, tmp_path / "archive")
        harm(Path(truth.path), damage)
        before = files(tmp_path / "archive")
        raw.write_bytes(bulk(7))
        with pytest.raises(ArchiveError, match="other documents .* Nothing was deleted"):
            seal_it(raw, tmp_path / "archive")
        assert files(tmp_path / "archive") == before

    def test_a_segment_that_is_nowhere(self, raw: Path, tmp_path: Path) -> None:
        raw.unlink()
        with pytest.raises(StateError, match="does not have it either"):
            seal_it(raw, tmp_path / "archive")

    def test_without_its_segment_a_damaged_archive_is_told(self, raw: Path, tmp_path: Path) -> None:
        truth = seal_it(raw, tmp_path / "archive")
        raw.unlink()
        harm(Path(truth.path), "flipped")
        with pytest.raises(ArchiveError, match="not what its manifest vouches for"):
            seal_it(raw, tmp_path / "archive")

    @pytest.mark.parametrize("tail", [b'{"create":{"_index":"soc-lab.alarm-acme"', bulk(1)[:-9], b"\n\n"])
    def test_a_damaged_segment_is_not_sealed(self, raw: Path, tmp_path: Path, tail: bytes) -> None:
        with raw.open("ab") as handle:
            handle.write(tail)
        with pytest.raises(StateError, match="damaged from outside"):
            seal_it(raw, tmp_path / "archive")
        assert files(tmp_path / "archive") == {}

    def test_a_full_disk_is_told_and_leaves_nothing_half(
        self, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(archive.os, "fsync", full)
        (tmp_path / "archive/lab").mkdir(parents=True)
        with pytest.raises(ArchiveError, match="No space left on device. Nothing was deleted: make room"):
            seal_it(raw, tmp_path / "archive")
        assert files(tmp_path / "archive") == {}

    def test_a_disk_that_does_not_read_back_is_told(
        self, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def reach(point: str) -> None:
            if point == "after_compress":
                harm(tmp_path / "archive/lab/00000001.ndjson.gz.partial", "other")

        with pytest.raises(ArchiveError, match="does not read back as it was written"):
            seal_it(raw, tmp_path / "archive", reach=reach)
        assert files(tmp_path / "archive") == {}

    def test_memory_stays_flat(self, tmp_path: Path, small_blocks: None) -> None:
        """One block at a time: a longer segment has more members, not longer ones."""
        path = tmp_path / "00000001.ndjson"
        path.write_bytes(b"".join(bulk(number) for number in range(1000)))
        blocks = seal_it(path, tmp_path / "archive").blocks
        assert len(blocks) > 50
        assert max(after[0] - before[0] for before, after in zip(blocks, blocks[1:])) < 6000


class TestRead:
    def test_blocks_never_split_a_document(self, raw: Path, tmp_path: Path, small_blocks: None) -> None:
        path = seal_it(raw, tmp_path / "archive").path
        for size in (100, 333, 5000, 10**6):
            found = blocks(path, size)
            assert b"".join(found) == raw.read_bytes()
            for piece in found:
                assert (
                    piece.count(b"\n") % 2 == 0
                    and piece.startswith((b'{"create"', b'{"index"'))
                    and piece.endswith(b"\n")
                )
        assert len(blocks(path, 100)) > 100

    def test_any_bytes_can_be_had(self, raw: Path, tmp_path: Path, small_blocks: None) -> None:
        content, path = raw.read_bytes(), seal_it(raw, tmp_path / "archive").path
        size = len(content)
        for start, length in [(0, 1), (0, size), (4990, 20), (size - 5, 5), (12345, 9000), (size, 0), (3, 0)]:
            assert read_at(path, start, length) == content[start : start + length]
        for start, length in [(size - 5, 6), (size + 1, 1)]:
            with pytest.raises(ArchiveError, match="damaged"):
                read_at(path, start, length)

    @pytest.mark.parametrize("damage", ["gone", "torn", "flipped"])
    def test_damage_is_told(self, raw: Path, tmp_path: Path, damage: str) -> None:
        manifest = seal_it(raw, tmp_path / "archive")
        harm(Path(manifest.path), damage)
        for reading in (
            *([] if damage == "gone" else [lambda: blocks(manifest.path)]),
            lambda: read_at(manifest.path, 0, manifest.contents.raw_bytes),
            lambda: verify(manifest),
        ):
            with pytest.raises(ArchiveError, match=r"00000001\.ndjson\.gz"):
                reading()

    def test_a_document_without_an_end_does_not_fill_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archive, "LONGEST", 1000)
        asked = []

        def read(size: int) -> bytes:
            asked.append(size)
            assert len(asked) < 50
            return b"x" * size

        with pytest.raises(ValueError, match="without an end"):
            list(whole_operations(read, 100))
        assert len(asked) == 11

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "1"},
            {"documents": "500"},
            {"documents": True},
            {"documents": None},
            {"first": None},
            {"first": ["2026"]},
            {"indices": []},
            {"indices": {"soc-x": "1"}},
            {"source": "other"},
            {"segment": 2},
            {"blocks": [[0]]},
            {"gz_sha256": 1},
        ],
    )
    def test_a_manifest_that_is_not_one(self, raw: Path, tmp_path: Path, change: dict) -> None:
        path = Path(seal_it(raw, tmp_path / "archive").path)
        place = path.with_name("00000001.manifest.json")
        place.write_text(json.dumps({**json.loads(place.read_text()), **change}))
        with pytest.raises(StateError, match="manifest .* is damaged. Restore it"):
            read_manifest(str(path))

    @pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"format":1}', b"\xff"])
    def test_a_garbled_manifest(self, raw: Path, tmp_path: Path, content: bytes) -> None:
        path = Path(seal_it(raw, tmp_path / "archive").path)
        path.with_name("00000001.manifest.json").write_bytes(content)
        with pytest.raises(StateError, match="damaged"):
            read_manifest(str(path))

    def test_a_missing_manifest_and_one_of_the_future(self, raw: Path, tmp_path: Path) -> None:
        path = Path(seal_it(raw, tmp_path / "archive").path)
        place = path.with_name("00000001.manifest.json")
        body = json.loads(place.read_text())
        place.unlink()
        with pytest.raises(StateError, match="cannot be read: No such file"):
            read_manifest(str(path))
        place.write_text(json.dumps({**body, "format": 2}))
        with pytest.raises(StateError, match="newer version of the collection"):
            read_manifest(str(path))

    def test_nothing_is_archived_yet(self, tmp_path: Path) -> None:
        assert sealed_numbers(str(tmp_path), "lab") == []


class TestOperations:
    @pytest.mark.parametrize("data_set", ["logs", "probes"])
    def test_the_journal_writes_what_is_expected_here(
        self, document: t.Callable, data_set: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Anything else would be right too, but slow."""
        monkeypatch.setattr(archive, "_parsed", None)
        made = document(data_set)
        (found,) = operations(operation(made, 17))
        assert (found.index, found.id, found.time, found.version) == (made.index, made.id, made.time, 17)

    def test_what_the_journal_wrote_is_taken_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archive, "_parsed", None)
        pieces = [bulk(1), bulk(2, version=17), bulk(3, "soc-g360.issue-operations-acme-2")]
        found = list(operations(b"".join(pieces)))
        assert [entry.payload for entry in found] == pieces
        assert [entry.version for entry in found] == [None, 17, None]
        assert [entry.index[:12] for entry in found] == ["soc-lab.alar", "soc-lab.alar", "soc-g360.iss"]
        assert found[1][1:4] == (f"{2:032x}", 17, "2026-11-20T09:00:02.000Z")

    @pytest.mark.parametrize(
        ("action", "source", "sent"),
        [
            ('{ "create" : {"_id":"a","_index":"soc-x"}}', '{"a":1,"@timestamp":"2026-11-20T10:00:00+01:00"}', True),
            (
                '{"index":{"version":3,"version_type":"external","_index":"soc-x","_id":"a"}}',
                '{"a":1,"@timestamp":1795166043}',
                True,
            ),
            ('{"create":{"_index":"soc-x","_id":"a","_index":"soc-y"}}', '{"@timestamp":"2026-11-20"}', True),
            ('{"create":{"_index":"soc-x","_id":"a"}}', '{"time":1}', False),
            ('{"create":{"_index":"soc-x","_id":"a"}}', "[1]", False),
            ('{"create":{"_index":"soc-x","_id":"a"}}', "", False),
            (
                '{"create":{"_index":"soc-x","_id":"a","pipeline":"p"}}',
                '{"@timestamp":"2026-11-20T10:00:00.000Z"}',
                False,
            ),
            ('{"create":{"_index":"soc-*","_id":"a"}}', '{"@timestamp":"2026-11-20T10:00:00.000Z"}', False),
            ('{"create":{"_index":"kibana","_id":"a"}}', '{"@timestamp":"2026-11-20T10:00:00.000Z"}', False),
            ('{"create":{"_index":"soc-x","_id":""}}', '{"@timestamp":"2026-11-20T10:00:00.000Z"}', False),
            ('{"create":{"_index":"soc-x","_id":7}}', '{"@timestamp":"2026-11-20T10:00:00.000Z"}', False),
            ('{"create":{"_index":"soc-x"}}', '{"@timestamp":"2026-11-20T10:00:00.000Z"}', False),
            ('{"index":{"_index":"soc-x","_id":"a"}}', '{"@timestamp":"2026-11-20T10:00:00.000Z"}', False),
            (
                '{"index":{"_index":"soc-x","_id":"a","version":true,"version_type":"external"}}',
                '{"@timestamp":"2026-11-20T10:00:00.000Z"}',
                False,
            ),
            (
                '{"index":{"_index":"soc-x","_id":"a","version":3,"version_type":"external_gte"}}',
                '{"@timestamp":"2026-11-20T10:00:00.000Z"}',
                False,
            ),
            ('{"delete":{"_index":"soc-x","_id":"a"}}', bulk(1).decode().splitlines()[0], False),
            ('{"update":{"_index":"soc-x","_id":"a"}}', '{"@timestamp":"2026-11-20T10:00:00.000Z"}', False),
            (
                '{"create":{"_index":"soc-' + "x" * 252 + '","_id":"a"}}',
                '{"@timestamp":"2026-11-20T10:00:00.000Z"}',
                False,
            ),
            (
                '{"create":{"_index":"soc-x","_id":"' + "x" * 513 + '"}}',
                '{"@timestamp":"2026-11-20T10:00:00.000Z"}',
                False,
            ),
            ("no json", "at all", False),
        ],
    )
    def test_what_somebody_else_wrote_is_checked(self, action: str, source: str, sent: bool) -> None:
        first, found, last = operations(bulk(1) + f"{action}\n{source}\n".encode() + bulk(2))
        assert (first.payload, last.payload) == (bulk(1), bulk(2))
        assert bool(found.fault) is not sent
        if sent:
            # Only what was checked goes out: parsed again it is the same, and nothing is in it twice.
            written = found.payload.splitlines()[0]
            target = next(iter(json.loads(written).values()))
            assert (target["_index"], target["_id"]) == (found.index, found.id)
            assert written.count(b"_index") == 1
            assert found.payload.splitlines()[1] == source.encode()
            assert found.time.startswith("2026-11-20T") and len(found.time) == 24


def harm(path: Path, damage: str) -> None:
    """Do to a sealed segment, or to its manifest, what disks and people do."""
    manifest = path.with_name("00000001.manifest.json")
    if damage == "gone":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "other":
        path.write_bytes(gzip.compress(bulk(8)))
    elif damage == "manifest gone":
        manifest.unlink()
    elif damage == "manifest garbled":
        manifest.write_bytes(manifest.read_bytes()[:100])
