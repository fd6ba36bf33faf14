# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""soc_replay through Ansible against a real Elasticsearch: what was collected and sealed comes back, and only once."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.archive import seal

from tests.conftest import Search, run_here, run_module

NOW = "2026-11-24T02:00:00Z"
EVENTS, STATES = "soc-lab.operations-acme", "soc-lab.alarm-acme"


def bulk(index: str, number: int, version: int | None = None, **fields: t.Any) -> bytes:
    """The two lines that the journal writes for document ``number``, of minute ``number``."""
    target: dict = {"_index": index, "_id": f"{number:032x}"}
    action = {"create": target}
    if version is not None:
        action = {"index": {**target, "version": version, "version_type": "external"}}
    source = {
        "@timestamp": f"2026-11-20T{number // 60:02d}:{number % 60:02d}:00.000Z",
        "organization": {"id": "c1", "name": "Acme NV"},
        "event": {"id": str(number), "original": "x" * 100},
        "soc": {"id": target["_id"], "reviewed": version == 3},
        **fields,
    }
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in (action, source))


class Site:
    """Two sealed segments and one of the journal, as collecting left them; Elasticsearch has all of it."""

    def __init__(self, search: Search, folder: Path) -> None:
        self.search, self.archive, self.state = search, folder / "archive", folder / "state"
        self.segments = {
            1: [bulk(EVENTS, number) for number in range(200)] + [bulk(STATES, number, 1) for number in range(200)],
            # In the order of a walk, which is not that of time; every second alarm was reviewed since.
            2: [bulk(STATES, number, 3) for number in range(198, -2, -2)]
            + [bulk(EVENTS, number) for number in range(200, 300)],
            3: [bulk(STATES, number, 2) for number in range(1, 200, 2)],
        }
        raws = self.state / "lab/segments"
        raws.mkdir(parents=True)
        for number, pieces in self.segments.items():
            raw, content = raws / f"{number:08d}.ndjson", b"".join(pieces)
            raw.write_bytes(content)
            assert set(search.admin.bulk(content).statuses) <= {200, 201}
            if number < 3:
                seal(str(raw), str(self.archive / "collected"), "lab", number, NOW)
                raw.unlink()
        with contextlib.closing(sqlite3.connect(self.state / "lab/journal.sqlite")) as database:
            database.execute("CREATE TABLE page (segment INTEGER, start INTEGER, length INTEGER)")
            database.execute("INSERT INTO page VALUES (3, 0, ?)", (len(content),))
            database.commit()
        self.options = {
            "source": "lab",
            "archive_dir": str(self.archive),
            "state_dir": str(self.state),
            "log_dir": str(folder / "log"),
            "now": NOW,
            **search.options("collector"),
        }

    def run(self, *flags: str, ansible: bool = False, **options: t.Any) -> t.Any:
        """One run, in this process or through Ansible."""
        return (run_module if ansible else run_here)("soc_replay", {**self.options, **options}, *flags)

    def documents(self) -> dict[tuple[str, str], tuple[int | None, dict]]:
        """Everything that Elasticsearch has; with its version, where that is ours."""
        hits = self.search.documents("soc-lab.*")
        ours = {STATES: lambda hit: hit["_version"], EVENTS: lambda _hit: None}
        return {(hit["_index"], hit["_id"]): (ours[hit["_index"]](hit), hit["_source"]) for hit in hits}

    def delete(self, keys: t.Iterable[tuple[str, str]]) -> None:
        """Delete documents by hand, and let Elasticsearch forget that."""
        lines = [{"delete": {"_index": index, "_id": identity}} for index, identity in keys]
        outcome = self.search.admin.bulk(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        assert set(outcome.statuses) == {200}
        self.search.admin.call("indices.put_settings", index="soc-lab.*", settings={"index.gc_deletes": "0s"})
        time.sleep(0.5)  # Elasticsearch looks at its clock five times a second
        self.search.admin.call("indices.refresh", index="soc-lab.*")


@pytest.fixture
def site(search: Search, tmp_path: Path) -> t.Iterator[Site]:
    yield Site(search, tmp_path)
    search.remove()


def test_a_new_elasticsearch_gets_everything_and_only_once(site: Site, search: Search) -> None:
    before = site.documents()
    assert len(before) == 500
    assert {source["soc"]["reviewed"] for version, source in before.values() if version == 3} == {True}
    search.remove()

    rehearsed = site.run("--check", "--diff", ansible=True, **search.options("escalator"))
    assert not rehearsed.failed, rehearsed.output
    assert (rehearsed.changed, rehearsed.documents, rehearsed.indexed) == (True, 700, 700)
    assert site.documents() == {}

    done = site.run("--diff", ansible=True)
    assert not done.failed, done.output
    assert done.changed
    assert (done.documents, done.refused) == (700, 0)
    assert [entry["sealed"] for entry in done.segments] == [True, True, False]
    assert f"{EVENTS}" in done.output
    assert site.documents() == before

    again = site.run(ansible=True)
    assert (again.changed, again.indexed, again.already_indexed) == (False, 0, 700)
    assert site.run("--check", **search.options("escalator")).changed is False
    assert site.documents() == before


@pytest.mark.parametrize("workers", [1, 4])
def test_documents_that_were_deleted_by_hand_come_back(site: Site, workers: int) -> None:
    before = site.documents()
    gone = [*list(before)[::7]]
    site.delete(gone)
    assert len(site.documents()) == 500 - len(gone)
    told = site.run("--check", **site.search.options("escalator")) if workers == 1 else None
    done = site.run(workers=workers)
    assert done.changed and not done.failed, done.output
    # A deleted alarm may come back in its older version first.
    assert len(gone) <= done.indexed <= 2 * len(gone)
    assert told is None or len(gone) <= told.indexed <= 2 * len(gone)
    assert site.documents() == before


def test_a_span_and_an_index(site: Site) -> None:
    before = site.documents()
    site.delete(before)
    done = site.run(since="2026-11-20T01:00:00Z", until="2026-11-20T02:00:00+00:00", indices=["soc-lab.op*"])
    assert (done.indexed, done.failed) == (60, False)
    assert site.documents() == {
        key: value for key, value in before.items() if key[0] == EVENTS and 60 <= int(key[1], 16) < 120
    }
    assert site.run().changed
    assert site.documents() == before


def test_an_older_version_never_replaces_a_newer_one(site: Site, search: Search) -> None:
    newer = json.loads(bulk(STATES, 5, 9).splitlines()[1]) | {"message": "from tomorrow"}
    search.admin.call(
        "index", index=STATES, id=f"{5:032x}", document=newer, version=9, version_type="external", refresh=True
    )
    assert site.run().changed is False
    assert site.documents()[(STATES, f"{5:032x}")] == (9, newer)


def test_a_damaged_segment_is_named_and_the_others_are_loaded(site: Site, search: Search) -> None:
    before = site.documents()
    search.remove()
    path = site.archive / "collected/lab/00000002.ndjson.gz"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    done = site.run(ansible=True)
    assert done.failed
    assert done.failure["code"] == "archive_unverified"
    assert done.msg.startswith(f"lab was not loaded whole: 00000002: The archive {path} is not what its manifest")
    assert "Traceback" not in done.output
    # Those whose only version is in the damaged segment are lacking.
    assert site.documents().keys() == before.keys() - {(EVENTS, f"{number:032x}") for number in range(200, 300)}


def test_what_can_never_be_taken_is_counted(site: Site, search: Search) -> None:
    raw = site.state / "lab/segments/00000003.ndjson"
    wrong = [bulk(STATES, 900 + number, 1, source={"ip": "no address"}) for number in range(3)]
    content = b"".join([*site.segments[3], *wrong])
    raw.write_bytes(content)
    with contextlib.closing(sqlite3.connect(site.state / "lab/journal.sqlite")) as database:
        database.execute("UPDATE page SET length = ?", (len(content),))
        database.commit()
    done = site.run()
    assert not done.failed
    assert (done.refused, done.changed) == (3, False)
    assert [(entry["reason"], entry["count"]) for entry in done.refusals] == [("document_parsing_exception", 3)]


def test_check_mode_with_a_key_that_may_not_read(site: Site, search: Search) -> None:
    told = site.run("--check", **search.options("reader-muller-zonen-bv"))
    assert not told.failed
    assert (told.changed, told.indexed) == (True, 700)
    assert "may not read" in told.output


def test_a_key_that_may_not_write_is_told(site: Site, search: Search) -> None:
    done = site.run(**search.options("escalator"))
    assert done.failed
    assert done.failure["code"] == "auth_failed"
    assert "refused this identity" in done.msg
    assert done.changed is False


def test_progress_and_secrets(site: Site, search: Search) -> None:
    done = site.run("-vvv", ansible=True)
    secret = search.keys["collector"].read_text().strip()
    log = (site.state.parent / "log/replay.progress.log").read_text()
    assert secret not in done.output + log
    assert log.splitlines()[-1].endswith("lab: done: 700 documents sent, 0 indexed, 700 already there, 0 refused")
