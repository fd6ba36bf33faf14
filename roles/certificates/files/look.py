# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, which files a host has of its certificates, and by what names each is to be for. It changes nothing.

JSON on standard input: the C(directory), its C(files), the folder C(new) of what is being made, the names of the C(host), and
the C(list) of certificates.
"""

from __future__ import annotations

import grp
import hashlib
import ipaddress
import json
import pwd
import sys
from pathlib import Path


def file_of(path: Path) -> dict | None:
    """What a file is, or nothing where there is none. Who has no name is told by number."""
    try:
        content, there = path.read_bytes(), path.stat()
    except OSError:
        return None
    try:
        owner, group = pwd.getpwuid(there.st_uid).pw_name, grp.getgrgid(there.st_gid).gr_name
    except KeyError:
        owner, group = str(there.st_uid), str(there.st_gid)
    return {"sum": hashlib.sha256(content).hexdigest(), "rights": [f"{there.st_mode & 0o7777:04o}", owner, group]}


def entry(name: str) -> str:
    """A name as it stands in a certificate."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return "DNS:" + name.lower()
    # An address that counts only on its own link says nothing about a host.
    return "" if address.is_link_local else f"IP:{address.compressed}"


def names(item: dict, host: list[str]) -> list[str]:
    """A client is known by its common name, so only servers get the names of the host."""
    all_of_it = item.get("dns_names", []) + item.get("ip_addresses", [])
    if "serverAuth" in item["usage"]:
        all_of_it = all_of_it + host
    return sorted({entry(name) for name in all_of_it if name} - {""})


def main() -> None:
    wanted = json.load(sys.stdin)
    directory = Path(wanted["directory"])
    trusted = directory / "ca.crt"
    print(
        json.dumps(
            {
                "files": {name: file_of(directory / name) for name in wanted["files"]},
                "trusts": trusted.read_text() if trusted.exists() else "",
                "left": Path(wanted["new"]).exists(),
                "names": {item["name"]: names(item, wanted["host"]) for item in wanted["list"]},
            }
        )
    )


if __name__ == "__main__":
    main()
