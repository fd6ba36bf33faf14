# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A day in the life of the SOC: start the lab, run the production playbooks, and hold the figures against the truth."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import connect
from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write

from lab import LabError
from lab.exports import write_exports
from lab.services import ROOT, Lab, up
from lab.summary import Check, Facts, checks, duplicates, identity, results, tally, vendor_documents
from lab.world import World

# The world of `make lab`: a week of history, always the same.
WORLD = {"seed": 1, "per_day": 40, "start": "2026-11-02T00:00:00Z", "now": "2026-11-09T09:00:00Z"}
REPORT_ON = "Müller & Zonen BV"
KEEP = 150  # as in lab/inventory/hosts.yml
ROSTER = """\
# Who is called. The first contact on duty counts; one without from and until is always on duty.
contacts:
  - name: An Peeters
    list: oncall-an
    from: 2026-11-02T09:00:00+01:00
    until: 2026-11-16T09:00:00+01:00
  - name: The whole team
    list: oncall-all
"""


def run(folder: Path) -> bool:
    """Everything that `make lab` does; True when every figure is right."""
    began = time.monotonic()
    print("Starting the lab: Elasticsearch, simulators of Guardian360, CyberAlarm and WatchGuard, mail ...", flush=True)
    lab = up(folder, **WORLD)
    started = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in lab.started.items() if seconds >= 0.5)
    print(f"  running ({started or 'all of it was already'})")
    reset(lab)
    steps = play(lab)
    facts = look(lab, steps)
    slugs = {entry["name"]: slug for slug, entry in lab.endpoints["companies"].items()}
    found = checks(facts, slugs)
    seconds = {"start": round(max(lab.started.values()), 1), **{step["name"]: step["seconds"] for step in steps}}
    write_summary(lab, facts, found, {**seconds, "total": round(time.monotonic() - began, 1)})
    tell(lab, found)
    return all(check.ok for check in found)


def reset(lab: Lab) -> None:
    """Begin the same day again: an empty SOC, the world as it was, an empty mailbox."""
    search = lab.elasticsearch
    with search.session() as session:
        names = session.get(
            f"{search.url}/_cat/indices/soc-*", params={"h": "index", "format": "json"}, timeout=60
        ).json()
        for start in range(0, len(names), 40):
            part = ",".join(entry["index"] for entry in names[start : start + 40])
            session.delete(f"{search.url}/{part}", timeout=60).raise_for_status()
    lab.control("POST", "reset", **WORLD)
    lab.mailbox.clear()
    home = lab.folder / "soc"
    for name in ("state", "log", "archive", "reports", "exports"):
        shutil.rmtree(home / name, ignore_errors=True)
    (home / "etc").mkdir(parents=True, exist_ok=True)
    atomic_write(str(home / "etc/roster.yml"), ROSTER.encode())
    write_exports(World.load(json.loads((lab.folder / "world.json").read_bytes())), REPORT_ON, home / "exports")


def play(lab: Lab) -> list[dict]:
    """Run playbooks/lab.yml; one line a step goes to the screen. Returns the steps with all their results."""
    steps = lab.folder / "steps.json"
    steps.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "lab/callbacks"),
        "ANSIBLE_STDOUT_CALLBACK": "lab_steps",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "ANSIBLE_HOME": str(lab.folder / "ansible"),
        "LAB_FOLDER": str(lab.folder),
        "LAB_STEPS": str(steps),
    }
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "lab/inventory", "playbooks/lab.yml"]
    code = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    if code or not steps.exists():
        raise LabError("A playbook failed; the reason stands above.")
    return json.loads(steps.read_text(encoding="utf-8"))


