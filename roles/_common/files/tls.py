# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, which certificates fit no key or authority, and which files are not in place yet. It changes nothing.

The first argument is JSON: C(files) with their C(src) and C(dest), the C(directory) they go to and its C(group). A key is
compared with the certificate of its name, and that with C(ca.crt).
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path


def openssl(*words: str) -> str:
    """What openssl says, or nothing when it refuses."""
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return done.stdout if done.returncode == 0 else ""


def misfit(certificate: str, key: str, authority: str) -> str:
    """Why these three do not belong together, or nothing."""
    if openssl("x509", "-noout", "-pubkey", "-in", certificate) != (openssl("pkey", "-pubout", "-in", key) or "none"):
        return f"the key {key} is not that of the certificate {certificate}"
    if not openssl("x509", "-noout", "-checkend", "0", "-in", certificate):
        return f"the certificate {certificate} has expired"
    if authority and not openssl("verify", "-CAfile", authority, "-untrusted", certificate, certificate):
        return f"the certificate {certificate} was not signed by an authority in {authority}"
    return ""


def mode_of(name: str) -> int:
    """A key is for its program alone."""
    return 0o640 if name.endswith(".key") else 0o644


def folder_right(folder: Path, group: str) -> bool:
    """Whether the folder is there, and for its program alone."""
    try:
        there = folder.stat()
        owner, reader = pwd.getpwuid(there.st_uid).pw_name, grp.getgrgid(there.st_gid).gr_name
    except (OSError, KeyError):
        return False
    return folder.is_dir() and (owner, reader, there.st_mode & 0o7777) == ("root", group, 0o750)


def in_place(source: str, target: Path, group: str) -> bool:
    """Whether ``target`` is what ``source`` is, and is its owner's and group's as it should be."""
    try:
        there = target.stat()
        return (
            target.read_bytes() == Path(source).read_bytes()
            and there.st_mode & 0o7777 == mode_of(target.name)
            and pwd.getpwuid(there.st_uid).pw_name == "root"
            and grp.getgrgid(there.st_gid).gr_name == group
        )
    except (OSError, KeyError):
        return False


def main() -> None:
    wanted = json.loads(sys.argv[1])
    sources = {file["dest"]: file["src"] for file in wanted["files"]}
    folder, group = Path(wanted["directory"]), wanted["group"]
    keys = [name for name in sources if name.endswith(".key") and os.path.exists(sources[name])]
    due = [name for name in sources if not in_place(sources[name], folder / name, group)]
    # What is in use is not made better by a refusal: when it has expired, new authorities must still find their way.
    pairs = [(name[:-3] + "crt", name) for name in keys if {name[:-3] + "crt", name} & set(due)]
    reasons = [misfit(sources[certificate], sources[key], sources.get("ca.crt", "")) for certificate, key in pairs]
    told = {
        "issued": all(os.path.exists(source) for source in sources.values()),
        "wrong": [reason for reason in reasons if reason],
        "folder": folder_right(folder, group),
        "group": any(entry.gr_name == group for entry in grp.getgrall()),
        "due": due,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
