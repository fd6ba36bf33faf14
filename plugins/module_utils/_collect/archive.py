# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Sealed segments of the journal: compressed, read back from the disk, and vouched for by a manifest beside them.

``<folder>/<source>/00000001.ndjson.gz`` holds the very bytes of segment 1, as gzip members of whole documents, so that
any tool can read it (``zcat``) and one document can be had without decompressing all of it. A file counts only when
its manifest stands beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import os
import re
import typing as t
import zlib
from pathlib import Path

from .._core.clock import format_time, parse_time
from .._core.errors import ArchiveError, ConfigError, SocError, StateError
from .._core.ids import check_index_pattern
from .._core.libraries import orjson
from .._core.reach import Reach, nowhere
from .._core.state import FILE_MODE, atomic_write, ensure_folder, sync_folder

# Folder below the archive for what was collected.
COLLECTED = "collected"
FORMAT = 1
LEVEL = 6
# About what one bulk call sends.
BLOCK = 4 * 1024 * 1024
# No document is this long: Elasticsearch takes 100 MB in one call.
LONGEST = 64 * 1024 * 1024

# Two lines exactly as the journal writes them; everything else is parsed. An event is created, everything else has an
# external version. Elasticsearch allows 255 bytes for the name of an index and 512 for an id.
OWN = re.compile(
    rb'\{"(?:create|(index))":\{"_index":"(soc-[a-z0-9._-]{1,251})","_id":"([^"\\\n]{1,512})"'
    rb'(?(1),"version":([0-9]{1,18}),"version_type":"external")\}\}\n'
    rb'\{"@timestamp":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z)"[^\n]*+\n'
)


class Operation(t.NamedTuple):
    """One document in one version: two lines for the bulk API. With a ``fault`` it must not be sent, and that is why."""

    index: str
    id: str
    version: int | None
    time: str
    payload: bytes
    fault: str = ""


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a segment holds. Every version of a document counts; ``first`` and ``last`` are (time, id)."""

    documents: int
    first: tuple[str, str] | None
    last: tuple[str, str] | None
    indices: dict[str, int]
    raw_bytes: int
    raw_sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What vouches for the sealed segment in ``path``.

    ``blocks`` says where each gzip member starts: (offset in the raw bytes, offset in the file).
    """

    path: str
    source: str
    segment: int
    sealed: str
    contents: Contents
    gz_bytes: int
    gz_sha256: str
    blocks: tuple[tuple[int, int], ...]

    def to_json(self) -> bytes:
        """The manifest as it is on the disk. It does not say where that is."""
        body = {"format": FORMAT, **dataclasses.asdict(self), **dataclasses.asdict(self.contents)}
        del body["path"], body["contents"]
        return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def operations(block: bytes) -> t.Iterator[Operation]:
    """The operations in ``block``, bulk bytes of whole ones. Costs no JSON parsing for what the journal wrote."""
    at = 0
    while at < len(block):
        match = OWN.match(block, at)
        if match:
            _kind, index, identity, version, time = match.groups()
            at = match.end()
            yield Operation(
                index.decode(), identity.decode("utf-8", "replace"), version and int(version), time.decode(), match[0]
            )
        else:
            end = block.index(b"\n", block.index(b"\n", at) + 1) + 1
            yield _parsed(block[at:end])
            at = end


def _parsed(piece: bytes) -> Operation:
    """An operation that somebody else wrote. Its action is written anew from what was checked, and only that is sent."""
    action, _newline, source = piece.partition(b"\n")
    try:
        ((kind, target),) = orjson.loads(action).items()
        index, identity, version = check_index_pattern(target["_index"]), target["_id"], target.get("version")
        if len(index) > 255 or "*" in index or not isinstance(identity, str) or not 0 < len(identity.encode()) <= 512:
            raise ValueError
        if kind == "index" and target["version_type"] == "external" and 0 <= _is(version, int) < 10**18:
            action = {"index": {"_index": index, "_id": identity, "version": version, "version_type": "external"}}
        elif kind == "create" and target.keys() == {"_index", "_id"}:
            action = {"create": target}
        else:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, ConfigError):
        return Operation("", "", None, "", piece, "an action that a journal does not write")
    try:
        time = format_time(parse_time(orjson.loads(source)["@timestamp"]))
    except (ValueError, TypeError, KeyError):
        return Operation(index, identity, version, "", piece, "a document without a usable time")
    return Operation(index, identity, version, time, orjson.dumps(action) + b"\n" + source)


