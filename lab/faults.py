# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong at a vendor, switched on for a number of calls."""

from __future__ import annotations

import dataclasses
import threading

KINDS = {
    "429": "too many requests; retry_after in seconds (1), or as an HTTP date with date=true",
    "500": "an HTML error page with status 500; another one with status",
    "timeout": "no answer for seconds (60), then one",
    "cut": "the connection ends in the middle of the body",
    "short": "a complete answer of which the JSON ends in the middle",
    "html": "status 200 and an HTML page instead of JSON",
    "refused": "status 200 and a body that says that it failed",
    "401": "the token counts as expired for this call",
    "expire": "the token of this call counts as expired from now on",
    "repeat": "a page also brings records (5) of the page before it, and one of its own twice",
    "shuffle": "the records of a page come in another order",
    "swap": "the last record of a page changes places with the first one of the next page",
}


@dataclasses.dataclass
class Fault:
    """One entry of the queue. ``count`` None is for good; ``after`` calls go well first."""

    kind: str
    source: str | None = None
    set: str | None = None
    count: int | None = 1
    after: int = 0
    retry_after: int = 1
    date: bool = False
    status: int = 500
    seconds: float = 60
    records: int = 5

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"There is no fault {self.kind!r}; there are: {', '.join(KINDS)}.")


class Faults:
    """The queue. Of the entries that fit a call the first one that is due strikes."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []
        self._guard = threading.Lock()

    def add(self, kind: str, **arguments: object) -> Fault:
        """See Fault and KINDS for the arguments. Raises ValueError or TypeError for what it does not know."""
        fault = Fault(kind, **arguments)
        with self._guard:
            self._queue.append(fault)
        return fault

    def clear(self) -> None:
        with self._guard:
            self._queue.clear()

    def list(self) -> list[dict]:
        return [dataclasses.asdict(fault) for fault in self._queue]

    def strike(self, source: str, data_set: str) -> Fault | None:
        """What goes wrong at this call, if anything does."""
        with self._guard:
            for fault in self._queue:
                if fault.source not in (None, source) or fault.set not in (None, data_set):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.count is not None:
                    fault.count -= 1
                    if fault.count <= 0:
                        self._queue.remove(fault)
                return fault
        return None
