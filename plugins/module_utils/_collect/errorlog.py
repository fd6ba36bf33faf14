# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The error log of a source: one line an error, our mode from the first byte, old files rotated."""

from __future__ import annotations

import contextlib
import fcntl
import os
import typing as t

from .._core.errors import SocError
from .._core.secrets import excerpt
from .._core.state import FILE_MODE, ensure_folder

MAX_SIZE = 1024 * 1024
OLD_FILES = 5
MAX_LINE = 4000


def write(log_dir: str, source: str, lines: t.Iterable[str], max_size: int = MAX_SIZE) -> str | None:
    """Append ``lines`` to ``<log_dir>/<source>.error.log``; returns why that did not work, or None.

    Each becomes one line of printable text, whatever a vendor put into it. A file that would grow beyond ``max_size``
    bytes becomes ``.1``, the older ones move on, and the sixth goes. Several processes may write at once: lines are
    appended whole, and only one of them rotates. Never raises: a full disk must not end a run that collects.
    """
    payload = b"".join(one_line(line).encode("utf-8", "replace") + b"\n" for line in lines)
    if not payload:
        return None
    path = os.path.join(log_dir, f"{os.path.basename(source)}.error.log")
    try:
        ensure_folder(log_dir)
        handle = open_log(path)
        try:
            if _full(handle, path, len(payload), max_size):
                with contextlib.suppress(OSError):  # a log that is too long is better than none
                    _rotate(path)
                fresh = open_log(path)
                os.close(handle)  # and with it the lock
                handle = fresh
            view = memoryview(payload)
            while view:
                view = view[os.write(handle, view) :]
        finally:
            os.close(handle)
    except OSError as exc:
        return f"The log {path} cannot be written: {exc.strerror}. The errors are told here all the same."
    except SocError as exc:
        return f"The log {path} cannot be written. {exc.message}"
    return None


def one_line(text: str) -> str:
    """``text`` without line breaks and control characters, and not endless."""
    return excerpt(text[: 4 * MAX_LINE], (), MAX_LINE)


def open_log(path: str) -> int:
    """A log to append to, with our mode whatever the umask, and no link to elsewhere. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    with contextlib.suppress(PermissionError):  # somebody else's file: its mode is theirs
        os.fchmod(handle, FILE_MODE)  # whatever the umask made of it, and before there is anything in it
    return handle


def _full(handle: int, path: str, more: int, max_size: int) -> bool:
    """Whether the file must be rotated, and by us: then its lock is ours until ``handle`` is closed."""
    size = os.fstat(handle).st_size
    if not size or size + more <= max_size:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), os.stat(path))  # else another process has just rotated it
    except OSError:
        return False  # another process is at it


def _rotate(path: str) -> None:
    for number in range(OLD_FILES, 0, -1):
        older = path if number == 1 else f"{path}.{number - 1}"
        with contextlib.suppress(FileNotFoundError):
            os.replace(older, f"{path}.{number}")
