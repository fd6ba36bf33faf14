# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Progress of long work, as lines in a file that a person can watch with ``tail -f``: a module cannot print while it works."""

from __future__ import annotations

import os
import time
import typing as t

from .._core.errors import SocError
from .._core.state import FILE_MODE, ensure_folder

EVERY = 5.0


class ProgressLog:
    """``<log_dir>/<name>.progress.log``. A log that cannot be written never stops the work.

    ``ticks`` is a clock of seconds; lines that come sooner than EVERY after the last are left out.
    """

    def __init__(self, log_dir: str, name: str, ticks: t.Callable[[], float] = time.monotonic) -> None:
        self.path = os.path.join(log_dir, f"{name}.progress.log")
        self._ticks, self._last = ticks, -EVERY

    def __call__(self, line: str, always: bool = False) -> None:
        """Append ``line``, if it is time for one or it must be there."""
        now = self._ticks()
        if not always and now - self._last < EVERY:
            return
        self._last = now
        try:
            ensure_folder(os.path.dirname(self.path))
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
            try:
                os.write(handle, line.encode() + b"\n")
            finally:
                os.close(handle)
        except (OSError, SocError):
            pass
