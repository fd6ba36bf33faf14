# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles on this machine, in folders of the test; the artefact; the examples in the documentation."""

from __future__ import annotations

import fcntl
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
from ansible.template import Templar, trust_as_template
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import InternalError

from tests.conftest import ROOT, SITE, Search, run_here, run_playbook

RUNTIME = """
- hosts: localhost
  gather_facts: false
  roles: [netcure.soc.runtime]
"""
COLLECT = RUNTIME.replace("runtime", "collect")
MODULES = sorted((ROOT / "plugins/modules").glob("*.py"))


def in_folders_of(folder: Path) -> dict:
    """Variables with which the roles stay in ``folder`` and need no other user."""
    return {
        "runtime_user": getpass.getuser(),
        "runtime_group": grp.getgrgid(os.getgid()).gr_name,
        "runtime_manage_user": False,
        "runtime_packages": [],
        "runtime_python": sys.executable,
        "runtime_venv": str(folder / "opt/venv"),
        **{f"runtime_{name}_dir": str(folder / name) for name in ("state", "log", "archive", "config")},
    }


def changed(output: str) -> int:
    return int(re.search(r"changed=(\d+)", output).group(1))


def test_the_runtime_role_on_a_clean_host(tmp_path: Path) -> None:
    variables = in_folders_of(tmp_path)
    check = run_playbook(RUNTIME, variables, tmp_path, "--check", "--diff")
    assert check.returncode == 0, check.stdout + check.stderr
    assert changed(check.stdout) == 5 and not (tmp_path / "opt").exists()
    first = run_playbook(RUNTIME, variables, tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert changed(first.stdout) == 5
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o750
    again = run_playbook(RUNTIME, variables, tmp_path)
    assert again.returncode == 0 and changed(again.stdout) == 0, again.stdout + again.stderr
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
    fake.write_text("""#!/bin/sh\necho '{"python": "3.9", "texts": [""], "accounts": [[]], "missing": []}'\n""")
    fake.chmod(0o755)
    done = run_playbook(RUNTIME, {"runtime_python": str(fake)}, tmp_path)
    assert done.returncode != 0
    assert "is Python 3.9; the modules need" in done.stdout


@pytest.mark.parametrize("inner", ["runtime_log_dir", "runtime_venv", "runtime_config_dir"])
def test_no_folder_lies_in_one_of_the_soc(inner: str, tmp_path: Path) -> None:
    within = {inner: str(tmp_path / "state/inner")}
    done = run_playbook(RUNTIME, {**in_folders_of(tmp_path), **within}, tmp_path, "--check")
    assert done.returncode != 0
    assert f"{tmp_path}/state/inner is in {tmp_path}/state" in done.stdout, done.stdout


@pytest.fixture
def collecting(tmp_path: Path) -> dict:
    """Variables for role collect without a schedule; its folder of secrets is there."""
    (tmp_path / "config").mkdir()
    return {
        **in_folders_of(tmp_path),
        "elasticsearch_url": "https://127.0.0.1:9",
        "elasticsearch_ca_path": "/nowhere/ca.crt",
        "collect_elasticsearch_api_key_file": str(tmp_path / "config/collector.key"),
        "collect_scheduler": "none",
    }


def test_secrets_are_placed_and_never_shown(collecting: dict, tmp_path: Path) -> None:
    first, second = "the-first-secret", "the-second-secret"
    flags = ("--skip-tags", "runtime", "--diff", "-vvv")
    file = tmp_path / "config/collector.key"
    check = run_playbook(COLLECT, {**collecting, "collect_secrets": {file.name: first}}, tmp_path, *flags, "--check")
    assert check.returncode == 0, check.stdout + check.stderr
    assert not file.exists()
    done = run_playbook(COLLECT, {**collecting, "collect_secrets": {file.name: first}}, tmp_path, *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert file.read_text() == first + "\n"
    assert file.stat().st_mode & 0o777 == 0o640
    again = run_playbook(COLLECT, {**collecting, "collect_secrets": {file.name: first}}, tmp_path, *flags)
    assert again.returncode == 0 and changed(again.stdout) == 0, again.stdout + again.stderr
    other = run_playbook(COLLECT, {**collecting, "collect_secrets": {file.name: second}}, tmp_path, *flags)
    assert changed(other.stdout) == 1 and file.read_text() == second + "\n"
    told = [outcome.stdout.split("PLAY [", 1)[1] + outcome.stderr for outcome in (check, done, again, other)]
    assert not [text for text in told if first in text or second in text]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"collect_interval": "90m"}, "collect_interval is 90m: give whole minutes from 1m to 59m"),
        ({"collect_secrets": {"../passwd": "x"}}, "give file names of letters"),
        ({"collect_secrets": {"collect": "x"}}, "give file names of letters"),
        ({"collect_syslog": True}, "name who may send in collect_syslog_networks"),
        ({"collect_scheduler": "cron"}, "has no source to collect from: set cyberalarm_token_file or"),
        ({"collect_scheduler": "at"}, "value of collect_scheduler must be one of"),
    ],
    ids=["interval", "path", "our own name", "open to all", "no source", "scheduler"],
)
def test_what_cannot_work_is_refused(variables: dict, sentence: str, collecting: dict, tmp_path: Path) -> None:
    done = run_playbook(COLLECT, {**collecting, **variables}, tmp_path, "--skip-tags", "runtime", "--check")
    assert done.returncode != 0
    assert sentence in done.stdout, done.stdout


