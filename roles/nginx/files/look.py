# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, what a host has of nginx, and of the certificates that it is to show. It changes nothing.

The first argument is JSON: the C(marker) of a configuration of ours, and where C(files) of certificates come from.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ETC = Path("/etc/nginx")
TLS = ETC / "tls"
PID = Path("/run/nginx.pid")
# The page that Debian shows, which nobody misses.
DEBIAN = "/etc/nginx/sites-enabled/default"


def said(*command: str) -> str:
    """What ``command`` says, which is nothing where there is no such program."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    except OSError:
        return ""


def version_of(package: str) -> str:
    """The version that is installed, or nothing."""
    told = said("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", package)
    return told.partition(" ")[2] if told.startswith("installed ") else ""


def file_of(path: Path) -> list[str]:
    """Its SHA-256, its mode and its owner; nothing where there is none."""
    try:
        there = path.stat()
        return [
            hashlib.sha256(path.read_bytes()).hexdigest(),
            f"{there.st_mode & 0o7777:04o}",
            f"{there.st_uid}:{there.st_gid}",
        ]
    except OSError:
        return []


def foreign(marker: str) -> list[str]:
    """Files of a configuration that is not ours: its sites would stop answering when ours come."""
    config = ETC / "nginx.conf"
    if config.exists() and marker in config.read_text("utf-8", "replace"):
        return []
    changed = re.findall(r"^..5.* c (/etc/nginx/nginx\.conf)$", said("dpkg", "--verify", "nginx-common"), re.MULTILINE)
    folders = [ETC / "conf.d", ETC / "sites-enabled"]
    sites = [
        os.path.join(folder, name)
        for top in folders
        for folder, _folders, names in os.walk(top, followlinks=True)
        for name in names
        if os.path.isfile(os.path.join(folder, name))
    ]
    return changed + sorted(site for site in sites if site != DEBIAN)


def stapled(path: str) -> bool:
    """Whether its authority offers to vouch for it, and the file has the issuer that is needed to check that."""
    offered = said("openssl", "x509", "-noout", "-ocsp_uri", "-in", path).startswith("http")
    return offered and Path(path).read_text("ascii", "replace").count("BEGIN CERTIFICATE") > 1


def workers() -> dict[int, int]:
    """How many seconds each worker runs, by its process."""
    try:
        told = said("ps", "--ppid", PID.read_text().strip(), "-o", "pid=,etimes=")
    except OSError:
        return {}
    return {int(process): int(age) for process, age in map(str.split, told.splitlines())}


def outdated(ages: dict[int, int]) -> bool:
    """Whether something was written after the youngest worker began, as when a run was interrupted before its reload."""
    written = [int(path.stat().st_ctime) for path in (ETC / "nginx.conf", TLS) if path.exists()]
    return not ages or int(time.time()) - min(ages.values()) < max(written, default=0)


def main() -> None:
    wanted = json.loads(sys.argv[1])
    sources = {file["dest"]: file["src"] for file in wanted["files"]}
    there = {dest: src for dest, src in sources.items() if os.path.exists(src)}
    shown = [dest for dest in there if re.fullmatch(r"(default|site-.*)\.crt", dest)]
    version, ages = version_of("nginx"), workers()
    print(
        json.dumps(
            {
                "version": version,
                # Of Debian 13 on; from 3.5 it has the key exchange that quantum computers do not break.
                "openssl": version_of("libssl3t64"),
                "ipv6": os.path.exists("/proc/net/if_inet6"),
                "active": said("systemctl", "is-active", "nginx.service") in ("active", "reloading"),
                "enabled": said("systemctl", "is-enabled", "nginx.service") == "enabled",
                "workers": sorted(ages),
                "outdated": outdated(ages),
                "stale": said("systemctl", "show", "--property=NeedDaemonReload", "--value", "nginx.service") == "yes",
                "config": file_of(ETC / "nginx.conf"),
                "foreign": foreign(wanted["marker"]) if version else [],
                "missing": [src for dest, src in sources.items() if dest not in there],
                "stapled": [dest for dest in shown if stapled(there[dest])],
                "tls": sorted(str(path) for path in TLS.iterdir()) if TLS.is_dir() else [],
            }
        )
    )


if __name__ == "__main__":
    main()
