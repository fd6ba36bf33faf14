# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""es_prune through Ansible against a real Elasticsearch: exactly the newest N, and all that went can come back."""

from __future__ import annotations

import collections
import gzip
import json
import random
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import clock
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import AnswerError
from ansible_collections.netcure.soc.plugins.module_utils._retain import run as retain
from ansible_collections.netcure.soc.plugins.module_utils._retain.plan import Rule
from ansible_collections.netcure.soc.plugins.module_utils._retain.run import carry_out, make_plan

from tests.conftest import ROOT, Search, run_here, run_module

INDEX = "soc-lab.alarm-acme"
NOW = "2026-11-09T09:00:00Z"


@pytest.fixture
def filled(search: Search) -> t.Iterator[Search]:
    """Two indices of 130 and 40 documents, of which nine at a time share their time."""
    rng = random.Random(1)
    lines = []
    for index, count in ((INDEX, 130), ("soc-lab.probes-acme", 40), ("soc-audit", 60)):
        for number in rng.sample(range(count), count):
            identity = f"{number:032x}"
            action = {"index": {"_index": index, "_id": identity, "version": 1000 + number, "version_type": "external"}}
            time = f"2026-11-01T00:{number // 9:02d}:00.000Z"
            source = {"@timestamp": time, "event": {"id": str(number)}, "soc": {"id": identity, "reviewed": False}}
            lines += [json.dumps(action), json.dumps(source)]
    assert set(search.admin.bulk(("\n".join(lines) + "\n").encode()).statuses) <= {200, 201}
    yield search
    search.remove()


@pytest.fixture
def prune(filled: Search, tmp_path: Path) -> t.Callable:
    options = {
        "rules": [{"pattern": "soc-lab.*-*", "keep": 100}],
        "archive_dir": str(tmp_path / "archive"),
        "state_dir": str(tmp_path / "state"),
        "now": NOW,
        **filled.options("retention"),
    }

    def run(*flags: str, ansible: bool = False, **more: t.Any) -> t.Any:
        return (run_module if ansible else run_here)("es_prune", {**options, **more}, *flags)

    return run


def documents(search: Search, index: str = INDEX) -> dict[str, dict]:
    return {hit["_id"]: hit["_source"] for hit in search.documents(index)}


def count(search: Search, index: str) -> int:
    search.admin.call("indices.refresh", index=index)
    return search.admin.call("count", index=index)["count"]


def archived(folder: Path) -> bytes:
    return b"".join(gzip.decompress(path.read_bytes()) for path in sorted(folder.rglob("*.ndjson.gz")))


def test_check_prune_again_and_restore(filled: Search, prune: t.Callable, tmp_path: Path) -> None:
    before = documents(filled)
    rehearsed = prune("--check", "--diff", ansible=True)
    assert rehearsed.changed and rehearsed.planned == 30, rehearsed.output
    assert rehearsed.plan[0]["oldest"] == "2026-11-01T00:00:00.000Z"
    assert "30 go, from 2026-11-01T00:00:00.000Z to 2026-11-01T00:03:00.000Z" in rehearsed.output
    assert documents(filled) == before
    assert not (tmp_path / "archive").exists() and not (tmp_path / "state").exists()

    done = prune(ansible=True)
    assert done.plan_hash == rehearsed.plan_hash
    assert (done.archived, done.deleted, done.changed) == (30, 30, True)
    left = documents(filled)
    # The newest 100 by time and then id, though the cut goes through nine documents of one time.
    assert sorted(left) == sorted(before)[30:]
    assert len(documents(filled, "soc-lab.probes-acme")) == 40
    assert count(filled, "soc-audit") == 60

    again = prune()
    assert (again.changed, again.plan) == (False, [])

    for _twice in range(2):
        outcome = filled.admin.bulk(archived(tmp_path / "archive"))
        assert set(outcome.statuses) <= {200, 201}
    assert documents(filled) == before


