# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that matter first (see figures.py): what a record costs, and how long the lab takes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.collect import ways
from tests.benchmarks.figures import ROOT, tell


def lab(folder: str) -> list[bool]:
    """Seconds of a first and a second `make lab`, the first with Elasticsearch started anew."""
    told = []
    subprocess.run([sys.executable, "-m", "lab", "down", "--folder", folder], cwd=ROOT, check=True, capture_output=True)
    for name, goal in (("lab, services started anew", 300), ("lab, services running", 120)):
        done = subprocess.run(
            [sys.executable, "-m", "lab", "run", "--folder", folder], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout.decode()
        summary = json.loads((Path(folder) / "summary.json").read_bytes())
        told.append(tell(name, summary["seconds"]["total"], "s", goal, less=True))
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=".lab")
    parser.add_argument("--skip-lab", action="store_true")
    options = parser.parse_args()
    told = ways()
    if not options.skip_lab:
        told += lab(options.folder)
    return 0 if all(told) else 1


if __name__ == "__main__":
    sys.exit(main())
