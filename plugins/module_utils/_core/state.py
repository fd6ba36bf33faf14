# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""State that survives: SQLite with full durability, files replaced in one step, one run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import tempfile
import typing as t
from pathlib import Path

from .errors import Locked, StateError

FOLDER_MODE = 0o750
FILE_MODE = 0o640


def ensure_folder(path: str) -> str:
    """Create ``path`` and its parents with our mode, and return it."""
    made, parent = [], os.path.abspath(path)
    while not os.path.isdir(parent) and parent != os.path.dirname(parent):
        made.append(parent)
        parent = os.path.dirname(parent)
    try:
        os.makedirs(path, mode=FOLDER_MODE, exist_ok=True)
        for folder in made:  # the entry in its parent must survive a power cut, or all that is in it does not
            sync_folder(os.path.dirname(folder))
    except OSError as exc:
        raise StateError(
            f"The folder {path} cannot be made: {exc.strerror}. The role netcure.soc.runtime creates it."
        ) from exc
    return path


def open_database(path: str, schema: str) -> sqlite3.Connection:
    """Open a SQLite database in WAL mode with synchronous=FULL, and create what ``schema`` lacks.

    Transactions are explicit: use C(with transaction(db)). Raises StateError.
    """
    ensure_folder(os.path.dirname(path))
    try:
        # The file exists with its mode before SQLite writes the first byte; WAL and shm files inherit it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))
        database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(
            "PRAGMA cache_size=-16000"
        )  # at most 16 MB: what a journal of a million records looks up stays in memory
        database.executescript(schema)
    except (sqlite3.Error, OSError) as exc:
        raise StateError(
            f"The state in {path} cannot be opened: {exc}. Check free disk space and the owner of the folder."
        ) from exc
    return database


def open_read_only(path: str) -> sqlite3.Connection:
    """Open the SQLite database ``path`` without creating anything. Raises sqlite3.Error, at the latest when it is read."""
    # Without a write-ahead log beside it the file is all there is, and nothing need be created to read it.
    how = "mode=ro" if os.path.exists(path + "-wal") else "mode=ro&immutable=1"
    return sqlite3.connect(f"{Path(path).absolute().as_uri()}?{how}", uri=True)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> t.Iterator[sqlite3.Connection]:
    """All of it or none of it. Database errors become StateError."""
    try:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
    except sqlite3.Error as exc:
        raise StateError(
            f"The state could not be written: {exc}. Nothing was lost: free some space and run again."
        ) from exc


def sync_folder(path: str) -> None:
    """Make a rename or a new file in ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: str, content: bytes, mode: int = FILE_MODE) -> bool:
    """Replace ``path`` by ``content`` in one durable step; False when it already holds exactly that."""
    try:
        with open(path, "rb") as handle:
            if handle.read() == content:
                return False
    except OSError:
        pass  # not there, or not readable: the writing below tells
    folder = os.path.dirname(os.path.abspath(path))
    try:
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix="." + os.path.basename(path) + ".")
        try:
            with os.fdopen(descriptor, "wb") as handle:
                os.fchmod(handle.fileno(), mode)
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        sync_folder(folder)
    except OSError as exc:
        raise StateError(f"The file {path} cannot be written: {exc.strerror}.") from exc
    return True


@contextlib.contextmanager
def lock(path: str) -> t.Iterator[None]:
    """Hold the lock file ``path``, or raise Locked at once, naming the process that has it.

    The kernel drops the lock when the process ends, however it ends: there is no stale lock to clean up.
    """
    ensure_folder(os.path.dirname(path))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
    except OSError as exc:
        raise StateError(f"The lock {path} cannot be opened: {exc.strerror}.") from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if not isinstance(exc, BlockingIOError):
                raise StateError(f"The lock {path} cannot be taken: {exc.strerror}.") from exc
            holder = os.read(descriptor, 64).decode("ascii", "replace").strip() or "unknown"
            raise Locked(
                f"Another run is at work (process {holder} holds {path}); this one leaves at once.", holder=holder
            ) from exc
        with contextlib.suppress(OSError):  # who holds it is a courtesy, which a full disk may refuse
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
