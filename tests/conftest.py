# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services that integration and crash tests share: one Elasticsearch a session, a vendor and a mailbox a test."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib
import io
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path
from unittest import mock

import pytest
from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args
from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import Elastic, connect

if t.TYPE_CHECKING:
    from lab.mail import MailServers
    from lab.simulators import Simulators

ROOT = Path(__file__).resolve().parents[1]
# Tests that run side by side have an Elasticsearch each.
FOLDER = ROOT / ".cache" / f"test-lab-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
SITE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: netcure.soc.elasticsearch
        tasks_from: content
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--crash-seed", type=int, default=1, help="seed of the random schedules of tests/crash")
    parser.addoption("--crash-schedules", type=int, default=500, help="number of random schedules of tests/crash")


@dataclasses.dataclass
class Outcome:
    """What a module returned through Ansible, and everything that Ansible printed."""

    failed: bool
    result: dict
    output: str

    def __getattr__(self, name: str) -> t.Any:
        return self.result.get(name)


def run_here(name: str, options: dict, *flags: str) -> Outcome:
    """Run a module of the collection in this process: all of it but Ansible, and some seconds faster. ``flags``: --check, --diff."""
    options = {key: value for key, value in options.items() if value is not None}
    internal = {"_ansible_check_mode": "--check" in flags, "_ansible_diff": "--diff" in flags}
    module = importlib.import_module(f"ansible_collections.netcure.soc.plugins.modules.{name}")
    told = io.StringIO()
    # Ansible keeps warnings for as long as the process lives, and shows them itself where it plays the controller.
    with (
        mock.patch.object(_internal, "is_controller", False),
        mock.patch.object(warnings, "_global_warnings", {}),
        patch_module_args({**options, **internal}),
        contextlib.redirect_stdout(told),
        pytest.raises(SystemExit) as ended,
    ):
        module.main()
    result = json.loads(told.getvalue())
    result.pop("invocation", None)
    return Outcome(ended.value.code != 0, result, told.getvalue())