def test_the_documented_command_brings_documents_back(filled: Search, prune: t.Callable, tmp_path: Path) -> None:
    before = documents(filled)
    prune()
    guide = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    command = re.search(r"## Bringing documents back\n\n```\n(.*?)```", guide, re.DOTALL).group(1)
    endpoint = filled.endpoint
    (tmp_path / "curl.conf").write_text(f'cacert = "{endpoint.ca_path}"\nuser = "elastic:{endpoint.password}"\n')
    (archive,) = (tmp_path / "archive").rglob("*.ndjson.gz")
    command = command.replace("/srv/soc/archive/pruned/INDEX/FILE.ndjson.gz", str(archive))
    command = command.replace("https://soc.example:9200", endpoint.url)
    for _twice in range(2):
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout == '{"errors":false}', done.stdout + done.stderr
    assert documents(filled) == before


def test_what_changed_meanwhile_stays(filled: Search, tmp_path: Path) -> None:
    def touch(number: int) -> None:
        source = {
            "@timestamp": "2026-11-01T00:00:00.000Z",
            "event": {"id": str(number)},
            "soc": {"id": f"{number:032x}", "reviewed": True},
        }
        filled.admin.call(
            "index", index=INDEX, id=f"{number:032x}", document=source, version=5000, version_type="external"
        )

    retention = filled.as_duty("retention")
    plan, _unread = make_plan(retention, [Rule(INDEX, 100)], 1000)
    touch(0)  # after the plan
    reach = {"mid_trim": lambda: touch(1)}  # after the archive
    done = carry_out(
        plan.indices[0], plan.hash, retention, str(tmp_path), clock(NOW), lambda point: reach.pop(point, lambda: None)()
    )
    assert (done["archived"], done["deleted"], done["changed_meanwhile"]) == (29, 28, 2)
    left = documents(filled)
    assert left[f"{0:032x}"]["soc"]["reviewed"] is True
    assert left[f"{1:032x}"]["soc"]["reviewed"] is True
    plan, _unread = make_plan(retention, [Rule(INDEX, 100)], 1000)
    carry_out(plan.indices[0], plan.hash, retention, str(tmp_path), clock(NOW))
    assert len(documents(filled)) == 100
    restored = collections.Counter(
        json.loads(line)["event"]["id"] for line in archived(tmp_path).splitlines()[1::2] if b"true" in line
    )
    assert restored == {"0": 1, "1": 1}


def test_an_archive_that_cannot_be_written_deletes_nothing(filled: Search, prune: t.Callable, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")
    outcome = prune()
    assert outcome.failed
    assert outcome.failure["code"] in ("archive_unverified", "state_unusable")
    assert len(documents(filled)) == 130


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ({"max_deletions": 29}, "refused", "would delete 30 documents, more than max_deletions (29)"),
        ({"rules": [{"pattern": "*", "keep": 1}]}, "config_invalid", "only patterns that start with soc-"),
        (
            {"rules": [{"pattern": "soc-*", "keep": 1}]},
            "config_invalid",
            "would also match the indices that the SOC keeps for itself",
        ),
        ({"rules": [{"pattern": "soc-lab.alarm-acme", "keep": 0}]}, "config_invalid", "must keep at least 1"),
    ],
)
def test_what_would_delete_too_much_is_refused(
    filled: Search, prune: t.Callable, options: dict, code: str, sentence: str
) -> None:
    outcome = prune(**options)
    assert outcome.failed
    assert outcome.failure["code"] == code
    assert sentence in outcome.msg
    assert len(documents(filled)) == 130


def test_a_key_that_may_not_delete_is_told(filled: Search, prune: t.Callable) -> None:
    outcome = prune(**filled.options("escalator"))
    assert outcome.failed
    assert outcome.failure["code"] == "auth_failed"
    assert len(documents(filled)) == 130


def test_an_index_that_cannot_be_read_does_not_stop_the_others(
    filled: Search, prune: t.Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_index = retain._plan_index

    def broken(elastic: t.Any, index: str, keep: int) -> t.Any:
        if "probes" in index:
            raise AnswerError("its shards are not there")
        return plan_index(elastic, index, keep)

    monkeypatch.setattr(retain, "_plan_index", broken)
    outcome = prune(rules=[{"pattern": "soc-lab.*-*", "keep": 30}])
    assert outcome.failed
    assert "soc-lab.probes-acme: its shards are not there" in outcome.msg
    assert len(documents(filled)) == 30
    assert len(documents(filled, "soc-lab.probes-acme")) == 40
