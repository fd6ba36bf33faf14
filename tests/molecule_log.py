# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Molecule itself does not look at in what a scenario printed: python -m tests.molecule_log LOG"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Every secret of the scenarios begins in the same way.
SECRET = re.compile(r"secret-of-[a-z-]*")
DEPRECATION = re.compile(r"^\[DEPRECATION WARNING\].*", re.MULTILINE)
STEP = re.compile(r"^INFO +\[\S+ > (\w+)\] Executing$", re.MULTILINE)
WOULD_CHANGE = re.compile(r"^(\S+) +: ok=\d+ +changed=([1-9]\d*)", re.MULTILINE)


def faults(log: str) -> list[str]:
    """Say what is wrong in ``log``, a sentence each: nothing where all is well.

    A check that comes after the proof of idempotence has nothing to change; our content uses nothing that goes away in a
    later ansible-core; no secret is printed.
    """
    found = [f"It printed {said}." for said in sorted(set(SECRET.findall(log)))]
    found += [f"It printed {said}" for said in sorted(set(DEPRECATION.findall(log)))]
    settled = False
    pieces = STEP.split(log)
    for step, printed in zip(pieces[1::2], pieces[2::2], strict=True):
        if step == "check" and settled:
            found += [
                f"The check after the second run would change {count} on {host}."
                for host, count in WOULD_CHANGE.findall(printed)
            ]
        settled = settled or step == "idempotence"
    return found


if __name__ == "__main__":
    sys.exit("\n".join(faults(Path(sys.argv[1]).read_text("utf-8", "replace"))) or 0)