def test_syslog_is_not_written_where_the_soc_could_lead_root_astray(collecting: dict, tmp_path: Path) -> None:
    below = {"collect_syslog": True, "collect_syslog_networks": ["192.0.2.0/24"]}
    below["collect_syslog_file"] = f"{collecting['runtime_log_dir']}/firebox/firebox.log"
    done = run_playbook(COLLECT, {**collecting, **below}, tmp_path, "--skip-tags", "runtime", "--check")
    assert done.returncode != 0 and "that is not below" in done.stdout, done.stdout


def test_the_settings_of_the_host_are_what_the_playbook_reads() -> None:
    text = (ROOT / "playbooks/collect.yml").read_text("utf-8")
    text = re.sub(r"^ *netcure\.soc\..*$|^ *elasticsearch_(?:api_key_file|compress):", "", text, flags=re.MULTILINE)
    pattern = r"\b(?:collect|cyberalarm|elasticsearch|guardian360|runtime|watchguard)_[a-z0-9_]+"
    role = yaml.safe_load((ROOT / "roles/collect/vars/main.yml").read_text("utf-8"))
    assert role["collect_settings_names"] == sorted(
        set(re.findall(pattern, text)) - {"collect_failed", "collect_outcome"}
    )
    assert role["collect_source_of"].keys() <= set(role["collect_settings_names"])
    # The names of files may be among them, secrets may not.
    assert not [name for name in role["collect_settings_names"] if re.search("(key|secret|token|password)s?$", name)]


def test_hosts_get_the_version_that_deploys_them() -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text("utf-8"))["version"]
    defaults = yaml.safe_load((ROOT / "roles/collect/defaults/main.yml").read_text("utf-8"))
    assert defaults["collect_collection_source"] == f"netcure.soc:=={version}"


def collect(folder: Path, **variables: object) -> subprocess.CompletedProcess:
    """Run the playbook of collecting against vendors that cannot be reached."""
    settings = {
        **in_folders_of(folder),
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "elasticsearch_url": "https://127.0.0.1:9",
        "elasticsearch_ca_path": "/etc/ssl/certs/ca-certificates.crt",
        "collect_elasticsearch_api_key_file": str(folder / "key"),
        **variables,
    }
    (folder / "key").write_text("key")
    inventory = folder / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"soc": {"hosts": {"here": None}, "vars": settings}}))
    command = ["ansible-playbook", "-i", str(inventory), "playbooks/collect.yml"]
    # The interpreter that the playbook names is in the virtual environment that the test does not make.
    command += ["-e", json.dumps({"ansible_python_interpreter": sys.executable})]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_source_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    done = collect(
        tmp_path,
        guardian360_token_file=nowhere,
        cyberalarm_token_file=nowhere,
        cyberalarm_base_url="http://cyberalarm.invalid",
    )
    assert done.returncode != 0
    summary = done.stdout[done.stdout.index("TASK [Say which sources failed]") :]
    assert f"cannot be read from {nowhere}" in summary and "give an https address" in summary, done.stdout


