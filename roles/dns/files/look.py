# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, how a host resolves names. It changes nothing.

The first argument is JSON: the C(files) to keep in mind, and the files of what the role remembers.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

RESOLV_CONF = "/etc/resolv.conf"


def text_of(path: str | Path) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def said(*command: str) -> str:
    """What ``command`` says, which is nothing where there is no such program."""
    try:
        done = subprocess.run(  # noqa: S603 (no shell; our own commands)
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError:
        return ""
    return done.stdout


def entry_of(path: str) -> dict | None:
    """What is at ``path``: a link and where it leads, or a file and what is in it."""
    if os.path.islink(path):
        return {"link": os.readlink(path)}
    if not os.path.exists(path):
        return None
    return {"content": text_of(path), "mode": f"{os.stat(path).st_mode & 0o7777:04o}"}


def written(server: str) -> str:
    """An address in its one form, and with it the name that its certificate has."""
    address, mark, name = server.partition("#")
    with contextlib.suppress(ValueError):
        address = str(ipaddress.ip_address(address))
    return f"{address}{mark}{name}"


def method_of(link: str, resolved: bool, lookup: str, resolvconf: str) -> str:
    """What really decides how this host resolves names."""
    through = re.search(r"^hosts:.*\bresolve\b", lookup, re.MULTILINE) is not None
    if resolved and ("/systemd/resolve/" in link or through):
        return "resolved"
    if resolvconf and "resolvconf" in link:
        return "resolvconf"
    return "file"


def main() -> None:
    wanted = json.loads(sys.argv[1])
    link = os.readlink(RESOLV_CONF) if os.path.islink(RESOLV_CONF) else ""
    resolved = said("systemctl", "is-active", "systemd-resolved.service").strip() == "active"
    # openresolv says who it is. That of resolved only looks like one.
    program = shutil.which("resolvconf")
    resolvconf = ""
    if program and not os.path.realpath(program).endswith("resolvectl"):
        resolvconf = "debian" if os.path.isdir("/etc/resolvconf/resolv.conf.d") else "openresolv"

    docker = text_of("/etc/docker/daemon.json")
    try:
        daemon = json.loads(docker) if docker.strip() else {}
        broken = "" if isinstance(daemon, dict) else "it is no object"
    except ValueError as error:
        daemon, broken = {}, str(error)

    method = method_of(link, resolved, text_of("/etc/nsswitch.conf"), resolvconf)
    servers = re.findall(r"^nameserver\s+(\S+)", text_of(RESOLV_CONF), re.MULTILINE)
    if method == "resolved":
        everywhere = re.search(r"^Global:(.*)$", said("resolvectl", "dns"), re.MULTILINE)
        servers = everywhere.group(1).split() if everywhere else []
    print(
        json.dumps(
            {
                "files": {path: entry_of(path) for path in wanted["files"]},
                "mounted": any(line.split()[4] == RESOLV_CONF for line in text_of("/proc/self/mountinfo").splitlines()),
                "link": link,
                "method": method,
                "servers": servers,
                "wanted": [written(server) for server in wanted["servers"]],
                "resolved": resolved,
                "resolvconf": resolvconf,
                "dhclient": os.path.isdir("/etc/dhcp/dhclient-enter-hooks.d"),
                "dhcpcd": os.path.isfile("/etc/dhcpcd.conf"),
                "network_manager": os.path.isdir("/etc/NetworkManager"),
                "network_manager_runs": said("systemctl", "is-active", "NetworkManager.service").strip() == "active",
                "docker": bool(shutil.which("dockerd")),
                "docker_checks": "--validate" in said("dockerd", "--help"),
                "docker_daemon": daemon,
                "docker_file": bool(docker.strip()),
                "docker_broken": broken,
                "docker_runs": said("systemctl", "is-active", "docker.service").strip() == "active",
                "docker_state": json.loads(text_of(wanted["docker_state_file"]) or "null"),
                "state": json.loads(text_of(wanted["state_file"]) or "{}"),
            }
        )
    )


if __name__ == "__main__":
    main()
