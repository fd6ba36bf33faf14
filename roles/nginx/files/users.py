# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, the lines of a file of passwords, and whether the file has them. It changes nothing.

JSON on standard input: the C(file), and the password of each of C(users). A hash has salt in it: to know whether a password
changed, it is hashed anew with the salt that is there.
"""

from __future__ import annotations

import grp
import json
import subprocess
import sys
from pathlib import Path


def hashed(password: str, salt: str) -> str:
    """SHA-512 crypt, with a salt of its own where there is none yet."""
    command = ["openssl", "passwd", "-6", "-stdin", *(["-salt", salt] if salt else [])]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


def salt_of(entry: str) -> str:
    parts = entry.split("$")
    return parts[2] if len(parts) == 4 and parts[1] == "6" else ""


def guarded(file: Path) -> bool:
    """Whether nginx reads it and nobody else, as the role makes it."""
    there = file.stat()
    return (there.st_mode & 0o7777, there.st_uid, there.st_gid) == (0o640, 0, grp.getgrnam("www-data").gr_gid)


def main() -> None:
    wanted = json.load(sys.stdin)
    try:
        text, right = Path(wanted["file"]).read_text("utf-8", "replace"), guarded(Path(wanted["file"]))
    except FileNotFoundError:
        text, right = "", False
    known = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    users = wanted["users"].items()
    lines = sorted(f"{name}:{hashed(str(password), salt_of(known.get(name, '')))}" for name, password in users)
    print(json.dumps({"lines": lines, "right": right and text.splitlines() == lines}))


if __name__ == "__main__":
    main()
