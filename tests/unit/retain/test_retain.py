# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import ArchiveError, ConfigError, Refused
from ansible_collections.netcure.soc.plugins.module_utils._retain import archive as archive_module
from ansible_collections.netcure.soc.plugins.module_utils._retain.archive import Archive, read_back, restoring_operation
from ansible_collections.netcure.soc.plugins.module_utils._retain.plan import (
    IndexPlan,
    Plan,
    Victim,
    check_limits,
    excess,
    rules_of,
)


def victim(key: str, seq_no: int = 1) -> Victim:
    return Victim(key, "2026-11-20T12:00:00.000Z", seq_no, 1)


class TestRules:
    def test_the_first_rule_that_matches_counts(self) -> None:
        rules = rules_of([{"pattern": "soc-a.alarm-*", "keep": 5}, {"pattern": "soc-*.*-*", "keep": 10}])
        counts = {"soc-a.alarm-x": 7, "soc-a.probes-x": 11, "soc-b.alarm-x": 10, "soc-audit": 99}
        assert excess(counts, rules) == [("soc-a.alarm-x", 7, 5), ("soc-a.probes-x", 11, 10)]

    @pytest.mark.parametrize("pattern", ["*", "soc-*", ".kibana", "logs-*", "soc-**", "soc-*-*"])
    def test_patterns_that_match_everything_or_something_else_are_refused(self, pattern: str) -> None:
        with pytest.raises(ConfigError):
            rules_of([{"pattern": pattern, "keep": 5}])

    @pytest.mark.parametrize(
        "rules", [[], [{"pattern": "soc-a.b-c", "keep": 0}], [{"pattern": "soc-a.b-c", "keep": -1}]]
    )
    def test_rules_that_keep_nothing_are_refused(self, rules: list) -> None:
        with pytest.raises(ConfigError):
            rules_of(rules)


class TestPlan:
    def test_the_hash_names_every_document_and_version(self) -> None:
        plans = [
            Plan((IndexPlan("soc-a", 3, 2, (victim("1"),)),)),
            Plan((IndexPlan("soc-a", 3, 2, (victim("2"),)),)),
            Plan((IndexPlan("soc-a", 3, 2, (victim("1", seq_no=2),)),)),
            Plan((IndexPlan("soc-b", 3, 2, (victim("1"),)),)),
            Plan(()),
        ]
        assert len({plan.hash for plan in plans}) == len(plans)
        assert plans[0].hash == Plan((IndexPlan("soc-a", 9, 8, (victim("1"),)),)).hash

    def test_too_much_is_refused_as_a_whole(self) -> None:
        over = [("soc-a", 4, 2), ("soc-b", 9, 8)]
        check_limits(over, 3)
        with pytest.raises(Refused, match="would delete 3 documents, more than max_deletions") as caught:
            check_limits(over, 2)
        assert caught.value.details == {"planned": {"soc-a": 2, "soc-b": 1}}


def hit(key: str, version: int = 3) -> dict:
    return {"_index": "soc-a", "_id": key, "_version": version, "_source": {"k": key, "text": "é\n"}}


class TestArchive:
    def test_holds_what_the_bulk_api_takes(self, tmp_path: Path) -> None:
        archive = Archive(str(tmp_path / "soc-a"), "one")
        archive.add([hit("1"), hit("2")])
        archive.add([hit("3")])
        manifest = archive.seal({"index": "soc-a"})
        lines = [json.loads(line) for line in gzip.decompress(Path(archive.path).read_bytes()).splitlines()]
        assert [line["index"]["_id"] for line in lines[::2]] == ["1", "2", "3"]
        assert lines[1] == {"k": "1", "text": "é\n"}
        assert manifest["documents"] == 3
        assert manifest["sha256"] == hashlib.sha256(Path(archive.path).read_bytes()).hexdigest()
        assert json.loads(Path(archive.path + ".manifest.json").read_bytes()) == manifest
        assert sorted(path.name for path in (tmp_path / "soc-a").iterdir()) == [
            "one.ndjson.gz",
            "one.ndjson.gz.manifest.json",
        ]
        assert Path(archive.path).stat().st_mode & 0o007 == 0

    def test_a_document_comes_back_above_the_mark_that_deleting_left(self) -> None:
        action = json.loads(restoring_operation(hit("1", version=41)).splitlines()[0])
        assert action == {"index": {"_index": "soc-a", "_id": "1", "version": 42, "version_type": "external_gte"}}

    def test_bytes_that_do_not_read_back_leave_no_archive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def rotten(path: str) -> tuple[str, str, int]:
            data = bytearray(Path(path).read_bytes())
            data[len(data) // 2] ^= 0xFF
            Path(path).write_bytes(data)
            return read_back(path)

        monkeypatch.setattr(archive_module, "read_back", rotten)
        archive = Archive(str(tmp_path), "one")
        archive.add([hit(str(number)) for number in range(50)])
        with pytest.raises(ArchiveError, match="Nothing was deleted"):
            archive.seal({})
        assert list(tmp_path.iterdir()) == []

    def test_another_content_than_what_was_written_leaves_no_archive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def swapped(path: str) -> tuple[str, str, int]:
            content = gzip.decompress(Path(path).read_bytes()).replace(b'"1"', b'"2"')
            Path(path).write_bytes(gzip.compress(content))
            return read_back(path)

        monkeypatch.setattr(archive_module, "read_back", swapped)
        archive = Archive(str(tmp_path), "one")
        archive.add([hit("1")])
        with pytest.raises(ArchiveError, match="does not read back as it was written. Nothing was deleted"):
            archive.seal({})
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_leaves_no_archive(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = Archive(str(tmp_path), "one")
        monkeypatch.setattr(archive, "_handle", open("/dev/full", "wb", buffering=0))  # noqa: SIM115
        with pytest.raises(ArchiveError, match="No space left on device. Nothing was deleted"):
            archive.add([hit("1")])
        assert list(tmp_path.iterdir()) == []

    def test_the_same_documents_give_the_same_bytes(self, tmp_path: Path) -> None:
        digests = set()
        for name in ("one", "two"):
            archive = Archive(str(tmp_path), name)
            archive.add([hit("1")])
            digests.add(archive.seal({})["sha256"])
        assert len(digests) == 1
