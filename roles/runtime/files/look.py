# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, which version this Python is, what was installed with it, and which packages are missing. It changes nothing.

The first argument is the file that says what was installed, and the others are packages of the operating system.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys


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
    print(json.dumps({"version": version, "installed": installed, "missing": missing(sys.argv[2:])}))


if __name__ == "__main__":
    main()
