# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Progress of long work, as lines in a file that a person can watch with ``tail -f``: a module cannot print while it works."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from .._core.clock import Clock, format_time
from .._core.errors import SocError
from .._core.state import ensure_folder
from .errorlog import open_log

EVERY = 5.0


class ProgressLog:
    """``<log_dir>/<name>.progress.log``. A log that cannot be written never stops the work.

    ``clock`` stamps the lines; ``ticks`` is a clock of seconds: what comes sooner than EVERY after the last line is left out.
    """

    def __init__(self, log_dir: str, name: str, clock: Clock, ticks: t.Callable[[], float] = time.monotonic) -> None:
        self._path = os.path.join(log_dir, f"{name}.progress.log")
        self._clock, self._ticks, self._last = clock, ticks, -EVERY

    def __call__(self, line: str, always: bool = False) -> None:
        """Append ``line``, if it is time for one or it must be there."""
        now = self._ticks()
        if not always and now - self._last < EVERY:
            return
        self._last = now
        with contextlib.suppress(OSError, SocError):
            ensure_folder(os.path.dirname(self._path))
            handle = open_log(self._path)
            try:
                os.write(handle, f"{format_time(self._clock())} {line}\n".encode())
            finally:
                os.close(handle)
