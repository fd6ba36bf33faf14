# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles on this machine, in folders of the test; the artefact; the examples in the documentation."""

from __future__ import annotations

import getpass
import grp
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, SITE, Search, run_playbook

RUNTIME = """
- hosts: localhost
  gather_facts: false
  roles: [netcure.soc.runtime]
"""


def changed(output: str) -> int:
    return int(re.search(r"changed=(\d+)", output).group(1))


def test_the_runtime_role_on_a_clean_host(tmp_path: Path) -> None:
    variables = {
        "runtime_user": getpass.getuser(),
        "runtime_group": grp.getgrgid(os.getgid()).gr_name,
        "runtime_manage_user": False,
        "runtime_packages": [],
        "runtime_python": sys.executable,
        "runtime_venv": str(tmp_path / "opt/venv"),
        **{f"runtime_{name}_dir": str(tmp_path / name) for name in ("state", "log", "archive", "config")},
    }
    check = run_playbook(RUNTIME, variables, tmp_path, "--check", "--diff")
    assert check.returncode == 0, check.stdout + check.stderr
    assert changed(check.stdout) == 5 and not (tmp_path / "opt").exists()
    first = run_playbook(RUNTIME, variables, tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert changed(first.stdout) == 5
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o750
    again = run_playbook(RUNTIME, variables, tmp_path)
    assert changed(again.stdout) == 0, again.stdout
    assert "DEPRECATION" not in first.stdout + first.stderr

    # The modules run in what the role made, with nothing else.
    (tmp_path / "findings.csv").write_text("scan object,issue,risk\n")
    (tmp_path / "mapping.csv").write_text("scan object,scanner platform\n")
    options = {"findings_csv": "findings.csv", "mapping_csv": "mapping.csv", "output_dir": "out"}
    options = {name: str(tmp_path / value) for name, value in options.items()} | {
        "company": "Acme",
        "formats": ["html"],
    }
    command = [
        "ansible",
        "localhost",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={tmp_path}/opt/venv/bin/python",
    ]
    command += ["-m", "netcure.soc.render_report", "-a", json.dumps(options)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 3.9\n")
    fake.chmod(0o755)
    done = run_playbook(RUNTIME, {"runtime_python": str(fake)}, tmp_path)
    assert done.returncode != 0
    assert "is Python 3.9; the modules need" in done.stdout


def test_templates_are_compared_before_they_are_written(search: Search, tmp_path: Path) -> None:
    endpoint = search.endpoint
    variables = {
        "elasticsearch_url": endpoint.url,
        "elasticsearch_ca_path": str(endpoint.ca_path),
        "elasticsearch_password": endpoint.password,
    }
    again = run_playbook(SITE, variables, tmp_path)
    assert changed(again.stdout) == 0, again.stdout
    check = run_playbook(SITE, {**variables, "elasticsearch_replicas": 1}, tmp_path, "--check", "--diff")
    assert changed(check.stdout) == 1, check.stdout
    name = "soc-collected"
    template = search.admin.call("indices.get_index_template", name=name)["index_templates"][0]["index_template"]
    assert template["template"]["settings"]["index"]["number_of_replicas"] == "0"
    assert endpoint.password not in run_playbook(SITE, variables, tmp_path, "-vvv", "--diff").stdout


def test_the_artefact_installs_and_its_pages_read(tmp_path: Path) -> None:
    subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", str(tmp_path), str(ROOT)], check=True)
    (artefact,) = tmp_path.glob("netcure-soc-*.tar.gz")
    names = subprocess.run(["tar", "tzf", str(artefact)], capture_output=True, text=True, check=True).stdout.split()
    for part in (".lab/", ".venv/", ".cache/", ".ci/", ".git/"):
        assert not [name for name in names if name.startswith(part)]
    assert {"README.md", "LICENSE", "meta/runtime.yml", "templates/screen.html.j2"} <= set(names)
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "installed"), "PYTHONPATH": ""}
    install = ["ansible-galaxy", "collection", "install", "--offline", "-p", str(tmp_path / "installed"), str(artefact)]
    subprocess.run(install, check=True, capture_output=True, env=environment)
    modules = [path.stem for path in (ROOT / "plugins/modules").glob("*.py")]
    pages = subprocess.run(
        ["ansible-doc", "--json", *(f"netcure.soc.{name}" for name in modules)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found = json.loads(pages.stdout)
    assert sorted(found) == sorted(f"netcure.soc.{name}" for name in modules)
    assert all(page["doc"]["short_description"] and page["return"] for page in found.values())


@pytest.mark.parametrize("path", sorted((ROOT / "plugins/modules").glob("*.py")), ids=lambda path: path.stem)
def test_the_examples_are_plays_that_ansible_accepts(path: Path, tmp_path: Path) -> None:
    """Every task of EXAMPLES in check mode: its options are right, though the vendors in them do not exist."""
    examples = yaml.safe_load(re.search(r'EXAMPLES = r"""\n(.*?)"""', path.read_text(), re.DOTALL).group(1))
    tasks = [
        {**task, "check_mode": True, "ignore_errors": True, "register": f"told_{number}"}
        for number, task in enumerate(examples)
    ]
    tasks = [task for task in tasks if any(key.startswith("netcure.soc.") for key in task)]
    assert tasks
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    done = run_playbook(yaml.safe_dump(play, sort_keys=False), {}, tmp_path)
    assert "Unsupported parameters" not in done.stdout and "missing required" not in done.stdout, done.stdout
    assert "Traceback" not in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("playbook", ["site", "collect", "prune", "escalate", "report", "lab"])
def test_playbooks_are_understood(playbook: str) -> None:
    command = ["ansible-playbook", "--syntax-check", "-i", "lab/inventory", f"playbooks/{playbook}.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
