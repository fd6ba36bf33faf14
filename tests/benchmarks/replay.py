# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it takes to load an archive into a real Elasticsearch, and how much memory.

The peer is a bare sender of the same documents to the same server in the same run: one connection that sends ready
bytes, 4 MiB at a time, from a file that is mapped into memory. It reads no archive, checks nothing and counts nothing.
Both are measured twice, in turns, and the better time of each counts. As a program of its own this file is the
process that loads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import mmap
import random
import ssl
import subprocess
import sys
import tempfile
import time
import typing as t
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from ansible_collections.netcure.soc.plugins.module_utils._collect import replay as product
from ansible_collections.netcure.soc.plugins.module_utils._collect.archive import BLOCK, raw_blocks, seal
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import clock
from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import BULK_FILTER, Elastic
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run

from tests.benchmarks.figures import peak_memory

if t.TYPE_CHECKING:
    from lab.elasticsearch import Endpoint

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "bench"
SEGMENT = 64 * 1024 * 1024
COMPANIES = 8
NOW = "2026-11-24T02:00:00.000Z"
WORDS = (
    "ET TROJAN SCAN POLICY Known Hostile Inbound Outbound DNS TLS SMB RDP Query Beacon Suspicious Executable".split()
)


@dataclasses.dataclass(frozen=True)
class Figures:
    """Seconds of both, the ratio, and the peak memory of the loading process in MB."""

    documents: int
    seconds: float
    bare: float
    megabytes: float

    @property
    def ratio(self) -> float:
        return self.seconds / self.bare


def fill(folder: Path, count: int) -> Path:
    """An archive of ``count`` alarms of about 1 KB below ``folder``/archive, and their raw bytes in ``folder``/raw."""
    rng, number = random.Random(1), 0
    templates = [_alarm(rng) for _each in range(5000)]
    raw, part = folder / "raw", folder / "part"
    segment = 0
    with raw.open("wb") as everything:
        while number < count:
            segment += 1
            with part.open("wb") as handle:
                while number < count and handle.tell() < SEGMENT:
                    action, source = templates[number % len(templates)]
                    identity = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).hexdigest().encode()
                    handle.write(action.replace(b"@id", identity) + source.replace(b"@id", identity))
                    number += 1
            everything.write(part.read_bytes())
            seal(str(part), str(folder / "archive" / product.COLLECTED), SOURCE, segment, NOW)
    part.unlink()
    return raw


def _alarm(rng: random.Random) -> tuple[bytes, bytes]:
    """Action and source of an alarm, with @id for its id. Half of them are state, as most of what is collected."""
    company = rng.randrange(COMPANIES)
    target: dict = {"_index": f"soc-{SOURCE}.alarm-company-{company}", "_id": "@id"}
    action: dict = {"create": target}
    if rng.random() < 0.5:
        action = {"index": {**target, "version": rng.randrange(10**15, 10**16), "version_type": "external"}}
    moment = (
        f"2026-11-{rng.randint(1, 28):02d}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}.000Z"
    )
    record = {
        "id": str(rng.getrandbits(64)),
        "timestamp": moment,
        "level": rng.randint(1, 3),
        "signature": " ".join(rng.choices(WORDS, k=6)),
        "src_ip": f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}",
        "dst_ip": f"203.0.113.{rng.randrange(256)}",
        "src_port": rng.randrange(65536),
        "dst_port": rng.choice((22, 25, 53, 80, 443, 445, 3389)),
        "description": " ".join(rng.choices(WORDS, k=20)),
    }
    source = {
        "@timestamp": moment,
        "organization": {"id": f"c{company}", "name": f"Company {company}"},
        "event": {
            "id": record["id"],
            "module": SOURCE,
            "dataset": f"{SOURCE}.alarm",
            "ingested": NOW,
            "original": orjson.dumps(record).decode(),
        },
        "soc": {"id": "@id", "set": "logs", "level": record["level"], "reviewed": False, "count": 1},
        "rule": {"id": str(rng.randrange(3_000_000)), "name": record["signature"]},
        "source": {"ip": record["src_ip"], "port": record["src_port"]},
        "destination": {"ip": record["dst_ip"], "port": record["dst_port"]},
        "message": record["signature"],
    }
    return orjson.dumps(action) + b"\n", orjson.dumps(source) + b"\n"


