# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, what a host has of Elasticsearch. It changes nothing.

The first argument is JSON: whether it is C(packaged), the C(files) that the role writes, and where things are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

UNIT = Path("/etc/systemd/system/elasticsearch.service")
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def said(*command: str) -> str:
    """What ``command`` says, which is nothing where there is no such program."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    except OSError:
        return ""


def text_of(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def sum_of(path: str) -> str:
    """SHA-256 of a file; nothing where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def version_of(wanted: dict) -> str:
    """The version that is installed, or nothing."""
    if wanted["packaged"]:
        told = said("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", "elasticsearch")
        there = re.fullmatch(r"installed ([^-]+).*", told)
        return there.group(1) if there else ""
    # A folder with a container's programs says so behind the version.
    return os.path.basename(os.readlink(wanted["home"])).partition("-")[0] if os.path.islink(wanted["home"]) else ""


def installed_as(unit: Path) -> str:
    """Where what is installed came from, as elasticsearch_install says it; nothing where there is none, or only its settings."""
    if unit.exists():  # the package has its unit elsewhere
        return "archive or container"
    return "repository" if version_of({"packaged": True}) else ""


def commit_of(state: Path) -> bytes:
    """What Elasticsearch noted when it last wrote its cluster state, which it keeps as a Lucene index; nothing where there is none."""
    for _attempt in range(5):  # a running node removes a commit when there is a newer one
        try:
            return max(state.glob("segments_*"), key=lambda path: int(path.name.partition("_")[2], 36)).read_bytes()
        except ValueError:  # there is none
            break
        except OSError:
            time.sleep(0.1)
    return b""


def noted(commit: bytes, key: str) -> str:
    """The value of a key in a commit: each is written behind its length (PersistedClusterStateService names the keys)."""
    found = re.search(bytes([len(key)]) + key.encode() + rb"(.)([ -~]+)", commit, re.DOTALL)
    return found[2][: found[1][0]].decode() if found else ""


def data_version_of(commit: bytes) -> str:
    """The version that wrote the data last, which no older one reads; nothing where there are none.

    A number, with two digits for each part but the first, and 99 at the end (org.elasticsearch.Version.id).
    """
    number = int(noted(commit, "node_version") or 0)
    return f"{number // 1000000}.{number // 10000 % 100}.{number // 100 % 100}" if number else ""


def formed(state: Path, commit: bytes, settings: str) -> bool:
    """Whether the node is one of a cluster. It has a state also when it ended at its first start, or never found the others."""
    committed = noted(commit, "cluster_uuid_committed")
    if committed:
        return committed == "true"
    return state.exists() and not re.search(r'(?m)^"?cluster\.initial_master_nodes', settings)


def kept_version_of(wanted: dict) -> str:
    """The version that the copy of what was good is for, or nothing: of a package its pin says so."""
    try:
        with tarfile.open(wanted["kept"]) as kept:
            if not wanted["packaged"]:
                return os.path.basename(kept.getmember(wanted["home"]).linkname).partition("-")[0]
            pin = kept.extractfile(wanted["pin"])
            return pin.read().decode().partition("Pin: version ")[2].split()[0] if pin else ""
    except (OSError, KeyError, IndexError, tarfile.TarError):
        return ""


def fits(folder: Path, version: str) -> bool:
    """Whether Elasticsearch of ``version`` starts with a plugin: it is made for it, or, of the stable kind, for an older one of its major."""
    stable = (folder / "stable-plugin-descriptor.properties").exists()
    described = text_of(str(folder / ("stable-" * stable + "plugin-descriptor.properties")))
    made = re.search(r"(?m)^elasticsearch\.version=(\S+)", described)
    if not made or not stable:
        return bool(made) and made.group(1) == version
    ours, its = ([int(part) for part in re.findall(r"\d+", text)[:3]] for text in (version, made.group(1)))
    return ours[0] == its[0] and ours >= its


def plugins_of(folder: str, version: str) -> dict[str, bool]:
    """Of each plugin that is there, whether it fits."""
    return {path.name: fits(path, version) for path in Path(folder).iterdir()} if os.path.isdir(folder) else {}


def port_of(settings: str) -> str:
    """The port on which it answers, as the settings on the disk say."""
    named = re.search(r'(?m)^"?http\.port"?: *"?(\d+)', settings)
    return named.group(1) if named else ""


def runs_programs(folder: str) -> bool:
    """Whether what lies in a folder, or will, may be run: its file system is not mounted noexec."""
    path = Path(folder)
    while not path.exists():
        path = path.parent
    return not os.statvfs(path).f_flag & os.ST_NOEXEC


def main() -> None:
    wanted = json.loads(sys.argv[1])
    limits = [text_of(path).strip() for path in LIMITS]
    state = Path(wanted["data"], "_state")
    commit = commit_of(state)
    settings = text_of(wanted["files"][0])
    active = said("systemctl", "is-active", "elasticsearch.service")
    print(
        json.dumps(
            {
                "version": version_of(wanted),
                "installed_as": installed_as(UNIT),
                "data_version": data_version_of(commit),
                "kept_version": kept_version_of(wanted),
                # A container sees the memory of its host, and may not have it.
                "memory_limits": [int(limit) for limit in limits if limit.isdigit()],
                "prepared": os.path.isdir(wanted["version_dir"]),
                "formed": formed(state, commit, settings),
                "interrupted": os.path.exists(wanted["kept"]),
                "plugins": plugins_of(wanted["plugins"], wanted["version"]),
                "port": port_of(settings),
                "temporary_runs": runs_programs(wanted["temporary"]),
                "active": active == "active",
                "starting": active == "activating",
                # From wherever.
                "docker": said("systemctl", "cat", "docker.service") != "",
                "sums": [sum_of(path) for path in wanted["files"]],
            }
        )
    )


if __name__ == "__main__":
    main()
