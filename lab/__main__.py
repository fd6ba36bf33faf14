# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m lab run | up | down | remove, with --folder"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ansible_collections.netcure.soc.plugins.module_utils._core.errors import SocError

from lab import LabError
from lab.run import WORLD, run
from lab.services import down, up


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab", description="The SOC on this machine.")
    parser.add_argument("command", choices=["run", "up", "down", "remove"])
    parser.add_argument("--folder", type=Path, default=Path(".lab"))
    options = parser.parse_args()
    try:
        if options.command == "run":
            return 0 if run(options.folder) else 1
        if options.command == "up":
            up(options.folder, **WORLD)
        else:
            stopped = down(options.folder, remove=options.command == "remove")
            print(f"Stopped: {', '.join(stopped) or 'nothing was running'}.")
    except (LabError, SocError) as exc:
        print(f"\n{exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