def measure(count: int, endpoint: Endpoint, folder: Path) -> Figures:
    """Load ``count`` documents into the Elasticsearch at ``endpoint``. ``folder`` is empty, and keeps the archive."""
    raw = fill(folder, count)
    _templates(endpoint)
    _clear(endpoint)
    send_bare(raw, endpoint, SEGMENT // 2)  # the server warms up
    times: dict[str, list[float]] = {"bare": [], "replay": []}
    megabytes = 0.0
    for who in ("bare", "replay", "replay", "bare"):
        _clear(endpoint)
        if who == "bare":
            times[who].append(send_bare(raw, endpoint))
        else:
            told = load(folder, endpoint)
            assert told["indexed"] == count, told
            times[who].append(told["seconds"])
            megabytes = max(megabytes, told["megabytes"])
        assert _count(endpoint) == count
    _clear(endpoint)
    return Figures(count, min(times["replay"]), min(times["bare"]), megabytes)


def measure_in_lab(count: int) -> Figures:
    """measure() with an Elasticsearch of its own, run as it is in production: the lab's is tuned for a quick start."""
    from lab.elasticsearch import Elasticsearch

    with tempfile.TemporaryDirectory() as folder:
        server = Elasticsearch(Path(folder) / "lab", quick=False)
        endpoint = server.start()
        try:
            work = Path(folder) / "work"
            work.mkdir()
            return measure(count, endpoint, work)
        finally:
            server.stop()


def memory(count: int, port: int, folder: Path) -> dict:
    """Load ``count`` documents into the server of C(tests.benchmarks.sink) at ``port``: {seconds, megabytes, indexed}."""
    fill(folder, count)
    return load(folder, None, port)


def load(folder: Path, endpoint: Endpoint | None, port: int = 0) -> dict:
    """The product, in a process of its own, which says how long it took and how much memory it had."""
    options = {
        "source": SOURCE,
        "archive_dir": str(folder / "archive"),
        "state_dir": str(folder / "state"),
        "log_dir": str(folder / "log"),
        "elasticsearch_url": endpoint.url if endpoint else f"http://127.0.0.1:{port}",
        "elasticsearch_ca_path": str(endpoint.ca_path) if endpoint else None,
        "elasticsearch_username": endpoint.username if endpoint else "sink",
        "elasticsearch_password_file": str(endpoint.password_file) if endpoint else None,
    }
    command = [sys.executable, "-m", "tests.benchmarks.replay", json.dumps(options)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def send_bare(raw: Path, endpoint: Endpoint, limit: int = 0) -> float:
    """Seconds that a bare sender needs for the bytes in ``raw``, or the first ``limit`` of them."""
    ends = [0]
    for block in raw_blocks(str(raw), block=BLOCK):
        ends.append(ends[-1] + len(block))
    address = urlsplit(endpoint.url)
    context = ssl.create_default_context(cafile=str(endpoint.ca_path))
    connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=context, timeout=120)
    identity = b64encode(f"{endpoint.username}:{endpoint.password}".encode()).decode()
    headers = {"authorization": f"Basic {identity}", "content-type": "application/x-ndjson"}
    with (
        raw.open("rb") as handle,
        mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ) as content,
        memoryview(content) as view,
    ):
        began = time.perf_counter()
        for start, end in zip(ends, ends[1:]):
            with view[start:end] as body:
                connection.request("POST", f"/_bulk?filter_path={BULK_FILTER}", body, headers)
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read()
            if limit and end >= limit:
                break
        seconds = time.perf_counter() - began
    connection.close()
    return seconds


def _templates(endpoint: Endpoint) -> None:
    """The product's own mapping, so that the server does the work that it does in production."""
    part = json.loads((ROOT / "roles/elasticsearch/files/soc-ecs.json").read_text(encoding="utf-8"))
    settings = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "1s"}
    whole = {
        "index_patterns": ["soc-*.*-*"],
        "priority": 200,
        "composed_of": ["soc-ecs"],
        "template": {"settings": settings},
    }
    session = endpoint.session()
    for path, body in (("_component_template/soc-ecs", part), ("_index_template/soc-collected", whole)):
        found = session.get(f"{endpoint.url}/{path}", timeout=60)
        if found.status_code == 404:
            session.put(f"{endpoint.url}/{path}", json=body, timeout=60).raise_for_status()


def _clear(endpoint: Endpoint) -> None:
    names = ",".join(f"soc-{SOURCE}.alarm-company-{company}" for company in range(COMPANIES))
    session = endpoint.session()
    session.delete(f"{endpoint.url}/{names}?ignore_unavailable=true", timeout=60).raise_for_status()


def _count(endpoint: Endpoint) -> int:
    session, pattern = endpoint.session(), f"soc-{SOURCE}.*"
    session.post(f"{endpoint.url}/{pattern}/_refresh", timeout=60).raise_for_status()
    return session.get(f"{endpoint.url}/{pattern}/_count", timeout=60).json()["count"]


def main() -> None:
    """The loading process: options as JSON in, figures as JSON out."""
    given = json.loads(sys.argv[1])
    params = {name: option.get("default") for name, option in product.argument_spec().options.items()}
    if given["elasticsearch_url"].startswith("http://"):  # the sink, which the product itself would refuse
        import elasticsearch

        serializers = {"application/json": elasticsearch.OrjsonSerializer()}
        client = elasticsearch.Elasticsearch(given["elasticsearch_url"], serializers=serializers)
        product.connect = lambda _params: Elastic(client)
    run = Run({**params, **given}, False, clock(), ".", print)
    began = time.perf_counter()
    result = product.replay(run)
    seconds = time.perf_counter() - began
    assert not result.get("failure"), result["failure"]
    print(json.dumps({"seconds": seconds, "megabytes": peak_memory(), "indexed": result["indexed"]}))


if __name__ == "__main__":
    main()
