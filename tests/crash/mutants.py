# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the crash proof worth anything? Break the collector in ways that matter, and see the schedules notice.

Each mutation is a replacement of text, which must fit exactly once, in a private copy of the collection. Prints a table;
leaves with 1 when a mutation survives, when one does not fit any more, or when the collector as it is fails.

    python -m tests.crash.mutants [--schedules 300] [--seed 1] [name ...]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """``old`` in ``file`` (below module_utils) becomes ``new``."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    # What the whole design rests on.
    Mutant(
        "no tiebreaker",
        "_collect/vendor.py",
        'fields = {**fields, paging["send"]: cursor}',
        'fields = {**fields, paging["send"]: cursor[:1] if isinstance(cursor, list) else cursor}',
    ),
    Mutant(
        "no look-back",
        "_collect/walk.py",
        "since = self._cursor - rules.look_back",
        "since = self._cursor",
    ),
    Mutant(
        "no one transaction: ids and cursor first, the range later",
        "_collect/journal.py",
        "                yield db, places\n",
        "                yield db, places\n"
        '            self._reach("before_commit")\n'
        "            with transaction(self._db) as db:\n",
    ),
    Mutant(
        "no one transaction: the range first, ids and cursor later",
        "_collect/journal.py",
        "            with transaction(self._db) as db:\n                yield db, places\n",
        "            with transaction(self._db) as db:\n"
        "                row = (segments.number, start, end - start, len(pieces))\n"
        "                if pieces:\n"
        '                    db.execute("INSERT OR IGNORE INTO segment VALUES (?, ?, 0)", (row[0], self._opened))\n'
        '                    db.execute("INSERT INTO page (segment, start, length, records) VALUES (?, ?, ?, ?)", row)\n'
        '            self._reach("before_commit")\n'
        "            with transaction(self._db) as db:\n"
        "                yield db, places\n"
        "                pieces = []\n",
    ),
    Mutant(
        "cursor before the fsync",
        "_collect/journal.py",
        "        with self._page(pieces) as (db, places):\n"
        "            written = {write.document.id for write in plan.writes}\n",
        "        if moved.cursor:\n"
        "            with transaction(self._db) as early:\n"
        "                _move_cursor(early, data_set, moved.cursor)\n"
        "        with self._page(pieces) as (db, places):\n"
        "            written = {write.document.id for write in plan.writes}\n",
    ),
    Mutant(
        "acknowledged before the reply",
        "_collect/ship.py",
        "        outcome = elastic.bulk(batch.payload)\n",
        "        journal.mark_shipped(batch, [])\n        outcome = elastic.bulk(batch.payload)\n",
    ),
    # The disk.
    Mutant(
        "no fsync of the segment",
        "_collect/segments.py",
        "            os.fsync(self._handle)\n",
        "",
    ),
    Mutant(
        "no fsync of the folder",
        "_collect/segments.py",
        "        os.ftruncate(handle, self.size)\n        sync_folder(self.folder)\n",
        "        os.ftruncate(handle, self.size)\n",
    ),
    Mutant(
        "torn tail stays",
        "_collect/segments.py",
        "        os.ftruncate(handle, self.size)\n        sync_folder",
        "        sync_folder",
    ),
    Mutant(
        "sealed before it is acknowledged",
        "_collect/journal.py",
        " (SELECT 1 FROM page WHERE page.segment = segment.number AND shipped = 0) ORDER BY number",
        " (SELECT 1 FROM page WHERE page.segment = segment.number AND shipped = 2) ORDER BY number",
    ),
    Mutant(
        "segment removed before the note of it",
        "_collect/journal.py",
        '        with transaction(self._db) as db:\n            db.execute("UPDATE segment SET sealed = 1',
        "        self._segments.remove(number)\n"
        '        with transaction(self._db) as db:\n            db.execute("UPDATE segment SET sealed = 1',
    ),
    Mutant(
        "removed without an archive",
        "_collect/run.py",
        "                    seal(path, archive, source.name, number, format_time(run.clock()), reach)\n",
        "",
    ),
    # Identity and versions.
    Mutant(
        "events without create",
        "_collect/normalise.py",
        'action: dict = {"create": target}',
        'action: dict = {"index": target}',
    ),
    Mutant(
        "state without a version",
        "_collect/normalise.py",
        'action = {"index": {**target, "version": version, "version_type": "external"}}',
        'action = {"index": target}',
    ),
    Mutant(
        "version from the wall clock alone",
        "_collect/journal.py",
        "version = max(stamp, before.version + 1 if before else 0)",
        "version = stamp",
    ),
    Mutant(
        "vanished under the wall clock alone",
        "_collect/journal.py",
        "versions = [max(stamp, version + 1) for",
        "versions = [stamp for",
    ),
    Mutant(
        "id without the company",
        "_core/ids.py",
        "orjson.dumps([source, data_set, tenant, vendor_id])",
        "orjson.dumps([source, data_set, vendor_id])",
    ),
    Mutant(
        "index follows the company's present name",
        "_collect/journal.py",
        "        known = self._slugs.get(tenant_id)\n        if known:\n            return known\n",
        "        return slug(name) or tenant_id\n",
    ),
    # Walks.
    Mutant(
        "a time in the future moves the cursor",
        "_collect/walk.py",
        "            if document.time > observed:\n                continue\n",
        "",
    ),
    Mutant(
        "cursor page by page, newest first",
        "_collect/walk.py",
        '            and data_set.paging["style"] == "search_after"\n            and not data_set.ask\n',
        "            and not data_set.ask\n",
    ),
    Mutant(
        "early stop ignores open records",
        "_collect/walk.py",
        "if behind and not self._journal.unmet_open(self._set.name, self._number, open_since, 1):",
        "if behind:",
    ),
    Mutant(
        "open records are not asked for again",
        "_collect/walk.py",
        "        if not self._set.ask_again:\n",
        "        if self._set.ask_again or True:\n",
    ),
    Mutant(
        "half a list tells what is gone",
        "_collect/walk.py",
        'if self._set.kind == "snapshot" and self._complete and ',
        'if self._set.kind == "snapshot" and ',
    ),
    Mutant(
        "nothing is ever gone",
        "_collect/walk.py",
        "                self._journal.write_vanished(name, self._number, gone, now)\n",
        "                break\n",
    ),
    Mutant(
        "companies without a subscription too",
        "_collect/vendor.py",
        "return Directory(names, frozenset(subscribed) if flag_paths else None)",
        "return Directory(names, None)",
    ),
    # Shipping.
    Mutant(
        "any refusal is the document's fault",
        "_collect/ship.py",
        'if not reason.startswith(HOPELESS) or "write index" in reason:',
        "if False:",
    ),
    Mutant(
        "what is refused is forgotten",
        "_collect/journal.py",
        "            _insert_dead(db, refused)\n",
        "",
    ),
    Mutant(
        "operations that were put off are not sent again",
        "_core/elastic.py",
        '                outcome.statuses[position] = item["status"]\n                if item["status"] in OVERLOADED:',
        '                outcome.statuses[position] = 200 if item["status"] == 429 else item["status"]\n'
        '                if item["status"] in OVERLOADED and item["status"] != 429:',
    ),
)


@dataclasses.dataclass
class Verdict:
    """What became of a mutant: what the schedules said of it, after how many of them and how long."""

    name: str
    killed: bool
    schedules: str
    seconds: float
    words: str


def judge(mutant: Mutant | None, schedules: int, seed: int) -> Verdict:
    """Run the schedules against a private copy of the collection with ``mutant`` in it, until one fails."""
    name = mutant.name if mutant else "(as it is)"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soc-mutant-") as folder:
        copy = Path(folder, "ansible_collections/netcure/soc")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "plugins", copy / "plugins", ignore=ignored)
        shutil.copytree(ROOT / "tests/crash", copy / "tests/crash", ignore=ignored)
        if mutant:
            path = copy / "plugins/module_utils" / mutant.file
            text = path.read_text()
            if text.count(mutant.old) != 1:
                return Verdict(name, False, "0", 0, f"does not fit: its text is {text.count(mutant.old)} times there")
            path.write_text(text.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "tests.crash.machine", "--no-shrink", "--workers", "1"]
        environment = {**os.environ, "PYTHONPATH": f"{folder}:{copy}", "PYTHONHASHSEED": "0"}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        done = subprocess.run(
            [*command, "--schedules", str(schedules), "--seed", str(seed)],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    played = re.search(r"^schedules=(\d+)", done.stdout, re.MULTILINE)
    # A mutant that cannot even start proves nothing.
    killed = done.returncode == 1 and "--replay" in done.stdout
    words = done.stdout if killed or done.returncode == 0 else done.stdout + done.stderr
    return Verdict(name, killed, played[1] if played else "?", time.monotonic() - began, words)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only mutants with one of these words in their names")
    parser.add_argument("--schedules", type=int, default=300, help="how many schedules a mutant may survive at most")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if not options.names or any(word in m.name for word in options.names)]
    survivors = 0
    print(f"{'mutant':<58}{'killed':<9}{'schedules':>9}{'seconds':>9}  what broke", flush=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        entries = [None, *chosen] if not options.names else chosen
        for mutant, verdict in zip(entries, pool.map(lambda m: judge(m, options.schedules, options.seed), entries)):
            right = verdict.killed == (mutant is not None)
            survivors += not right
            words = verdict.words.strip().splitlines() or [""]
            said = re.sub(r"^seed \d+: ", "", words[0])[:70] if verdict.killed or not right else ""
            mark = "yes" if verdict.killed else "no" if right else "NO"
            print(f"{verdict.name:<58}{mark:<9}{verdict.schedules:>9}{verdict.seconds:>9.1f}  {said}", flush=True)
    print(f"mutants={len(chosen)} survived={survivors}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
