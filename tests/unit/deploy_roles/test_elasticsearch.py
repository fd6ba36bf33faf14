# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role elasticsearch finds on a host, and what it makes of that."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, run_playbook

ROLE = ROOT / "roles/elasticsearch"
LOOK = runpy.run_path(str(ROLE / "files/look.py"))


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("installed 8.19.8", "8.19.8"),
        ("installed 8.19.8-1", "8.19.8"),
        ("config-files 8.19.8", ""),
        ("", ""),
    ],
    ids=["installed", "with a revision", "removed, settings are left", "unknown"],
)
def test_the_version_of_a_package(monkeypatch: pytest.MonkeyPatch, told: str, version: str) -> None:
    monkeypatch.setitem(LOOK["version_of"].__globals__, "said", lambda *_command: told)
    assert LOOK["version_of"]({"packaged": True}) == version


@pytest.mark.parametrize("folder", ["8.17.0", "8.17.0-container"])
def test_the_version_of_an_archive_or_an_image(tmp_path: Path, folder: str) -> None:
    home = tmp_path / "current"
    wanted = {"packaged": False, "home": str(home)}
    assert LOOK["version_of"](wanted) == ""
    home.symlink_to(f"/opt/elasticsearch/{folder}")
    assert LOOK["version_of"](wanted) == "8.17.0"


@pytest.mark.parametrize(
    ("commits", "version"),
    [
        ({}, ""),
        ({"segments_9": "8170099"}, "8.17.0"),
        # The names are numbers to the base of 36.
        ({"segments_9": "8170099", "segments_z": "8170099", "segments_10": "8190899"}, "8.19.8"),
        ({"segments_1": "9000199"}, "9.0.1"),
        ({"segments_1": ""}, ""),
    ],
    ids=["no data", "one commit", "the newest commit", "9", "a commit of something else"],
)
def test_the_version_that_wrote_the_data(tmp_path: Path, commits: dict[str, str], version: str) -> None:
    """As Lucene writes a map of strings: each with its length before it."""
    for name, number in commits.items():
        noted = (
            b"\x0cnode_version" + bytes([len(number)]) + number.encode() + b"9\x0ccluster_uuid" if number else b"other"
        )
        (tmp_path / name).write_bytes(b"\x00\x01segments" + noted)
    assert LOOK["data_version_of"](LOOK["commit_of"](tmp_path)) == version


def test_a_folder_that_is_not_there_has_no_version(tmp_path: Path) -> None:
    assert LOOK["data_version_of"](LOOK["commit_of"](tmp_path / "missing")) == ""


def keep(kept: Path, path: Path) -> None:
    """As snapshot.yml does: with the whole path as a name."""
    subprocess.run(["tar", "--create", "--absolute-names", f"--file={kept}", str(path)], check=True)


@pytest.mark.parametrize("folder", ["8.17.0", "8.17.0-container"])
def test_the_version_that_a_copy_has_kept(tmp_path: Path, folder: str) -> None:
    home, kept = tmp_path / "current", tmp_path / "kept.tar"
    wanted = {"packaged": False, "kept": str(kept), "home": str(home)}
    assert LOOK["kept_version_of"](wanted) == ""
    kept.write_text("torn off")
    assert LOOK["kept_version_of"](wanted) == ""
    home.symlink_to(f"/opt/elasticsearch/{folder}")
    keep(kept, home)
    assert LOOK["kept_version_of"](wanted) == "8.17.0"
    with tarfile.open(kept, "w"):
        pass
    assert LOOK["kept_version_of"](wanted) == ""


@pytest.mark.parametrize(
    ("pinned", "version"), [("Pin: version 8.17.0\nPin-Priority: 1001\n", "8.17.0"), ("Pin: version ", ""), ("", "")]
)
def test_the_version_of_a_package_that_a_copy_has_kept(tmp_path: Path, pinned: str, version: str) -> None:
    pin, kept = tmp_path / "pin", tmp_path / "kept.tar"
    pin.write_text(f"# Managed\nPackage: elasticsearch\n{pinned}")
    keep(kept, pin)
    assert LOOK["kept_version_of"]({"packaged": True, "kept": str(kept), "pin": str(pin)}) == version


@pytest.mark.parametrize(
    ("descriptor", "made", "right"),
    [
        ("plugin-descriptor", "8.19.8", True),
        ("plugin-descriptor", "8.19.7", False),
        ("stable-plugin-descriptor", "8.17.0", True),
        ("stable-plugin-descriptor", "8.19.9", False),
        ("stable-plugin-descriptor", "7.17.0", False),
        ("other", "8.19.8", False),
    ],
)
def test_a_plugin_fits_its_version_and_a_stable_one_newer_ones_too(
    tmp_path: Path, descriptor: str, made: str, *, right: bool
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / f"{descriptor}.properties").write_text(
        f"name=x\nelasticsearch.version={made}\njava.version=17\n"
    )
    assert LOOK["plugins_of"](str(tmp_path), "8.19.8") == {"one": right}
    assert LOOK["plugins_of"](str(tmp_path / "missing"), "8.19.8") == {}