def look(lab: Lab, steps: list[dict]) -> Facts:
    """Gather what is there after the run, past the product: from Elasticsearch, the archive, the mailbox."""
    search = lab.elasticsearch
    names = ("ca_path", "api_key", "api_key_file", "username", "password", "password_file", "timeout")
    params = dict.fromkeys(f"elasticsearch_{name}" for name in names)
    elastic = connect(
        params
        | {
            "elasticsearch_url": search.url,
            "elasticsearch_ca_path": str(search.ca_path),
            "elasticsearch_username": search.username,
            "elasticsearch_password": search.password,
            "elasticsearch_timeout": 60,
        }
    )
    everything = {"query": {"match_all": {}}, "sort": [{"soc.id": "asc"}], "page": 5000}
    hits = elastic.hits("soc-*", **everything, source_includes=["event.id", "event.original"])
    archived = []
    for path in sorted((lab.folder / "soc/archive/pruned").rglob("*.ndjson.gz")):
        lines = gzip.decompress(path.read_bytes()).splitlines()
        for action, source in zip(lines[::2], lines[1::2]):
            index = json.loads(action)["index"]["_index"]
            archived.append((index, identity(index, json.loads(source))))
    with (lab.folder / "soc/exports/findings.csv").open(encoding="utf-8-sig", newline="") as handle:
        rows = set(map(tuple, list(csv.reader(handle))[1:]))
    return Facts(
        steps=steps,
        truth=lab.control("GET", "truth"),
        world=json.loads((lab.folder / "world.json").read_bytes()),
        indexed=vendor_documents(hits),
        archived=archived,
        mails=[mail.message_id for mail in lab.mailbox.calls()],
        export_rows=rows,
        keep=KEEP,
    )


def write_summary(lab: Lab, facts: Facts, found: list[Check], seconds: dict[str, float]) -> None:
    """``summary.json``, for machines."""
    reports = [result for step in facts.steps for result in results(step, "render_report")]
    summary = {
        "ok": all(check.ok for check in found),
        "collected": tally(facts.steps, "new"),
        "indexed": len(facts.indexed),
        "duplicates": duplicates(facts),
        "pruned": sum(result["deleted"] for step in facts.steps for result in results(step, "es_prune")),
        "archived": len(facts.archived),
        "calls": len(facts.mails),
        "report": [entry["path"] for result in reports for entry in result["reports"]],
        "seconds": seconds,
        "checks": [{"name": check.name, "true": check.true, "seen": check.seen, "ok": check.ok} for check in found],
    }
    atomic_write(str(lab.folder / "summary.json"), json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n")


def tell(lab: Lab, found: list[Check]) -> None:
    """The end of the story, for people."""
    summary = json.loads((lab.folder / "summary.json").read_bytes())
    wrong = [check for check in found if not check.ok]
    search, secrets, binaries = lab.elasticsearch, lab.folder / "secrets", Path(sys.executable).parent
    # curl reads the password from a file: on the command line every user of the machine could.
    curl = f'cacert = "{search.ca_path}"\nuser = "{search.username}:{search.password}"\n'
    atomic_write(str(secrets / "curl"), curl.encode(), 0o600)
    print(f"""
  collected   {summary["collected"]:>6,}  documents, {summary["duplicates"]} of them twice
  indexed     {summary["indexed"]:>6,}  in Elasticsearch
  pruned      {summary["pruned"]:>6,}  after {summary["archived"]:,} were archived and the archive was read back
  calls       {summary["calls"]:>6,}  mails to VocalNotify
  seconds     {summary["seconds"]["total"]:>6,.0f}""")
    for path in summary["report"]:
        print(f"  report              {path}")
    print(f"""
Look around:
  curl -K {secrets}/curl '{search.url}/_cat/indices/soc-*?v'
  LAB_FOLDER={lab.folder} ANSIBLE_COLLECTIONS_PATH={os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")} \\
    {binaries}/ansible-playbook -i lab/inventory playbooks/prune.yml --check --diff
API keys are in {secrets}, all figures in {lab.folder / "summary.json"}. Stop it with: make lab-down
""")
    for check in wrong:
        print(f"WRONG  {check.name}: true is {check.true}, seen was {check.seen}")
    print(f"{len(found) - len(wrong)} of {len(found)} figures are what the simulators know to be true.")
