# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, which folders and files are not as they should be, and whether it knows whose they are. It changes nothing.

The first argument is JSON: for each C(path) its C(kind), which is folder, file, touched (a file, whatever is in it) or nothing,
its C(owner), C(group) and C(mode), and the SHA-256 C(sum) of a file.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import sys
from pathlib import Path


def right(wanted: dict) -> bool:
    """Whether what is at a path is as wanted. Of a link counts where it leads."""
    path = Path(wanted["path"])
    if wanted["kind"] == "nothing":
        return not os.path.lexists(path)
    try:
        there = path.stat()
        return (
            path.is_dir() == (wanted["kind"] == "folder")
            and f"{there.st_mode & 0o7777:04o}" == wanted["mode"]
            and pwd.getpwuid(there.st_uid).pw_name == wanted["owner"]
            and grp.getgrgid(there.st_gid).gr_name == wanted["group"]
            and (wanted["kind"] != "file" or hashlib.sha256(path.read_bytes()).hexdigest() == wanted["sum"])
        )
    except (OSError, KeyError):
        return False


def known(wanted: dict) -> bool:
    """Whether the host has the owner and the group. A check on a clean host has made neither."""
    try:
        pwd.getpwnam(wanted["owner"])
        grp.getgrnam(wanted["group"])
    except KeyError:
        return False
    return True


def main() -> None:
    print(json.dumps({wanted["path"]: known(wanted) for wanted in json.loads(sys.argv[1]) if not right(wanted)}))


if __name__ == "__main__":
    main()
