# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Reading scanner exports strictly: whatever is wrong with a file is told with its line, nothing is guessed away."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import hashlib
import io
import re
import typing as t

from .._core.errors import InputError

DELIMITERS = (";", ",", "\t", "|")
# Aliases are compared without case, spaces and punctuation, so "CVSS(score)" and "cvss_score" are one.
ALIASES: dict[str, tuple[str, ...]] = {
    "company": ("Company", "Customer", "Bedrijf", "Klant", "Société", "Client"),
    "scan_object": ("Scan object", "Asset", "Host", "Target", "Doel", "Cible"),
    "issue_title": ("Issue title", "Issue", "Title", "Name", "Vulnerability"),
    "risk": ("Risk", "Severity", "Risk level"),
    "cvss": ("CVSS", "CVSS score"),
    "cve": ("CVE", "CVEs"),
    "port": ("Port",),
    "protocol": ("Protocol",),
    "scanner": ("Scanner", "Insight"),
    "description": ("Description",),
    "solution": ("Solution", "Remediation"),
    "technical_data": ("Technical data", "Details", "Output"),
    "first_seen": ("First seen", "First detected", "Detection date"),
    "last_seen": ("Last seen", "Last detected"),
    "status": ("Status",),
    "scanner_platform": ("Scanner platform", "Platform"),
    "probe": ("Probe",),
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which columns a file may have, and which it must have."""

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.required + self.optional


FINDINGS = Layout(
    "findings",
    ("scan_object", "issue_title", "risk"),
    (
        *("company", "cvss", "cve", "port", "protocol", "scanner", "description", "solution", "technical_data"),
        *("first_seen", "last_seen", "status"),
    ),
)
MAPPING = Layout("mapping", ("scan_object", "scanner_platform"), ("probe", "company"))


@dataclasses.dataclass(frozen=True)
class Limits:
    """Where reading stops with an error: bytes of a file, data rows of a file, characters of a field."""

    max_bytes: int = 256 * 2**20
    max_rows: int = 200_000
    max_field_chars: int = 8 * 2**20


@dataclasses.dataclass(frozen=True)
class Row:
    """One record: the line on which it starts, and its text by canonical column name (a missing cell is empty)."""

    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A file as read. ``columns`` holds the canonical names that it has, ``sha256`` is that of its bytes."""

    path: str
    sha256: str
    columns: frozenset[str]
    rows: tuple[Row, ...]


def read_sheet(path: str, layout: Layout, columns: dict[str, str] | None = None, limits: Limits | None = None) -> Sheet:
    """Read the CSV file ``path``.

    ``columns`` names the header text to take for a canonical column, in place of the aliases. Encoding is taken from
    a byte order mark, else UTF-8, else Windows-1252; the delimiter is the one that makes most column names appear.
    Text is plain text; control characters become visible escapes. Raises InputError with file, line and remedy.
    """
    limits = limits or Limits()
    columns = {name: header for name, header in (columns or {}).items() if header}
    headers = _headers(layout, columns)
    required = {*layout.required, *columns}
    raw = _load(path, limits.max_bytes)
    text = _decode(path, raw)
    previous = csv.field_size_limit(limits.max_field_chars)
    try:
        header, delimiter, first_line = _find_header(path, text, headers)
        index = _locate(path, first_line, header, headers, layout.name, required)
        rows = tuple(_rows(path, text, delimiter, first_line, len(header), index, limits))
    finally:
        csv.field_size_limit(previous)
    return Sheet(path, hashlib.sha256(raw).hexdigest(), frozenset(index), rows)


def _headers(layout: Layout, columns: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """The header texts that count for each canonical column."""
    unknown = sorted(columns.keys() - set(layout.columns))
    if unknown:
        raise InputError(
            f"columns.{layout.name} names {', '.join(unknown)}, which a {layout.name} file does not have. "
            f"Its columns are {', '.join(layout.columns)}.",
            unknown=unknown,
        )
    return {name: (columns[name],) if name in columns else ALIASES[name] for name in layout.columns}


def _load(path: str, max_bytes: int) -> bytes:
    try:
        with open(path, "rb") as handle:
            raw = handle.read(max_bytes + 1)
    except OSError as exc:
        raise InputError(
            f"{path} cannot be read: {exc.strerror}. Check the path and that the user of this task may read it."
        ) from exc
    if len(raw) > max_bytes:
        raise InputError(f"{path} is larger than {max_bytes} bytes. Export less at a time, or raise limits.max_bytes.")
    if not raw.strip():
        raise InputError(f"{path} is empty, not even a header. Export it again: an interrupted export looks like this.")
    return raw


def _decode(path: str, raw: bytes) -> str:
    marks = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
    marked = [encoding for mark, encoding in marks if raw.startswith(mark)]
    for encoding in marked or ("utf-8", "cp1252"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            line = _line_of(text, text.index("\0"))
            raise InputError(
                f"{path}:{line}: there is a NUL character. The file is binary, damaged, or UTF-16 without a byte "
                "order mark: save it as UTF-8.",
                line=line,
            )
        return text
    raise InputError(f"{path} is neither {marked[0] if marked else 'UTF-8 nor Windows-1252'}: save it as UTF-8.")


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _norm(header: str) -> str:
    return re.sub(r"[\W_]+", "", header).casefold()


def _records(path: str, text: str, delimiter: str) -> t.Iterator[tuple[int, list[str]]]:
    """Records with the line each starts on; a record that breaks the rules of CSV raises InputError."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            if "field larger than" in str(exc):
                problem = f"a field is longer than {csv.field_size_limit()} characters: raise limits.max_field_chars"
            elif "unexpected end" in str(exc):
                problem = (
                    "a quote is opened here and never closed: close it, or double a quote that is part of the text"
                )
            else:
                problem = f"{exc}: put quotes around the whole field, and double a quote that is part of the text"
            raise InputError(f"{path}:{start}: {problem}.", line=start) from exc
        yield start, record


def _find_header(path: str, text: str, headers: dict[str, tuple[str, ...]]) -> tuple[list[str], str, int]:
    """The header's cells, the delimiter, and the line it is on."""
    known = {_norm(alias) for names in headers.values() for alias in names}
    best: tuple[int, int, list[str], str, int] | None = None
    trouble: InputError | None = None
    for delimiter in DELIMITERS:
        try:
            for line, record in _records(path, text, delimiter):
                # Excel writes "sep=;" above the header; blank lines say nothing.
                if not any(cell.strip() for cell in record) or record[0].strip().lower().startswith("sep="):
                    continue
                score = len({_norm(cell) for cell in record} & known)
                if best is None or (score, len(record)) > best[:2]:
                    best = (score, len(record), record, delimiter, line)
                break
        except InputError as exc:
            trouble = trouble or exc
    if best is None:
        raise trouble or InputError(f"{path} has no header line. Export it again with column names.")
    return best[2], best[3], best[4]


def _locate(
    path: str, line: int, header: list[str], headers: dict[str, tuple[str, ...]], layout: str, required: set[str]
) -> dict[str, int]:
    """The place of each canonical column in ``header``."""
    index: dict[str, int] = {}
    for name, aliases in headers.items():
        wanted = {_norm(alias) for alias in aliases}
        places = [place for place, cell in enumerate(header) if _norm(cell) in wanted]
        if len(places) > 1:
            twice = " and ".join(repr(header[place].strip()) for place in places)
            raise InputError(
                f"{path}:{line}: {twice} both mean {name}. Say which one to take with columns.{layout}.{name}, "
                "or rename one of them.",
                line=line,
                column=name,
            )
        if places:
            index[name] = places[0]
        elif name in required:
            raise InputError(
                f"{path}:{line}: there is no column {name}; tried {', '.join(aliases)}. The file has "
                f"{', '.join(cell.strip()[:40] for cell in header[:40])}. Name the right one with "
                f"columns.{layout}.{name}.",
                line=line,
                column=name,
                tried=list(aliases),
            )
    return index


# Escape sequences, direction overrides and the like could hide or reorder what a reader sees.
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")


def clean(cell: str) -> str:
    """``cell`` without outer blanks, with line feeds only, and with invisible control characters written out."""
    text = cell.replace("\r\n", "\n").replace("\r", "\n")
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text).strip()


def _rows(
    path: str, text: str, delimiter: str, header_line: int, width: int, index: dict[str, int], limits: Limits
) -> t.Iterator[Row]:
    count = 0
    for line, record in _records(path, text, delimiter):
        if line <= header_line or not any(cell.strip() for cell in record):
            continue
        if len(record) > width:
            raise InputError(
                f"{path}:{line}: {len(record)} cells, but the header has {width}. Put quotes around fields that hold "
                f"{delimiter!r} or a line break.",
                line=line,
            )
        count += 1
        if count > limits.max_rows:
            raise InputError(
                f"{path}:{line}: more than {limits.max_rows} rows. Export less at a time, or raise limits.max_rows.",
                line=line,
            )
        yield Row(line, {name: clean(record[at]) for name, at in index.items() if at < len(record)})