class Survey:
    """Counts what goes by, block by block."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.documents = self.faults = self.bytes = 0
        self._first: tuple[str, str] | None = None
        self._last: tuple[str, str] | None = None
        self._indices: dict[str, int] = {}

    def add(self, block: bytes) -> None:
        """Take in one block of whole operations."""
        self._digest.update(block)
        self.bytes += len(block)
        for index, identity, _version, time, _payload, fault in operations(block):
            self.documents += 1
            if fault:
                self.faults += 1
                continue
            key = (time, identity)
            if self._first is None or key < self._first:
                self._first = key
            if self._last is None or key > self._last:
                self._last = key
            self._indices[index] = self._indices.get(index, 0) + 1

    def contents(self) -> Contents:
        """What went by so far."""
        indices = dict(sorted(self._indices.items()))
        return Contents(self.documents, self._first, self._last, indices, self.bytes, self._digest.hexdigest())


# Reading


def blocks_of(handle: t.BinaryIO, path: str, block: int = BLOCK) -> t.Iterator[bytes]:
    """The content of the sealed segment ``handle`` in blocks of about ``block`` bytes, each of whole operations.

    ``path`` is for messages. Raises ArchiveError where the file is damaged.
    """
    try:
        with gzip.GzipFile(fileobj=handle, mode="rb") as content:
            yield from whole_operations(content.read, block)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as exc:
        raise _damaged(path) from exc
    except OSError as exc:
        raise ArchiveError(f"The archive {path} cannot be read: {exc.strerror}.") from exc


def raw_blocks(path: str, length: int | None = None, block: int = BLOCK) -> t.Iterator[bytes]:
    """The first ``length`` bytes of a segment that is not sealed, likewise. Raises StateError, FileNotFoundError."""
    with open(path, "rb") as handle:
        left = os.fstat(handle.fileno()).st_size if length is None else length

        def read(size: int) -> bytes:
            nonlocal left
            piece = handle.read(min(size, left))
            left -= len(piece)
            return piece

        try:
            yield from whole_operations(read, block)
        except ValueError as exc:
            raise StateError(
                f"The journal's segment {path} does not end with a document: it was damaged from outside. Restore it from a backup."
            ) from exc
        if left:
            raise StateError(
                f"The journal's segment {path} is shorter than what was recorded: it was damaged from outside. Restore it from a backup."
            )


def whole_operations(read: t.Callable[[int], bytes], block: int = BLOCK) -> t.Iterator[bytes]:
    """What ``read`` gives in blocks that end where an operation ends. Raises ValueError for what ends in the middle."""
    rest = b""
    while piece := read(block):
        piece = rest + piece
        end = piece.rfind(b"\n") + 1
        if piece.count(b"\n") % 2:  # an action whose document is still to come
            end = piece.rfind(b"\n", 0, end - 1) + 1
        rest = piece[end:]
        if len(rest) > LONGEST:
            raise ValueError("a document without an end")
        if end:
            yield piece[:end]
    if rest:
        raise ValueError("half a document")


def read_at(path: str, start: int, length: int) -> bytes:
    """``length`` bytes at ``start`` of the raw bytes in the sealed segment ``path``.

    Decompresses one block, or two where the bytes lie across. Raises StateError, ArchiveError.
    """
    manifest = read_manifest(path)
    places = [*manifest.blocks, (manifest.contents.raw_bytes, manifest.gz_bytes)]
    around = [(first, last) for first, last in zip(places, places[1:]) if first[0] < start + length and start < last[0]]
    if not around:
        around = [(places[-1], places[-1])]
    (raw_start, gz_start), (_raw_end, gz_end) = around[0][0], around[-1][1]
    try:
        with open(path, "rb") as handle:
            handle.seek(gz_start)
            content = gzip.decompress(handle.read(gz_end - gz_start))  # whole members: their checksums count
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as exc:
        raise _damaged(path) from exc
    except OSError as exc:
        raise ArchiveError(f"The archive {path} cannot be read: {exc.strerror}.") from exc
    found = content[start - raw_start : start - raw_start + length]
    if len(found) != length:
        raise _damaged(path)
    return found


def _damaged(path: str) -> ArchiveError:
    return ArchiveError(f"The archive {path} is damaged. Restore it from a backup of the archive.")


# Manifests


def sealed_path(folder: str, source: str, number: int) -> str:
    """Where segment ``number`` of ``source`` is, once it is sealed."""
    return os.path.join(folder, source, f"{number:08d}.ndjson.gz")


def sealed_numbers(folder: str, source: str) -> list[int]:
    """Numbers of the segments of ``source`` that have a file or a manifest, in order."""
    try:
        names = [entry.name for entry in Path(folder, source).iterdir()]
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise ArchiveError(f"The archive {folder} cannot be read: {exc.strerror}.") from exc
    found = (re.fullmatch(r"([0-9]{8,})\.(?:ndjson\.gz|manifest\.json)", name) for name in names)
    return sorted({int(match[1]) for match in found if match})


def _manifest_path(path: str) -> str:
    return path.removesuffix(".ndjson.gz") + ".manifest.json"


def read_manifest(path: str) -> Manifest:
    """The manifest of the sealed segment ``path``. Raises StateError where there is none, or a damaged one."""
    place = _manifest_path(path)
    folder, name = os.path.split(path)
    try:
        with open(place, "rb") as handle:
            body = orjson.loads(handle.read())
    except OSError as exc:
        raise StateError(
            f"The manifest {place} cannot be read: {exc.strerror}. Restore it from a backup of the archive."
        ) from exc
    except ValueError as exc:
        raise StateError(f"The manifest {place} is damaged. Restore it from a backup of the archive.") from exc
    try:
        if _is(body["format"], int) > FORMAT:
            raise StateError(
                f"The manifest {place} was written by a newer version of the collection: upgrade this one."
            )
        manifest = Manifest(
            path,
            _is(body["source"], str),
            _is(body["segment"], int),
            _is(body["sealed"], str),
            Contents(
                _is(body["documents"], int),
                _key(body["first"]),
                _key(body["last"]),
                {_is(name, str): _is(count, int) for name, count in body["indices"].items()},
                _is(body["raw_bytes"], int),
                _is(body["raw_sha256"], str),
            ),
            _is(body["gz_bytes"], int),
            _is(body["gz_sha256"], str),
            tuple((_is(raw, int), _is(packed, int)) for raw, packed in body["blocks"]),
        )
        if (manifest.source, manifest.segment) != (os.path.basename(folder), int(name.split(".")[0])):
            raise ValueError("it is of another segment")
        if bool(manifest.contents.documents) != bool(manifest.contents.first and manifest.contents.last):
            raise ValueError("documents without times")
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise StateError(f"The manifest {place} is damaged. Restore it from a backup of the archive.") from exc
    return manifest


def _is(value: t.Any, kind: type) -> t.Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError
    return value


def _key(value: t.Any) -> tuple[str, str] | None:
    if value is None:
        return None
    time, identity = value
    return _is(time, str), _is(identity, str)


@contextlib.contextmanager
def verified(manifest: Manifest) -> t.Iterator[t.BinaryIO]:
    """The sealed segment, open at its start, once its checksum was found right. Raises ArchiveError."""
    try:
        with open(manifest.path, "rb") as handle:
            if hashlib.file_digest(handle, "sha256").hexdigest() != manifest.gz_sha256:
                raise ArchiveError(
                    f"The archive {manifest.path} is not what its manifest vouches for. Restore it from a backup of the archive."
                )
            handle.seek(0)
            yield handle
    except OSError as exc:
        raise ArchiveError(f"The archive {manifest.path} cannot be read: {exc.strerror}.") from exc


def verify(manifest: Manifest) -> None:
    """Read the sealed segment whole and compare it with its manifest. Raises ArchiveError."""
    with verified(manifest) as handle:
        if _content(handle, manifest.path) != (manifest.contents.raw_sha256, manifest.contents.documents):
            raise _damaged(manifest.path)


def _content(handle: t.BinaryIO, path: str) -> tuple[str, int]:
    """SHA-256 of what is in a compressed file, and the number of documents."""
    digest, lines = hashlib.sha256(), 0
    try:
        with gzip.GzipFile(fileobj=handle, mode="rb") as content:
            while piece := content.read(1 << 20):
                digest.update(piece)
                lines += piece.count(b"\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise _damaged(path) from exc
    return digest.hexdigest(), lines // 2


# Sealing


def seal(
    raw: str,
    folder: str,
    source: str,
    number: int,
    sealed_at: str,
    reach: Reach = nowhere,
) -> Manifest:
    """Put the journal's segment ``raw``, cut back to what the journal vouches for, into the archive.

    ``folder`` is the archive of all sources, ``sealed_at`` the present as format_time() writes it. Returns only when
    what is on the disk was read back and is right; until then nothing vouches for it. Doing it again after a crash at
    any point gives the same file, and a segment that is there already, whole, is kept as it is. The raw file is left
    alone: it may go once this has returned. Without it, a segment that is sealed is verified and returned.

    Raises ArchiveError, and leaves no half file, when the archive cannot be written, does not read back, or holds
    other documents under that number; StateError when the segment itself is damaged.
    """
    reach("before_seal")
    path = sealed_path(folder, source, number)
    try:
        known = read_manifest(path)
    except StateError:
        known = None  # not sealed yet, or its manifest is written anew
    if not os.path.exists(raw):
        if not known:
            raise StateError(f"The journal's segment {raw} is not there, and the archive does not have it either.")
        verify(known)
        return known
    ensure_folder(os.path.dirname(path))
    partial = path + ".partial"
    try:
        contents, blocks = _compress(raw, partial)
        reach("after_compress")
        gz_bytes, gz_sha256 = _read_back(partial, path, contents)
        if known and _begins(known, contents):  # a journal that was restored from a backup: the archive has more of it
            os.unlink(partial)
            return known
        if _raw_sha256(path, known) not in (None, contents.raw_sha256):
            raise ArchiveError(
                f"The archive {path} holds other documents than the journal's segment of that number. Nothing was"
                " deleted: move the archive of the earlier journal to another folder."
            )
        if known and _is_whole(known):
            os.unlink(partial)
            return known
        os.replace(partial, path)
        sync_folder(os.path.dirname(path))
    except OSError as exc:
        _discard(partial)
        raise ArchiveError(
            f"The segment {raw} cannot be put into the archive {path}: {exc.strerror}. Nothing was deleted: make room and run again."
        ) from exc
    except SocError:
        _discard(partial)
        raise
    reach("before_manifest")
    manifest = Manifest(path, source, number, sealed_at, contents, gz_bytes, gz_sha256, blocks)
    atomic_write(_manifest_path(path), manifest.to_json())
    reach("after_manifest")
    return manifest


def _compress(raw: str, partial: str) -> tuple[Contents, tuple[tuple[int, int], ...]]:
    """Write the file durably; returns what it holds, and where its members start."""
    survey, places = Survey(), []
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE), "wb") as handle:
        os.fchmod(handle.fileno(), FILE_MODE)  # whatever the umask made of it, and before there is anything in it
        for block in raw_blocks(raw):
            places.append((survey.bytes, handle.tell()))
            survey.add(block)
            handle.write(gzip.compress(block, LEVEL, mtime=0))
        if not places:  # nothing, in the form that every tool can read
            handle.write(gzip.compress(b"", LEVEL, mtime=0))
        handle.flush()
        os.fsync(handle.fileno())
        # Forget what the kernel remembers of it: it is the disk that must read back.
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if survey.faults:
        raise StateError(
            f"The journal's segment {raw} holds lines that no journal writes: it was damaged from outside. Restore it from a backup."
        )
    return survey.contents(), tuple(places)


def _read_back(partial: str, path: str, contents: Contents) -> tuple[int, str]:
    """Size and SHA-256 of the file, once its content was found to be what went in."""
    with open(partial, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        size = handle.tell()
        handle.seek(0)
        if _content(handle, partial) != (contents.raw_sha256, contents.documents):
            raise ArchiveError(
                f"The archive {path} does not read back as it was written. Nothing was deleted; check the disk."
            )
    return size, digest


def _raw_sha256(path: str, known: Manifest | None) -> str | None:
    """SHA-256 of the documents that the archive has under this number, None where it has none that can be read."""
    if known:
        return known.contents.raw_sha256
    try:
        with open(path, "rb") as handle:
            return _content(handle, path)[0]
    except (FileNotFoundError, ArchiveError):
        return None


def _begins(manifest: Manifest, contents: Contents) -> bool:
    """Whether the archive has all of ``contents`` and, behind it, more."""
    if manifest.contents.raw_bytes <= contents.raw_bytes:
        return False
    digest, left = hashlib.sha256(), contents.raw_bytes
    try:
        with verified(manifest) as handle, gzip.GzipFile(fileobj=handle, mode="rb") as content:
            while left and (piece := content.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
    except (ArchiveError, EOFError, zlib.error, gzip.BadGzipFile):
        return False
    return not left and digest.hexdigest() == contents.raw_sha256


def _is_whole(manifest: Manifest) -> bool:
    try:
        verify(manifest)
    except ArchiveError:
        return False
    return True


def _discard(partial: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(partial)
