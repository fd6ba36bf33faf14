# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures, one JSON line each: name, value, unit, bar, ok, peer.

CPU seconds are those of this process, as the operating system counts them (user and system), so that a busy machine
does not change them much. ``bar`` is what the value must reach (or stay under, where less is better), ``peer`` the
same work done the usual way in the same run, null where there is none.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import elasticsearch
import orjson
from ansible_collections.netcure.soc.plugins.module_utils._collect.journal import Journal
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import Company
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import load, merge
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles.cyberalarm import PROFILE
from ansible_collections.netcure.soc.plugins.module_utils._collect.ship import ship
from ansible_collections.netcure.soc.plugins.module_utils._collect.vendor import Directory
from ansible_collections.netcure.soc.plugins.module_utils._collect.walk import Rules, collect_set
from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import Elastic
from elasticsearch.helpers import streaming_bulk

from lab.world import World

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 9, 9, tzinfo=UTC)
RECORDS, PAGE = 40_000, 500
RULES = Rules(timedelta(minutes=40), Directory({}, None), Company("provider", "Provider"), timedelta(days=30))


def cpu() -> float:
    """User and system seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def tell(name: str, value: float, unit: str, goal: float, peer: float | None = None, less: bool = False) -> bool:
    ok = value <= goal if less else value >= goal
    line = {
        "name": name,
        "value": round(value, 1),
        "unit": unit,
        "bar": goal,
        "ok": ok,
        "peer": peer and round(peer, 1),
    }
    print(json.dumps(line), flush=True)
    return ok


class Pages:
    """Stands for the HTTP client: pages of CyberAlarm as bytes, decoded when they are asked for."""

    def __init__(self, records: list[dict]) -> None:
        self.pages, self.total = [], len(records)
        for start in range(0, len(records), PAGE):
            part = records[start : start + PAGE]
            hits = [{"sort": [1, record["id"]], "_source": record} for record in part]
            self.pages.append(orjson.dumps({"hits": hits}))
        self.pages.append(b'{"hits":[]}')
        self.position = 0

    def json(self, _method: str, _url: str, **_asked: object) -> t.Any:
        self.position += 1
        return orjson.loads(self.pages[self.position - 1])


def alarms() -> Pages:
    """A week of alarms. Nothing else of the world that made them stays in memory, where it would cost the measured work."""
    world = World(seed=1, per_day=RECORDS // 28, start=NOW - timedelta(days=7), now=NOW)
    return Pages([record.body for record in world.log("cyberalarm", "logs") if record.body["level"] < 4][:RECORDS])


def journal_path(folder: str, pages: Pages) -> tuple[float, Journal]:
    """Records per CPU second from the bytes of a page to a durable journal."""
    source = load(merge(PROFILE, {"base_url": "https://vendor.example"}))
    journal = Journal(folder)
    began = cpu()
    tally = collect_set(journal, source, source.sets["logs"], pages, lambda: NOW, RULES).tally
    spent = cpu() - began
    assert tally.new == pages.total, tally
    return pages.total / spent, journal


def bulk_path(journal: Journal, port: int) -> tuple[float, float]:
    """Documents per CPU second from the journal to a server that does nothing: ours, and the client's streaming_bulk."""
    address = f"http://127.0.0.1:{port}"
    lines = [line for batch in journal.batches() for line in batch.payload.splitlines()[1::2]]
    serializers = {"application/json": elasticsearch.OrjsonSerializer()}
    ours = Elastic(elasticsearch.Elasticsearch(address, serializers=serializers))
    began = cpu()
    assert ship(journal, ours, lambda: NOW).indexed == len(lines)
    fast = len(lines) / (cpu() - began)
    documents = [orjson.loads(line) for line in lines]
    client = elasticsearch.Elasticsearch(address)
    began = cpu()
    actions = (
        {"_op_type": "create", "_index": "soc-x", "_id": entry["soc"]["id"], "_source": entry} for entry in documents
    )
    assert sum(ok for ok, _item in streaming_bulk(client, actions)) == len(documents)
    return fast, len(documents) / (cpu() - began)


def lab(folder: str) -> list[bool]:
    """Seconds of a first and a second `make lab`, the first with Elasticsearch started anew."""
    told = []
    subprocess.run([sys.executable, "-m", "lab", "down", "--folder", folder], cwd=ROOT, check=True, capture_output=True)
    for name, goal in (("lab, services started anew", 300), ("lab, services running", 120)):
        done = subprocess.run(
            [sys.executable, "-m", "lab", "run", "--folder", folder], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout.decode()
        summary = json.loads((Path(folder) / "summary.json").read_bytes())
        told.append(tell(name, summary["seconds"]["total"], "s", goal, less=True))
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=".lab")
    parser.add_argument("--skip-lab", action="store_true")
    options = parser.parse_args()
    pages = alarms()
    gc.collect()
    sink = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.sink"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert sink.stdout
        port = int(sink.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            rate, journal = journal_path(folder, pages)
            told = [tell("journal path: page, normalise, fsync, commit", rate, "records/CPU-s", 20_000)]
            with journal:
                ours, usual = bulk_path(journal, port)
        told.append(tell("client bulk path: journal to wire, plain", ours, "documents/CPU-s", 200_000, usual))
    finally:
        sink.kill()
        sink.wait()
    if not options.skip_lab:
        told += lab(options.folder)
    return 0 if all(told) else 1


if __name__ == "__main__":
    sys.exit(main())
