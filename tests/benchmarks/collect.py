# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of collecting (see figures.py): what a record costs on its way in and out, how that grows, and an idle cycle.

``python -m tests.benchmarks.collect --folder .lab [--replay 1000000] [--only NAME]``
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import typing as t
from datetime import timedelta
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
from ansible_collections.netcure.soc.plugins.module_utils._core.rest import Http
from elasticsearch.helpers import streaming_bulk

from tests.benchmarks.figures import ROOT, cpu, peak_memory, server, tell
from tests.benchmarks.replay import measure_in_lab
from tests.benchmarks.vendor import END

RECORDS = 40_000
RULES = Rules(timedelta(minutes=40), Directory({}, None), Company("provider", "Provider"), timedelta(days=30))
CYCLE = ("guardian360", "cyberalarm")


def journal_path(folder: str, records: int) -> tuple[float, Journal]:
    """CPU seconds for ``records`` alarms from HTTPS to a durable journal, and that journal."""
    authority = os.path.join(folder, "ca.pem")
    with server("vendor", authority, str(records)) as port:
        source = load(merge(PROFILE, {"base_url": f"https://localhost:{port}"}))
        journal = Journal(os.path.join(folder, f"state-{records}"))
        http = Http(ca_path=authority)
        began = cpu()
        tally = collect_set(journal, source, source.sets["logs"], http, lambda: END, RULES).tally
        spent = cpu() - began
    assert tally.new == records, tally
    return spent, journal


def ship_path(journal: Journal, compress: bool) -> tuple[float, float]:
    """Documents per CPU second from the journal to a server that does nothing: ours, and the client's streaming_bulk.

    The better of three turns each: whatever else the machine does can only add.
    """
    lines = [line for batch in journal.batches() for line in batch.payload.splitlines()[1::2]]
    documents = [orjson.loads(line) for line in lines]
    serializers = {"application/json": elasticsearch.OrjsonSerializer()}  # as connect() has it
    ours, usual = [], []
    with server("sink") as port, server("sink") as other:
        client = elasticsearch.Elasticsearch(f"http://127.0.0.1:{port}", serializers=serializers)
        elastic = Elastic(client, compress=compress)
        peer = elasticsearch.Elasticsearch(f"http://127.0.0.1:{other}", http_compress=compress)
        for _turn in range(3):
            elastic.bulk(b'{"create":{}}\n{}\n')  # the first call imports half a library
            began = cpu()
            assert ship(journal, elastic, lambda: END).indexed == len(lines)
            ours.append(cpu() - began)
            journal._db.execute("UPDATE page SET shipped = 0")
            began = cpu()
            actions = (
                {"_op_type": "create", "_index": "soc-x", "_id": entry["soc"]["id"], "_source": entry}
                for entry in documents
            )
            assert sum(ok for ok, _item in streaming_bulk(peer, actions)) == len(documents)
            usual.append(cpu() - began)
    return len(lines) / min(ours), len(lines) / min(usual)


def ways() -> list[bool]:
    """What a record costs on its way in, and on its way out."""
    told = []
    with tempfile.TemporaryDirectory() as folder:
        spent, journal = journal_path(folder, RECORDS)
        told.append(tell("journal path: HTTPS, normalise, fsync, commit", RECORDS / spent, "records/CPU-s", 20_000))
        for name, compress, goal in (("plain", False, 200_000), ("gzip-1", True, 100_000)):
            ours, usual = ship_path(journal, compress)
            told.append(tell(f"ship path: journal to wire, {name}", ours, "documents/CPU-s", goal, usual))
            told.append(tell(f"ship path, {name}: times streaming_bulk", ours / usual, "x", 5))
        journal.close()
    return told


def growth() -> list[bool]:
    """How the cost of a record grows with the number of records: in a process of its own each, from nothing."""
    costs = {}
    for records in (RECORDS // 10, RECORDS, RECORDS * 10):
        command = [sys.executable, "-m", "tests.benchmarks.collect", "--one", str(records)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        costs[records] = json.loads(done.stdout)
    first = costs[RECORDS // 10]["cpu"]
    return [
        tell(
            f"cost of a record, {records:,} of them, times that of {RECORDS // 10:,}",
            cost["cpu"] / first,
            "x",
            1.5,
            less=True,
        )
        for records, cost in costs.items()
    ] + [tell("memory of the largest", max(cost["megabytes"] for cost in costs.values()), "MB", 150, less=True)]


def one(records: int) -> None:
    """What a record costs among ``records``, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        spent, journal = journal_path(folder, records)
        journal.close()
    print(json.dumps({"cpu": spent / records, "megabytes": peak_memory()}))


def cycle(folder: str) -> list[bool]:
    """A cycle with nothing new, of all sets of Guardian360 and CyberAlarm, against the services of the lab."""
    from lab.services import up

    # The interpreter of the SOC, as on a host: with what the controller needs beside it, importing takes twice as long.
    interpreter = Path(folder, "soc/opt/venv/bin/python").absolute()
    if not interpreter.exists():
        subprocess.run(
            [sys.executable, "-m", "lab", "run", "--folder", folder], cwd=ROOT, check=True, capture_output=True
        )
    lab = up(Path(folder))
    vendors = json.loads((Path(folder) / "vendors.json").read_bytes())
    now = lab.control("GET", "clock")["now"]
    search = lab.elasticsearch
    idle = []
    with tempfile.TemporaryDirectory() as state:
        for again in (False, True):
            for name in CYCLE:
                params = {
                    **{key: vendors[name].get(key) for key in ("base_url", "ca_path", "token_file", "api_key_file")},
                    **{f"{key}_dir": f"{state}/{key}" for key in ("state", "log", "archive")},
                    "elasticsearch_url": search.url,
                    "elasticsearch_ca_path": str(search.ca_path),
                    "elasticsearch_api_key_file": str(Path(folder) / "secrets/elasticsearch-key-collector"),
                    "now": now,
                }
                done = subprocess.run(
                    [str(interpreter), "-m", "tests.benchmarks.cycle"],
                    input=json.dumps({"profile": name, "params": params}).encode(),
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    check=True,
                )
                if again:
                    idle.append(json.loads(done.stdout))
    assert not sum(run["collected"] for run in idle), idle
    sets = sum(run["sets"] for run in idle)
    return [
        tell(f"cycle of {sets} sets with nothing new", sum(run["seconds"] for run in idle), "s", 3, less=True),
        tell("memory of the module process", max(run["megabytes"] for run in idle), "MB", 80, less=True),
    ]


def replayed(count: int) -> list[bool]:
    """Loading the archive again, into an Elasticsearch as it is in production."""
    figures = measure_in_lab(count)
    name = f"replay of {count:,} documents"
    return [
        tell(f"{name}, times a bare sender", figures.ratio, "x", 1.3, less=True),
        tell(f"{name}", figures.seconds, "s", 300, figures.bare, less=True),
        tell(f"{name}, memory", figures.megabytes, "MB", 150, less=True),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=".lab")
    parser.add_argument("--replay", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["ways", "growth", "cycle", "replay"])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one)
        return 0
    parts: dict[str, t.Callable[[], list[bool]]] = {
        "ways": ways,
        "growth": growth,
        "cycle": lambda: cycle(options.folder),
        "replay": lambda: replayed(options.replay),
    }
    told = [ok for name, part in parts.items() if options.only in (None, name) for ok in part()]
    return 0 if all(told) else 1


if __name__ == "__main__":
    sys.exit(main())