def test_a_source_that_is_being_collected_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token")
    (tmp_path / "state/guardian360").mkdir(parents=True)
    options = {"guardian360_base_url": "https://guardian360.invalid", "guardian360_token_file": str(tmp_path / "token")}
    with (tmp_path / "state/guardian360/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        left = collect(tmp_path, collect_wait=0, **options)
        waited = collect(tmp_path, collect_wait=5, **options)
    assert left.returncode == 0, left.stdout
    assert waited.returncode != 0 and "Another run is at work" in waited.stdout, waited.stdout


def test_templates_are_compared_before_they_are_written(search: Search, tmp_path: Path) -> None:
    endpoint = search.endpoint
    variables = {
        "elasticsearch_url": endpoint.url,
        "elasticsearch_ca_path": str(endpoint.ca_path),
        "elasticsearch_username": endpoint.username,
        "elasticsearch_password": endpoint.password,
        "elasticsearch_api_keys": [],
    }
    again = run_playbook(SITE, variables, tmp_path)
    assert again.returncode == 0 and changed(again.stdout) == 0, again.stdout + again.stderr
    check = run_playbook(SITE, {**variables, "elasticsearch_replicas": 1}, tmp_path, "--check", "--diff")
    assert changed(check.stdout) == 1, check.stdout
    name = "soc-collected"
    template = search.admin.call("indices.get_index_template", name=name)["index_templates"][0]["index_template"]
    assert template["template"]["settings"]["index"]["number_of_replicas"] == "0"
    told = run_playbook(SITE, variables, tmp_path, "-vvv", "--diff")
    assert told.returncode == 0 and endpoint.password not in told.stdout + told.stderr


def test_the_artefact_installs_and_its_pages_read(tmp_path: Path) -> None:
    subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", str(tmp_path), str(ROOT)], check=True)
    (artefact,) = tmp_path.glob("netcure-soc-*.tar.gz")
    names = subprocess.run(["tar", "tzf", str(artefact)], capture_output=True, text=True, check=True).stdout.split()
    for part in (".lab/", ".venv/", ".cache/", ".ci/", ".git/"):
        assert not [name for name in names if name.startswith(part)]
    assert {"README.md", "LICENSE", "meta/runtime.yml", "templates/screen.html.j2"} <= set(names)
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "installed"), "PYTHONPATH": ""}
    install = ["ansible-galaxy", "collection", "install", "--no-deps", "-p", str(tmp_path / "installed"), str(artefact)]
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


def examples(path: Path) -> list[dict]:
    """The tasks under EXAMPLES of a module, of those that run modules of the collection."""
    told = re.search(r'EXAMPLES = r"""\n(.*?)"""', path.read_text(), re.DOTALL).group(1)
    return [task for task in yaml.safe_load(told) if any(key.startswith("netcure.soc.") for key in task)]


def test_the_examples_are_plays_that_ansible_accepts(tmp_path: Path) -> None:
    tasks = [task for path in MODULES for task in examples(path)]
    assert len(tasks) > len(MODULES)
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    done = run_playbook(yaml.safe_dump(play, sort_keys=False), {}, tmp_path, "--syntax-check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_modules_accept_their_examples(path: Path) -> None:
    """Each in check mode: its options are right, though the vendors and files in them do not exist."""
    templar = Templar(variables={"item": "cyberalarm"})
    for task in examples(path):
        text = json.dumps(task[f"netcure.soc.{path.stem}"])
        told = run_here(path.stem, json.loads(templar.template(trust_as_template(text))), "--check")
        assert told.failed is ("failure" in told.result), told.output  # it came past its options, and gave a reason
        assert "Traceback" not in told.output and told.result.get("failure", {}).get("code") != InternalError.code
