# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of a fetch module's work in a process of its own, which says how long it took and how much memory it had.

Reads {"profile", "params"} from standard input and prints {"seconds", "megabytes", "collected", "sets"}.
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter()  # what is imported below is part of the run

import importlib  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402

from ansible_collections.netcure.soc.plugins.module_utils._collect.run import argument_spec, fetch  # noqa: E402
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import clock  # noqa: E402
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run  # noqa: E402

from tests.benchmarks.figures import peak_memory  # noqa: E402

PROFILES = "ansible_collections.netcure.soc.plugins.module_utils._collect.profiles."


def main() -> None:
    asked = json.load(sys.stdin)
    profile = importlib.import_module(PROFILES + asked["profile"]).PROFILE
    options = argument_spec(profile).options
    params = {name: asked["params"].get(name, option.get("default")) for name, option in options.items()}
    result = fetch(Run(params, False, clock(params["now"]), tempfile.gettempdir(), sys.stderr.write), profile)
    assert "failure" not in result, result["failure"]
    told = {"seconds": time.perf_counter() - BEGAN, "megabytes": peak_memory()}
    json.dump({**told, "collected": result["collected"], "sets": len(result["sets"])}, sys.stdout)


if __name__ == "__main__":
    main()
