# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, which version this Python is, what was installed with it, who a user is, and which packages are missing.

It changes nothing. The first argument is the file that says what was installed, the second the user, and the others are packages
of the operating system.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys


def account_of(user: str) -> list[str]:
    """Group, home and shell of a user; nothing where there is none."""
    try:
        entry = pwd.getpwnam(user)
        return [grp.getgrgid(entry.pw_gid).gr_name, entry.pw_dir, entry.pw_shell]
    except KeyError:
        return []


def missing(packages: list[str]) -> list[str]:
    """Those that are not installed."""
    if not packages:
        return []
    asked = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()  # noqa: S603
    return [package for package in packages if f"{package} installed" not in told]


def main() -> None:
    installed = ""
    if os.path.exists(sys.argv[1]):
        with open(sys.argv[1], encoding="utf-8") as file:
            installed = file.read()
    version = "{}.{}".format(*sys.version_info[:2])
    told = {
        "version": version,
        "installed": installed,
        "account": account_of(sys.argv[2]),
        "missing": missing(sys.argv[3:]),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
