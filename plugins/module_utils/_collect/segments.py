# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The bytes of a journal: numbered segments on disk, appended to, read from, cut back to what is vouched for."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from .._core.errors import StateError
from .._core.reach import Reach
from .._core.state import FILE_MODE, ensure_folder, sync_folder
from .archive import read_at

SEGMENT_SIZE = 64 * 1024 * 1024


class Segments:
    """Segments in ``folder``; ``sealed(number)`` is where one is that was sealed. A rehearsal writes nothing.

    ``number`` is the segment that is written to, ``size`` how many of its bytes the journal's database vouches for.
    """

    def __init__(self, folder: str, sealed: t.Callable[[int], str] | None, rehearsal: bool, reach: Reach) -> None:
        self.folder, self.number, self.size = folder, 1, 0
        self._sealed, self._rehearsal, self._reach = sealed, rehearsal, reach
        self._handle: int | None = None
        if not rehearsal:
            ensure_folder(folder)

    def path(self, number: int) -> str:
        """The file of a segment that is not sealed."""
        return os.path.join(self.folder, f"{number:08d}.ndjson")

    def newest(self) -> int:
        """The greatest number that a file here has, 0 for none: what an earlier journal left stays."""
        try:
            names = [entry.name for entry in Path(self.folder).iterdir()]
        except OSError:
            return 0
        return max((int(name[:-7]) for name in names if name.endswith(".ndjson") and name[:-7].isdecimal()), default=0)

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def turn(self) -> None:
        """Go on in a new segment."""
        self.close()
        self.number, self.size = self.number + 1, 0

    def append(self, payload: bytes) -> int:
        """Put ``payload`` behind what is vouched for and make it durable; returns where it starts.

        The caller adds its length to ``size`` when the transaction is committed, or calls forget_tail().
        """
        if self._rehearsal:
            return self.size
        try:
            if self._handle is None:
                self._handle = self._open()
            if os.fstat(self._handle).st_size != self.size:
                raise StateError(
                    f"The journal's segment {self.path(self.number)} was changed by another process; this run stops here."
                )
            self._reach("before_append")
            view = memoryview(payload)
            while view:
                view = view[os.write(self._handle, view) :]
            self._reach("before_fsync")
            os.fsync(self._handle)
            self._reach("after_fsync")
        except OSError as exc:
            self.forget_tail()
            raise StateError(
                f"The journal in {self.folder} cannot be written: {exc.strerror}. Nothing was lost: make room and run again."
            ) from exc
        return self.size

    def _open(self) -> int:
        path = self.path(self.number)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        size = os.fstat(handle).st_size
        if size < self.size:
            os.close(handle)
            raise _damaged(path, size, self.size)
        # Bytes that no transaction vouches for: a run died between the two. Their page is asked for again.
        os.ftruncate(handle, self.size)
        sync_folder(self.folder)
        return handle

    def forget_tail(self) -> None:
        """Cut off what was appended for a transaction that did not commit."""
        if self._handle is not None:
            try:
                os.ftruncate(self._handle, self.size)
            except OSError:
                pass  # the next start cuts it off
            self.close()

    def finish(self, number: int, size: int) -> str:
        """Cut a segment that is no longer written to back to ``size``, and return its file."""
        path = self.path(number)
        try:
            found = os.stat(path).st_size
            if found < size:
                raise _damaged(path, found, size)
            if found > size:
                os.truncate(path, size)
        except OSError as exc:
            raise StateError(f"The journal's segment {path} cannot be finished: {exc.strerror}.") from exc
        return path

    def remove(self, number: int) -> None:
        """Remove the file of a segment that is safe in the archive."""
        path = self.path(number)
        try:
            if os.path.exists(path):
                os.unlink(path)
                sync_folder(self.folder)
        except OSError as exc:
            raise StateError(f"The journal's segment {path} cannot be removed: {exc.strerror}.") from exc

    def read(self, number: int, start: int, length: int) -> bytes:
        """Bytes of a segment, from the archive when it was sealed."""
        path = self.path(number)
        if self._sealed and not os.path.exists(path):
            return read_at(self._sealed(number), start, length)
        try:
            with open(path, "rb") as handle:
                handle.seek(start)
                payload = handle.read(length)
        except OSError as exc:
            raise StateError(f"The journal's segment {path} cannot be read: {exc.strerror}.") from exc
        if len(payload) != length:
            raise StateError(
                f"The journal's segment {path} ends too early: it was damaged from outside. Restore it from a backup."
            )
        return payload


def _damaged(path: str, size: int, recorded: int) -> StateError:
    return StateError(
        f"The journal's segment {path} is shorter ({size} bytes) than what was recorded ({recorded}): it was damaged"
        " from outside. Restore it from a backup of the state folder."
    )
