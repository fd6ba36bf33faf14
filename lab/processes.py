# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that outlive the command that started them, and that are never confused with somebody else's."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write

from lab import LabError


@dataclasses.dataclass(frozen=True)
class Process:
    """A process, known by its number and by when it began: numbers are used again, the pair is not."""

    pid: int
    began: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The live process with this number, or None. A dead one that nobody has waited for is not live."""
        try:
            # The second field, the command's name, may hold spaces and brackets: read from behind it.
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return None
        return None if fields[0] in "ZX" else cls(pid, f"{boot}:{fields[19]}")

    @property
    def running(self) -> bool:
        return Process.of(self.pid) == self

    def save(self, path: Path) -> None:
        atomic_write(str(path), json.dumps(dataclasses.asdict(self)).encode() + b"\n", 0o600)

    @classmethod
    def load(cls, path: Path) -> Process | None:
        """The process that ``path`` names when it still runs, else None."""
        try:
            process = cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return process if process.running else None

    def stop(self, patience: float = 20) -> None:
        """End it, politely first. Returns when it has ended."""
        for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 10)):
            until = time.monotonic() + wait
            while time.monotonic() < until:
                if not self.running:
                    return
                if number is not None:
                    try:
                        os.kill(self.pid, number)
                    except ProcessLookupError:
                        return
                    number = None  # once is enough
                try:
                    os.waitpid(self.pid, os.WNOHANG)  # when it is our own child
                except ChildProcessError:
                    pass
                time.sleep(0.02)
        raise LabError(f"Process {self.pid} does not end; look at it with: ps -fp {self.pid}")


def spawn(command: Sequence[str], log: Path, cwd: Path, environment: dict[str, str]) -> Process:
    """Start ``command`` in a session of its own, its output appended to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    # Whoever starts it does not wait for it: say so, or Python warns at its own end.
    child.returncode = 0
    process = Process.of(child.pid)
    if process is None:
        raise LabError(f"{command[0]} ended at once; {log} says why:\n{tail(log)}")
    return process


def end_with(folder: Path, seconds: float = 5) -> None:
    """End this process when somebody deletes ``folder``: nothing of a lab outlives it."""

    def watch() -> None:
        while folder.exists():
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="end_with").start()


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, for an error message."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def listen(port: int = 0) -> socket.socket:
    """A bound socket on the loopback address, for asyncio.

    The protocol is named because asyncio switches Nagle's algorithm off only where it is: else each answer waits 40 ms.
    """
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(wanted: int | None = None, taken: Iterable[int] = ()) -> int:
    """``wanted`` when nobody listens there, else a port that the kernel picks."""
    if wanted and wanted not in taken and port_is_free(wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
