# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Log files that a syslog server writes and that logrotate rotates, read so that every line is taken exactly once.

A line is known by everything that stands before it in its file: its id is a chained BLAKE2b-128 over all lines up to
and including itself, beginning with a seed of the file. Reading again after a crash gives the same ids, and two equal
lines are two records.

A file is known by its first line and its inode. Where the inode is another one (compressed, copied), it is known by its
content: it begins with the same line, and the last line that was read stands at the same place. What was read of a file
is a position, which is committed with the page that it belongs to. What can no longer be read is told, never passed
over: a record with a ``problem`` instead of a ``line``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import gzip
import hashlib
import json
import os
import re
import stat
import typing as t
import zlib
from datetime import datetime, timedelta
from pathlib import Path

from .._core.clock import format_time, parse_time
from .._core.errors import StateError
from .vendor import Page

# A syslog message over UDP has at most 64 KiB; what is longer is no message.
LONGEST_LINE = 64 * 1024
# So many characters are kept of what is no line.
EXCERPT = 1000
# So many equal bytes at the same place mean that two files have the same content.
WINDOW = 4096
# How long the position of a file that is gone is kept: its folder may have been away for a while.
KEEP = timedelta(days=30)
# How often a folder is looked at in which files are being renamed.
LOOKS = 5
FORGET = ""

# What logrotate puts behind a name: a number or a date.
SUFFIX = re.compile(r"\d[\dTZ._:-]*")
# And before the ending, where it is told to keep that (dateext with extension): a date.
DATED = re.compile(r"(.+)[.-]\d{8}[\dTZ_:-]*(\.[^.]+)")
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


def read_files(
    patterns: t.Sequence[str], positions: t.Mapping[str, str], page_size: int, now: datetime
) -> t.Iterator[Page]:
    """What was added to the files of ``patterns`` since ``positions``, oldest file of a name first.

    ``patterns`` are absolute paths that may have ``*``, ``?`` and ``[]``. Their rotated files are found beside them:
    ``firebox.log.1``, ``firebox.log-20261120``, ``firebox-20261120.log``, also compressed with gzip. Only lines that
    are complete are taken. A record is ``{"line", "file", "offset", "id"}``, or has ``problem``, a sentence, for a line
    that is too long, a damaged file, and a file that went away before its end was read.

    ``positions`` holds what earlier pages gave as theirs; the value FORGET means that a position is to be deleted.
    A page's records and positions belong in one transaction. Memory does not grow with the files.

    Raises StateError at the very end when some files could not be read; everything else was read by then.
    """
    yield from _Reading(positions, page_size, now).pages(patterns)


@dataclasses.dataclass
class _Position:
    """How far one file was read, and how its content is known again.

    ``chain`` is the id of the last line; ``before`` the one of the line before, which began at ``start``. ``done`` says
    that the file had been rotated, so that nothing is missing once it goes. ``size`` and ``changed`` are of the file.
    """

    first: str
    inode: int
    packed: bool
    family: str
    seed: str
    before: str
    chain: str
    start: int = 0
    offset: int = 0
    size: int = -1
    changed: int = 0
    done: bool = False
    gone: str | None = None

    @property
    def key(self) -> str:
        return _key(self.first, self.inode, self.packed)


@dataclasses.dataclass
class _File:
    """One file that is open."""

    name: str
    live: bool
    packed: bool
    handle: t.BinaryIO
    inode: int
    size: int
    changed: int
    first: str | None
    rest: bytes = b""  # what stands behind the last complete line

    @property
    def key(self) -> str:
        return _key(self.first, self.inode, self.packed)

    def unchanged_since(self, position: _Position) -> bool:
        return position.done and (position.size, position.changed) == (self.size, self.changed)

    def continues(self, position: _Position) -> bool:
        """Whether the last line that was read stands where it stood."""
        if position.offset == 0:
            return True
        if not self.packed and self.size < position.offset:
            return False
        digest, left = _begin(position.before), position.offset - position.start
        with contextlib.suppress(*DAMAGED, OSError):
            self.handle.seek(position.start)
            while left and (piece := self.handle.read(min(left, LONGEST_LINE))):
                digest.update(piece)
                left -= len(piece)
        return not left and digest.hexdigest() == position.chain

    def begins(self, other: _File) -> bool:
        """Whether all of this file is the beginning of ``other``, as far as its last bytes tell."""
        if self.packed or other.packed or self.size > other.size or self.first != other.first:
            return False
        tails = []
        for file in (self, other):
            start = max(0, self.size - WINDOW)
            file.handle.seek(start)
            tails.append(file.handle.read(self.size - start))
        return tails[0] == tails[1]


