# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures, one JSON line each: name, value, unit, bar, ok, peer.

CPU seconds are those of this process, as the operating system counts them (user and system), so that a busy machine
does not change them much. ``bar`` is what the value must reach (or stay under, where less is better), ``peer`` the
same work done the usual way in the same run, null where there is none.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def cpu() -> float:
    """User and system seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_memory() -> float:
    """Megabytes that this process had at most. getrusage would also count what its parent had when it forked."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def tell(name: str, value: float, unit: str, goal: float, peer: float | None = None, less: bool = False) -> bool:
    """Print one figure; True when it reaches its bar."""
    ok = value <= goal if less else value >= goal
    places = 1 if value >= 10 else 2
    line = {"name": name, "value": round(value, places), "unit": unit, "bar": goal, "ok": ok}
    print(json.dumps({**line, "peer": peer and round(peer, places)}), flush=True)
    return ok


@contextlib.contextmanager
def server(module: str, *arguments: str) -> t.Iterator[str]:
    """A server of this folder in a process of its own, so that its work is not counted; yields its first line."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield t.cast(t.Any, process.stdout).readline().strip()
    finally:
        process.kill()
        process.wait()
