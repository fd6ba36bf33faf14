# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the kernel values and reads them back: all of them, or none.

The first argument is JSON: for each file of the kernel its value.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def value_of(path: Path) -> str:
    """The value, which is the word in brackets where the kernel shows all there are."""
    text = " ".join(path.read_text("utf-8").split())
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen.group(1) if chosen else text


def main() -> None:
    before: dict[Path, str] = {}
    try:
        for name, value in json.loads(sys.argv[1]).items():
            path = Path(name)
            before[path] = value_of(path)
            path.write_text(f"{value}\n", "utf-8")
            if value_of(path) != value:
                raise ValueError(f"it is {value_of(path)} after that")
    except (OSError, ValueError) as error:
        for path, old in before.items():
            path.write_text(f"{old}\n", "utf-8")
        reason = error.strerror if isinstance(error, OSError) else error
        sys.exit(f"{name} does not take {value}: {reason}. All values were put back.")


if __name__ == "__main__":
    main()
