# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The archive of what goes: compressed bulk lines with a manifest, read back before anything is deleted.

A file is a series of gzip members of the lines that the bulk API takes, so that it can be loaded again as it is.
A file counts only when its manifest stands beside it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import typing as t
import zlib

from .._core.errors import ArchiveError
from .._core.libraries import orjson
from .._core.state import FILE_MODE, atomic_write, ensure_folder, sync_folder


def restoring_operation(hit: dict) -> bytes:
    """The two bulk lines that bring a document back.

    Its version is one above that of the archived document: the mark that deleting leaves behind has that version, and
    anything older that is sent again is refused, while a newer copy in the index stays.
    """
    target = {
        "_index": hit["_index"],
        "_id": hit["_id"],
        "version": hit["_version"] + 1,
        "version_type": "external_gte",
    }
    return b"%s\n%s\n" % (orjson.dumps({"index": target}), orjson.dumps(hit["_source"]))


class Archive:
    """One archive file being written. Use C(add) for every batch, then C(seal)."""

    def __init__(self, folder: str, name: str) -> None:
        self.path = os.path.join(ensure_folder(folder), f"{name}.ndjson.gz")
        self._partial = self.path + ".partial"
        self._digest = hashlib.sha256()
        self.count = 0
        try:
            descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
            self._handle: t.BinaryIO = os.fdopen(descriptor, "wb")
        except OSError as exc:
            raise ArchiveError(
                f"The archive {self.path} cannot be written: {exc.strerror}. Nothing was deleted."
            ) from exc

    def add(self, hits: t.Sequence[dict]) -> None:
        """Append documents as one gzip member."""
        lines = b"".join(restoring_operation(hit) for hit in hits)
        self._digest.update(lines)
        self.count += len(hits)
        try:
            self._handle.write(gzip.compress(lines, compresslevel=6, mtime=0))
        except OSError as exc:
            self.discard()
            raise ArchiveError(
                f"The archive {self.path} cannot be written: {exc.strerror}. Nothing was deleted."
            ) from exc

    def seal(self, facts: dict) -> dict:
        """Make the file durable, read it back from the disk, and put the manifest beside it. Returns the manifest.

        Raises ArchiveError, and removes the file, when what is read is not what was written.
        """
        try:
            self._handle.flush()
            os.fsync(self._handle.fileno())
            # Forget what the kernel remembers of it: it is the disk that must read back.
            os.posix_fadvise(self._handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self._handle.close()
            file_digest, content_digest, count = read_back(self._partial)
            if (content_digest, count) != (self._digest.hexdigest(), self.count):
                raise ArchiveError(
                    f"The archive {self.path} does not read back as it was written. Nothing was deleted; check the disk."
                )
            os.replace(self._partial, self.path)
            sync_folder(os.path.dirname(self.path))
        except (OSError, EOFError, zlib.error) as exc:
            self.discard()
            raise ArchiveError(f"The archive {self.path} could not be verified: {exc}. Nothing was deleted.") from exc
        except ArchiveError:
            self.discard()
            raise
        manifest = {**facts, "documents": count, "sha256": file_digest, "content_sha256": content_digest}
        atomic_write(self.path + ".manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        return manifest

    def discard(self) -> None:
        """Leave no half file behind."""
        self._handle.close()
        if os.path.exists(self._partial):
            os.unlink(self._partial)


def read_back(path: str) -> tuple[str, str, int]:
    """SHA-256 of the file, SHA-256 of its content, and the number of documents in it."""
    file_digest, content_digest, lines = hashlib.sha256(), hashlib.sha256(), 0
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            file_digest.update(chunk)
    with gzip.open(path, "rb") as content:
        while chunk := content.read(1 << 20):
            content_digest.update(chunk)
            lines += chunk.count(b"\n")
    return file_digest.hexdigest(), content_digest.hexdigest(), lines // 2