def look(folder: Path, settings: str) -> dict:
    (folder / "elasticsearch.yml").write_text(settings)
    wanted = {
        "packaged": False,
        "home": str(folder / "current"),
        "version": "8.19.8",
        "version_dir": str(folder / "8.19.8"),
        "pin": str(folder / "pin"),
        "data": str(folder / "data"),
        "temporary": str(folder / "not/yet/there"),
        "kept": str(folder / "kept.tar"),
        "plugins": str(folder / "plugins"),
        "files": [str(folder / "elasticsearch.yml")],
    }
    command = [sys.executable, str(ROLE / "files/look.py"), json.dumps(wanted)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_node_that_ended_at_its_first_start_may_form_the_cluster_still(tmp_path: Path) -> None:
    forming = 'http.port: 9201\ncluster.initial_master_nodes: ["soc1"]\n'
    assert look(tmp_path, forming)["formed"] is False
    (tmp_path / "data/_state").mkdir(parents=True)
    told = look(tmp_path, forming)
    assert told["formed"] is False and told["port"] == "9201" and told["temporary_runs"] is True
    assert look(tmp_path, "http.port: 9201\n")["formed"] is True
    # What is left of a node that was removed, and the comment in the settings of the package.
    assert look(tmp_path, "#cluster.initial_master_nodes: [a]\n")["formed"] is True


@pytest.mark.parametrize("committed", [True, False])
def test_a_node_that_never_found_the_others_may_form_the_cluster_still(tmp_path: Path, *, committed: bool) -> None:
    """Started without the names of those that form it, as where the others took no part in the run."""
    told = str(committed).lower().encode()
    (tmp_path / "data/_state").mkdir(parents=True)
    (tmp_path / "data/_state/segments_2").write_bytes(
        b"\x16cluster_uuid_committed" + bytes([len(told)]) + told + b"\x0c"
    )
    assert look(tmp_path, "http.port: 9201\n")["formed"] is committed
    assert look(tmp_path, "cluster.initial_master_nodes: [a]\n")["formed"] is committed


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the variables of the role say, on hosts of these sizes and roles."""
    folder = tmp_path_factory.mktemp("vars")
    told = folder / "told"
    looked = {"memory_limits": [], "docker": False}
    heaps = {
        "half": {"elasticsearch_looked": looked, "memtotal_mb": 16000},
        "percent": {"elasticsearch_looked": looked, "memtotal_mb": 16000, "elasticsearch_heap_percent": 25},
        "cgroup": {"elasticsearch_looked": {**looked, "memory_limits": [4 * 2**30]}, "memtotal_mb": 16000},
        "large": {"elasticsearch_looked": looked, "memtotal_mb": 262144},
        "given": {"elasticsearch_looked": looked, "memtotal_mb": 16000, "elasticsearch_heap": "3g"},
        # As -e gives it.
        "text": {"elasticsearch_looked": looked, "memtotal_mb": 16000, "elasticsearch_heap_percent": "25"},
    }
    nodes = {"a": ["master", "data"], "b": ["master"], "c": ["data", "ingest"], "d": []}
    tasks: list[dict] = [
        {"ansible.builtin.add_host": {"name": name, "groups": ["elasticsearch"], "elasticsearch_node_roles": roles}}
        for name, roles in nodes.items()
    ]
    for name, variables in heaps.items():
        memory = variables.pop("memtotal_mb")
        tasks += [
            {"ansible.builtin.set_fact": {"memtotal_mb": memory, "cacheable": True}},
            {"ansible.builtin.set_fact": {f"told_{name}": "{{ elasticsearch_heap_found }}"}, "vars": variables},
        ]
    names = {name: f"{{{{ told_{name} }}}}" for name in heaps} | {
        "order": "{{ elasticsearch_order }}",
        "masters": "{{ elasticsearch_masters }}",
    }
    tasks.append(
        {"ansible.builtin.copy": {"content": "{{ names | to_json }}", "dest": str(told)}, "vars": {"names": names}}
    )
    files = [str(ROLE / "vars/main.yml"), str(ROLE / "defaults/main.yml")]
    play = [{"hosts": "localhost", "gather_facts": False, "vars_files": files, "tasks": tasks}]
    done = run_playbook(yaml.safe_dump(play), {}, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(told.read_text())


@pytest.mark.parametrize(
    ("host", "heap"),
    [
        ("half", "8000m"),
        ("percent", "4000m"),
        ("cgroup", "2048m"),
        ("large", "30720m"),
        ("given", "3g"),
        ("text", "4000m"),
    ],
)
def test_the_heap_is_half_of_the_memory_and_never_more_than_short_pointers_reach(
    said: dict, host: str, heap: str
) -> None:
    assert said[host] == heap


def test_those_that_may_be_master_have_their_turn_last(said: dict) -> None:
    assert said["order"] == ["c", "a", "b", "d"] and said["masters"] == ["a", "b", "d"]