def run_module(name: str, options: dict, *flags: str) -> Outcome:
    """Run a module of the collection through Ansible on this machine. ``flags``: --check, --diff, -vvv."""
    options = {key: value for key, value in options.items() if value is not None}
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(FOLDER / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    environment["_ANSIBLE_TEMPLAR_UNTRUSTED_TEMPLATE_BEHAVIOR"] = "error"
    command = ["ansible", "localhost", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}", *flags]
    command += ["-m", f"netcure.soc.{name}", "-a", json.dumps(options)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    marker = done.stdout.find("localhost | ")
    assert marker >= 0, done.stdout + done.stderr
    body = done.stdout[done.stdout.index("{", marker) :]
    return Outcome(done.returncode != 0, json.JSONDecoder().raw_decode(body)[0], done.stdout + done.stderr)


def run_playbook(text: str, variables: dict, folder: Path, *flags: str) -> subprocess.CompletedProcess:
    """Run a playbook given as text on this machine."""
    playbook = folder / "playbook.yml"
    playbook.write_text(text)
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
    command = ["ansible-playbook", "-i", "localhost,", *flags, "-e", json.dumps(variables), str(playbook)]
    environment = {**os.environ, "ANSIBLE_HOME": str(FOLDER / "ansible"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )


def run_steps(name: str, options: dict, checks: list[bool]) -> list[Outcome]:
    """Run a module once for each of ``checks`` (in check mode?), all in one Ansible: starting that is what takes its time."""
    task = {f"netcure.soc.{name}": {key: value for key, value in options.items() if value is not None}}
    tasks = [{**task, "check_mode": check, "ignore_errors": True} for check in checks]
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    done = run_playbook(json.dumps(play), {}, FOLDER, "--diff", "-vvv")
    output = done.stdout + done.stderr
    found = re.finditer(r"^(ok|changed|fatal): \[localhost\].*?=> (?={)", done.stdout, re.MULTILINE)
    outcomes = [
        Outcome(step[1] == "fatal", json.JSONDecoder().raw_decode(done.stdout[step.end() :])[0], output)
        for step in found
    ]
    assert len(outcomes) == len(checks), output
    return outcomes


class Search:
    """The session's Elasticsearch: options for modules by duty, and the superuser's view for checks."""

    def __init__(self, endpoint: t.Any, keys: dict[str, Path]) -> None:
        self.endpoint, self.keys = endpoint, keys
        self.admin = self._connect(
            {"elasticsearch_username": endpoint.username, "elasticsearch_password": endpoint.password}
        )

    def options(self, duty: str) -> dict:
        """The module options with which ``duty`` (collector, retention, escalator, reader-...) reaches it."""
        return {
            "elasticsearch_url": self.endpoint.url,
            "elasticsearch_ca_path": str(self.endpoint.ca_path),
            "elasticsearch_api_key_file": str(self.keys[duty]),
        }

    def full_options(self, duty: str) -> dict:
        """The same with every option present, for calling product code without Ansible."""
        names = ("ca_path", "api_key", "api_key_file", "username", "password", "password_file")
        return {
            **dict.fromkeys(f"elasticsearch_{name}" for name in names),
            "elasticsearch_timeout": 60,
            **self.options(duty),
        }

    def as_duty(self, duty: str) -> Elastic:
        """Connected with the key of ``duty``."""
        return connect(self.full_options(duty))

    def _connect(self, identity: dict) -> Elastic:
        return connect({**self.full_options("collector"), "elasticsearch_api_key_file": None, **identity})

    def documents(self, index: str = "soc-*.*-*") -> list[dict]:
        """Every hit, whole, in the order of ids. What the collector notes of itself is in an index of another name."""
        everything = {"query": {"match_all": {}}, "sort": [{"soc.id": "asc"}], "page": 5000}
        return list(self.admin.hits(index, **everything, seq_no_primary_term=True, version=True))

    def ids(self, index: str = "soc-*.*-*") -> collections.Counter:
        """How often each (index, vendor id) is there. A line of a file has no id that a vendor would know: it is itself."""
        return collections.Counter(
            (hit["_index"], event["original" if hit["_source"]["soc"]["set"] == "firebox" else "id"])
            for hit in self.documents(index)
            for event in [hit["_source"]["event"]]
        )

    def clear(self) -> None:
        """Remove every document. The indices stay, because making them is what takes Elasticsearch its time."""
        hits = self.documents("soc-*")
        if not hits:
            return
        lines = [{"delete": {"_index": hit["_index"], "_id": hit["_id"]}} for hit in hits]
        self.admin.bulk(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        # The next test writes the same ids and versions: what deleting leaves behind must not be in its way.
        self.admin.call("indices.put_settings", index="soc-*", settings={"index.gc_deletes": "0s"})
        self.admin.call("indices.refresh", index="soc-*")

    def remove(self) -> None:
        """Remove every index."""
        names = [entry["index"] for entry in self.admin.call("cat.indices", index="soc-*", format="json", h="index")]
        for start in range(0, len(names), 40):
            self.admin.call("indices.delete", index=names[start : start + 40])


@pytest.fixture(scope="session")
def search_session() -> t.Iterator[Search]:
    from lab.companies import COMPANIES
    from lab.elasticsearch import Elasticsearch
    from lab.security import api_keys

    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = Elasticsearch(FOLDER)
    endpoint = server.start()
    try:
        search = Search(endpoint, api_keys(endpoint, FOLDER, [company.slug for company in COMPANIES]))
        search.remove()
        variables = {
            "elasticsearch_url": endpoint.url,
            "elasticsearch_ca_path": str(endpoint.ca_path),
            "elasticsearch_username": endpoint.username,
            "elasticsearch_password": endpoint.password,
            "elasticsearch_api_keys": [],
        }
        done = run_playbook(SITE, variables, FOLDER)
        assert done.returncode == 0, done.stdout + done.stderr
        yield search
    finally:
        server.stop()


@pytest.fixture
def search(search_session: Search) -> t.Iterator[Search]:
    yield search_session
    search_session.clear()


@pytest.fixture
def vendors(tmp_path: Path) -> t.Iterator[Simulators]:
    """Guardian360 and CyberAlarm with a small world of two days."""
    from datetime import UTC, datetime

    from lab.simulators import Simulators
    from lab.world import World

    now = datetime(2026, 11, 9, 9, tzinfo=UTC)
    with Simulators(tmp_path / "vendors", World(seed=1, per_day=12, start=now.replace(day=8), now=now)) as simulators:
        yield simulators


@pytest.fixture
def mail(tmp_path: Path) -> t.Iterator[MailServers]:
    from lab.mail import MailServers

    with MailServers(tmp_path / "mail") as servers:
        yield servers


def true_ids(vendors: Simulators, source: str, *sets: str) -> collections.Counter:
    """(index, vendor id) of everything that a complete collector holds, each once."""
    truth = vendors.world.truth()["sources"][source]
    return collections.Counter(
        (company["index"], identity)
        for name in sets or truth
        for company in truth[name].values()
        for identity in company["ids"]
    )
