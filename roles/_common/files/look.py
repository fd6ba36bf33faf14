# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, what a role must know of its host. It changes nothing.

The first argument is JSON: the time C(now) of the controller (ansible-core 2.18 makes a text of it), the C(paths) whose disks
count, whether C(ports) are of interest, the C(packages) and C(users) to look for, and the C(files) to read.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
import sys
import time


def free_mb(path: str) -> int:
    """The folder itself may not be there yet: what counts is the disk that it will be on."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free // 2**20


def listeners() -> list[str]:
    """A line for each port: its address, and with which program it is held."""
    return subprocess.check_output(["ss", "-Hltnp"], text=True).splitlines()  # noqa: S607


def missing(packages: list[str]) -> list[str]:
    """Those that are not installed."""
    if not packages:
        return []
    asked = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()  # noqa: S603
    return [package for package in packages if f"{package} installed" not in told]


def account_of(user: str) -> list[str]:
    """Group, home and shell of a user; nothing where there is none."""
    try:
        entry = pwd.getpwnam(user)
        return [grp.getgrgid(entry.pw_gid).gr_name, entry.pw_dir, entry.pw_shell]
    except KeyError:
        return []


def text_of(path: str) -> str:
    """What a file says; nothing where there is none."""
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def main() -> None:
    wanted = json.loads(sys.argv[1])
    print(
        json.dumps(
            {
                "time": int(time.time()),
                "skew": int(time.time()) - int(wanted["now"]),
                "me": [pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name],
                "python": "{}.{}".format(*sys.version_info[:2]),
                "free_mb": [free_mb(path) for path in wanted["paths"]],
                "listeners": listeners() if wanted["ports"] else [],
                "missing": missing(wanted["packages"]),
                "accounts": [account_of(user) for user in wanted["users"]],
                "texts": [text_of(path) for path in wanted["files"]],
            }
        )
    )


if __name__ == "__main__":
    main()
