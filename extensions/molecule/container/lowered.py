# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""runc, which lowers what a container asks for to what a container in a container may have.

As the image of the host does for units: it may lock memory, and it says itself that it has as many files as it asked for.
"""

from __future__ import annotations

import json
import os
import resource
import sys


def option(*names: str) -> str | None:
    return next((sys.argv[at + 1] for at, word in enumerate(sys.argv[:-1]) if word in names), None)


def lower(process: dict) -> None:
    for limit in process.get("rlimits") or []:
        highest = resource.getrlimit(getattr(resource, limit["type"]))[1]
        if highest != resource.RLIM_INFINITY:
            limit["hard"] = min(limit["hard"], highest)
            limit["soft"] = min(limit["soft"], limit["hard"])
    sets = process.setdefault("capabilities", {})
    for kind in ("bounding", "effective", "inheritable", "permitted", "ambient"):
        sets[kind] = sorted({*(sets.get(kind) or []), "CAP_IPC_LOCK"} - {"CAP_SYS_RESOURCE"})


def main() -> None:
    path = option("--process", "-p") if "exec" in sys.argv else None
    if "create" in sys.argv or "run" in sys.argv:
        path = os.path.join(option("--bundle", "-b") or ".", "config.json")
    if path:
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
        lower(told.get("process", told))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(told, file)
    os.execvp("runc", ["runc", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