@dataclasses.dataclass
class _Match:
    """Which position a file goes on from. ``replaces`` is that position under the file's former identity."""

    file: _File
    position: _Position
    replaces: _Position | None = None
    lost: _Position | None = None  # what stood in this file before it was truncated


class _Reading:
    """One reading of all files: the positions as they stand, and the page that is being filled."""

    def __init__(self, positions: t.Mapping[str, str], page_size: int, now: datetime) -> None:
        self._positions = {key: _Position(**json.loads(text)) for key, text in positions.items()}
        self._alike: dict[str, dict[str, _Position]] = {}  # by the first line
        self._mine: dict[str, set[str]] = {}  # keys of what should be there, by family
        for key, position in self._positions.items():
            self._alike.setdefault(position.first, {})[key] = position
            if not position.gone:
                self._mine.setdefault(position.family, set()).add(key)
        self._page_size, self._now = page_size, now
        self._problems: list[str] = []
        self._taken: set[str] = set()
        self._inodes: set[int] = set()
        self._orphaned: set[str] = set()  # names that lead nowhere now
        self._seen: dict[tuple[str, str], tuple[dict[str, int], dict[str, list[str]]]] = {}  # by folder and pattern
        self._records: list[dict] = []
        self._moved: set[str] = set()

    def pages(self, patterns: t.Sequence[str]) -> t.Iterator[Page]:
        families = self._find(patterns)
        self._orphaned = {position.family for position in self._positions.values()} - families.keys()
        for family, pattern in sorted(families.items()):
            with contextlib.ExitStack() as stack:
                for match in self._look(family, pattern, stack):
                    for record in self._read(match, family):
                        self._records.append(record)
                        if len(self._records) >= self._page_size:
                            yield self._page(final=False)
        # A folder that could not be looked at says nothing about what is missing from it.
        if not self._problems:
            self._records += self._vanished(patterns)
        yield self._page(final=True)
        if self._problems:
            raise StateError(" ".join(self._problems))

    def _page(self, final: bool) -> Page:
        positions = {
            key: json.dumps(dataclasses.asdict(self._positions[key])) if key in self._positions else FORGET
            for key in sorted(self._moved)
        }
        page = Page(self._records, final, positions)
        self._records, self._moved = [], set()
        return page

    # Finding files

    def _find(self, patterns: t.Sequence[str]) -> dict[str, str]:
        """The live names that ``patterns`` stand for, with the pattern of each. Files that are gone for now count."""
        families: dict[str, str] = {}
        for pattern in patterns:
            found, before = False, len(self._problems)
            for folder in self._folders(os.path.dirname(os.path.abspath(pattern))):
                names = self._names(folder, os.path.basename(pattern))
                for live in names:
                    families.setdefault(os.path.join(folder, live), pattern)
                    found = True
            if not found and len(self._problems) == before:
                self._problems.append(
                    f"No file matches {pattern}; check the option syslog_files, and whether the syslog server writes there."
                )
        return families

    def _names(self, folder: str, pattern: str) -> dict[str, list[str]]:
        """Look at ``folder``, and remember it: live names to the names of their files."""
        inodes = self._listing(folder)
        self._inodes.update(inodes.values())
        self._seen[folder, pattern] = inodes, _families(inodes, pattern)
        return self._seen[folder, pattern][1]

    def _folders(self, path: str) -> list[str]:
        parent, name = os.path.split(path)
        if not name:
            return [path]
        folders = self._folders(parent)
        if not re.search(r"[*?\[]", name):
            return [os.path.join(folder, name) for folder in folders]
        return [
            os.path.join(folder, entry)
            for folder in folders
            for entry in sorted(self._listing(folder))
            if _matches(entry, name) and os.path.isdir(os.path.join(folder, entry))
        ]

    def _listing(self, folder: str) -> dict[str, int]:
        """The names in ``folder`` and their inodes."""
        inodes = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):  # it went while we looked, or is a link to nowhere
                        inodes[entry.name] = entry.stat().st_ino
        except FileNotFoundError:
            pass
        except OSError as exc:
            self._cannot(folder, exc)
        return inodes

    def _cannot(self, path: str, exc: OSError) -> None:
        self._problems.append(f"{path} cannot be read: {exc.strerror}. Give the user of the SOC the right to read it.")

    # Knowing files again

    def _look(self, family: str, pattern: str, stack: contextlib.ExitStack) -> list[_Match]:
        """Open the files of ``family`` and say where each goes on.

        While files are renamed and copied, a look may miss one. It is repeated until every name still leads to the file
        that was opened, and, as far as possible, no file is missing.
        """
        mine = self._mine.get(family, set()) & self._positions.keys()
        before = len(self._problems)
        for look in range(LOOKS):
            del self._problems[before:]
            if look:
                self._names(os.path.dirname(family), os.path.basename(pattern))
            files, steady = self._open(family, pattern, stack)
            matches = self._match(family, files)
            known = {match.file.key for match in matches} | {one.replaces.key for one in matches if one.replaces}
            missing = mine - known - self._taken or any(match.lost for match in matches)
            if steady and (look or not missing):
                # What is lost may be in the file that could not be opened: it waits.
                return [match for match in matches if not match.lost or len(self._problems) == before]
        self._problems.append(f"The files of {family} are renamed faster than they can be read; run again.")
        return []

    def _open(self, family: str, pattern: str, stack: contextlib.ExitStack) -> tuple[list[_File], bool]:
        """The files of ``family``, open, oldest first; and whether each name still leads to the file that it led to."""
        folder, base = os.path.split(family)
        listed, families = self._seen[folder, os.path.basename(pattern)]
        names = families.get(base, [])
        files: dict[int, _File] = {}
        steady = True
        for name in sorted(names, key=lambda name: name != base):  # of two names of one file the live one counts
            # Beside the file itself, a compressed one is in the making.
            if name.endswith(".gz") and name.removesuffix(".gz") in names:
                continue
            path = os.path.join(folder, name)
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                steady = False
                continue
            except OSError as exc:
                self._cannot(path, exc)
                continue
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                os.close(descriptor)
                continue
            raw = stack.enter_context(os.fdopen(descriptor, "rb"))
            steady = steady and listed[name] == status.st_ino
            packed = name.endswith(".gz")
            handle = t.cast("t.BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=raw))) if packed else raw
            if status.st_ino not in files:
                first = _first_line(handle, packed)
                files[status.st_ino] = _File(
                    name, name == base, packed, handle, status.st_ino, status.st_size, status.st_mtime_ns, first
                )
        self._inodes.update(files)
        # A file without a complete line has no identity yet, and nothing to give.
        known = [file for file in files.values() if file.first]
        return sorted(known, key=lambda file: (file.live, file.changed, file.name)), steady

    def _match(self, family: str, files: list[_File]) -> list[_Match]:
        """Where each of ``files`` goes on. Copies of others are left out. Changes nothing."""
        found: dict[str, _Match] = {}
        former: dict[str, _Position] = {}
        for file in files:
            position = self._positions.get(file.key)
            if position and (file.unchanged_since(position) or file.continues(position)):
                found[file.key] = _Match(file, position)
            elif position:
                former[file.key] = position
        used = set(found) | self._taken
        for number, file in enumerate(files):
            if file.key in found:
                continue
            # Its content may be known under another inode, that of a file which is no more where it was.
            free = [
                position
                for key, position in self._alike.get(t.cast(str, file.first), {}).items()
                if key not in used
                and (position.family in (family, *self._orphaned) or position.inode not in self._inodes)
            ]
            best = max(
                (position for position in free if file.continues(position)), key=lambda one: one.offset, default=None
            )
            if best:
                position = dataclasses.replace(best, inode=file.inode, packed=file.packed)
            elif not file.live and self._is_copy(file, files[number + 1 :], found):
                continue
            elif not file.live and (shorter := [one for one in free if one.key != file.key]):
                # A copy that ends before what was read of the original: the same ids once more.
                best = shorter[0]
                position = _new(file, family, best.seed)
            else:
                position = _new(file, family, self._seed(file))
            if best:
                used.add(best.key)
            found[file.key] = _Match(file, position, replaces=best)
        for key, position in former.items():
            if key in found and key not in used and not position.done:
                found[key].lost = position
        return [found[file.key] for file in files if file.key in found]

    def _seed(self, file: _File) -> str:
        """The beginning of the chain of a file that is new: another than any file had that began with the same line."""
        seed = _begin("", file.key.encode()).hexdigest()
        used = {position.seed for position in self._alike.get(t.cast(str, file.first), {}).values()}
        while seed in used:
            seed = _begin(seed, b"again").hexdigest()
        return seed

    @staticmethod
    def _is_copy(file: _File, others: list[_File], found: dict[str, _Match]) -> bool:
        """Whether a rotated file that nobody has read is the copy of another: logrotate copies before it truncates.

        A file of a few lines may well begin as another does. It counts as a copy only when the other is the live file
        and was read before, which one that was just renamed is not, or when it is the younger of the two.
        """
        return any(
            (file.size >= WINDOW or (other.live and other.key in found) or file.changed > other.changed)
            and file.begins(other)
            for other in others
        )

    # Reading

    def _read(self, match: _Match, family: str) -> t.Iterator[dict]:
        """The new lines of one file, whose position moves with each."""
        file, position = match.file, match.position
        if match.lost:
            yield self._lose(match.lost)
        if match.replaces:
            self._forget(match.replaces)
            self._keep(position)
        self._taken.add(file.key)
        before = dataclasses.replace(position)
        problem = None
        if not file.unchanged_since(position):
            try:
                for record in self._lines(file, position):
                    self._keep(position)
                    yield record
                if file.packed and file.rest:
                    problem = "ends within a line, which is lost"
            except DAMAGED as exc:
                problem = f"is damaged ({exc.__class__.__name__}); what follows in it is lost"
            except OSError as exc:
                self._cannot(os.path.join(os.path.dirname(family), file.name), exc)
                return
        position.family, position.gone = family, None
        position.size, position.changed = file.size, file.changed
        position.done = not file.live and (file.packed or position.offset == file.size)
        if position != before and (position.offset or file.packed):
            self._keep(position)
        if problem:
            yield {**_problem(position, file.name, problem), "begins": file.rest.decode("utf-8", "replace")[:EXCERPT]}

    @staticmethod
    def _lines(file: _File, position: _Position) -> t.Iterator[dict]:
        """The complete lines of ``file`` behind ``position``, which moves with each. Empty ones are passed over."""
        file.handle.seek(position.offset)
        while True:
            start = end = position.offset
            digest, head, piece = _begin(position.chain), b"", b""
            while not piece.endswith(b"\n"):
                piece = file.handle.readline(LONGEST_LINE + 1)
                end += len(piece)
                # What comes in while we read is for the next run: a fast writer would keep us forever.
                if not piece or (not file.packed and end > file.size):
                    file.rest = head
                    return
                digest.update(piece)
                head = head or piece
            position.before, position.chain = position.chain, digest.hexdigest()
            position.start, position.offset = start, end
            record = {"file": file.name, "offset": start, "id": position.chain}
            line = head.rstrip(b"\r\n").decode("utf-8", "replace")
            if end - start > LONGEST_LINE + 1:
                told = f"the line has {end - start} bytes; {LONGEST_LINE} are the most"
                yield {**record, "problem": told, "begins": line[:EXCERPT]}
            elif line.strip():
                yield {**record, "line": line}

    def _vanished(self, patterns: t.Sequence[str]) -> t.Iterator[dict]:
        """What went away before its end was read. Positions of files that are long gone are forgotten."""
        for key, position in list(self._positions.items()):
            if key in self._taken:
                continue
            if not position.gone:
                # Files that are no longer asked for are nobody's loss.
                if not position.done and any(_matches_path(position.family, pattern) for pattern in patterns):
                    yield self._lose(position)
                position.gone = format_time(self._now)
                self._keep(position)
            elif self._now - parse_time(position.gone) > KEEP:
                self._forget(position)

    def _lose(self, position: _Position) -> dict:
        position.done = True
        self._keep(position)
        return _problem(
            position,
            os.path.basename(position.family),
            f"was truncated or removed before it was seen to be finished: lines behind byte {position.offset} may be"
            " lost. Where rotated files are moved elsewhere, name that place in syslog_files too",
        )

    def _keep(self, position: _Position) -> None:
        self._positions[position.key] = position
        self._alike.setdefault(position.first, {})[position.key] = position
        self._moved.add(position.key)

    def _forget(self, position: _Position) -> None:
        self._positions.pop(position.key, None)
        self._alike.get(position.first, {}).pop(position.key, None)
        self._moved.add(position.key)


def _problem(position: _Position, name: str, what: str) -> dict:
    identity = _begin(position.chain, what.encode()).hexdigest()
    return {"file": name, "offset": position.offset, "id": identity, "problem": f"the file {name} {what}"}


def _begin(chain: str, more: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(bytes.fromhex(chain) + more, digest_size=16)


def _key(first: str | None, inode: int, packed: bool) -> str:
    # Compressing frees one inode and takes another: that of a file with the same first line, perhaps.
    return f"{first}@{inode}{'z' if packed else ''}"


def _new(file: _File, family: str, seed: str) -> _Position:
    return _Position(t.cast(str, file.first), file.inode, file.packed, family, seed, before=seed, chain=seed)


def _first_line(handle: t.BinaryIO, packed: bool) -> str | None:
    """What a file is known by: its first line, or as much of it as a line may have; None while that is incomplete."""
    try:
        line = handle.readline(LONGEST_LINE)
    except (*DAMAGED, OSError):
        return None
    # Nothing will be added to a packed file.
    complete = line.endswith(b"\n") or len(line) == LONGEST_LINE or (packed and line)
    return _begin("", line).hexdigest() if complete else None


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) and not (name.startswith(".") and not pattern.startswith("."))


def _matches_path(path: str, pattern: str) -> bool:
    parts, wanted = Path(path).parts, Path(os.path.abspath(pattern)).parts
    return len(parts) == len(wanted) and all(_matches(part, one) for part, one in zip(parts, wanted))


def _families(names: t.Collection[str], pattern: str) -> dict[str, list[str]]:
    """The files of one folder that ``pattern`` asks for: live name to all its names, the rotated ones too."""
    families: dict[str, list[str]] = {}
    for name in names:
        if live := _live_name(name, names, pattern):
            families.setdefault(live, []).append(name)
    return families


def _live_name(name: str, names: t.Collection[str], pattern: str) -> str | None:
    """The name that a file had before it was rotated, where ``pattern`` asks for that, else None.

    A name that ends in a number may be no rotated one (10.0.0.1): where it is asked for itself, it counts as rotated
    only beside the file that it would come from.
    """
    plain = name.removesuffix(".gz")
    origins = [plain] if plain != name else []
    origins += [
        plain[:place]
        for place in range(len(plain) - 1, 0, -1)
        if plain[place] in ".-" and SUFFIX.fullmatch(plain, place + 1)
    ]
    if dated := DATED.fullmatch(plain):
        origins.append(dated[1] + dated[2])
    itself = _matches(name, pattern)
    for origin in origins:
        if _matches(origin, pattern) and (origin in names or not itself):
            return origin
    return name if itself else None
