# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the product in a process of its own, which SIGKILL ends at a named point.

Reads from standard input {"work": "collect" | "prune" | "escalate", "profile", "params", "point", "nth"} and prints the result.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile

from ansible_collections.netcure.soc.plugins.module_utils._collect import journal
from ansible_collections.netcure.soc.plugins.module_utils._collect.run import fetch
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import clock
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import SocError
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run
from ansible_collections.netcure.soc.plugins.module_utils._escalate.run import escalate
from ansible_collections.netcure.soc.plugins.module_utils._retain.run import prune

PROFILES = "ansible_collections.netcure.soc.plugins.module_utils._collect.profiles."


def main() -> None:
    asked = json.load(sys.stdin)
    left = asked["nth"]
    # Several segments and several bulk calls, also for little data.
    journal.SEGMENT_SIZE, journal.SHIP_SIZE = 30_000, 20_000

    def reach(point: str) -> None:
        nonlocal left
        if point == asked["point"]:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    run = Run(asked["params"], False, clock(asked["params"]["now"]), tempfile.gettempdir(), lambda _text: None)
    try:
        if asked["work"] == "collect":
            result = fetch(run, importlib.import_module(PROFILES + asked["profile"]).PROFILE, reach)
        elif asked["work"] == "prune":
            result = prune(run, reach)
        else:
            result = escalate(run, reach=reach)
    except SocError as exc:
        result = {"failure": exc.as_dict()}
    json.dump(result, sys.stdout, default=str)


if __name__ == "__main__":
    main()
