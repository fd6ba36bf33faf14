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
from pathlib import Path

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


def plugins_of(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir()) if os.path.isdir(folder) else []


def main() -> None:
    wanted = json.loads(sys.argv[1])
    limits = [text_of(path).strip() for path in LIMITS]
    print(
        json.dumps(
            {
                "version": version_of(wanted),
                # A container sees the memory of its host, and may not have it.
                "memory_limits": [int(limit) for limit in limits if limit.isdigit()],
                "prepared": os.path.isdir(wanted["version_dir"]),
                "formed": os.path.exists(os.path.join(wanted["data"], "_state")),
                "interrupted": os.path.exists(wanted["kept"]),
                "plugins": plugins_of(wanted["plugins"]),
                "active": said("systemctl", "is-active", "elasticsearch.service") == "active",
                # From wherever.
                "docker": said("systemctl", "cat", "docker.service") != "",
                "sums": [sum_of(path) for path in wanted["files"]],
            }
        )
    )


if __name__ == "__main__":
    main()
