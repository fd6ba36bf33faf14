# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""From two CSV files to the files of a report: read, count, render everything in memory, compare, write what changed."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import time
from datetime import date

from .._core.argspec import ArgumentSpec, common
from .._core.errors import ConfigError, StateError
from .._core.ids import slug
from .._core.module import Run
from .._core.state import atomic_write, ensure_folder
from . import assets as files
from . import html
from .csvio import FINDINGS, MAPPING, Layout, Limits, read_sheet
from .model import Report, build

WARNINGS_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Output:
    """One file of the report: what it is to hold, and what is there now (None: no file)."""

    format: str
    path: str
    content: bytes
    previous: bytes | None

    @property
    def changed(self) -> bool:
        return self.content != self.previous

    def as_dict(self) -> dict:
        return {"format": self.format, "path": self.path, "bytes": len(self.content), "sha256": _sha256(self.content)}


def argument_spec() -> ArgumentSpec:
    """Options of C(render_report)."""

    def columns(layout: Layout) -> dict:
        return {"type": "dict", "options": {name: {"type": "str"} for name in sorted(layout.columns)}}

    own = ArgumentSpec(
        {
            "findings_csv": {"type": "path", "required": True},
            "mapping_csv": {"type": "path", "required": True},
            "output_dir": {"type": "path", "required": True},
            "name": {"type": "str"},
            "company": {"type": "str"},
            "title": {"type": "str", "default": "Vulnerability report"},
            "classification": {"type": "str", "default": "Confidential"},
            "scan_date": {"type": "str"},
            "formats": {"type": "list", "elements": "str", "choices": ["html", "pdf"], "default": ["html", "pdf"]},
            "branding": {
                "type": "dict",
                "options": {
                    "name": {"type": "str", "default": "Netcure"},
                    "primary": {"type": "str", "default": "#0f2a43"},
                    "accent": {"type": "str", "default": "#e08a00"},
                },
            },
            "columns": {"type": "dict", "options": {"findings": columns(FINDINGS), "mapping": columns(MAPPING)}},
            "limits": {
                "type": "dict",
                "options": {
                    "max_bytes": {"type": "int", "default": 268435456},
                    "max_rows": {"type": "int", "default": 200000},
                    "max_field_chars": {"type": "int", "default": 8388608},
                    "pdf_field_chars": {"type": "int", "default": 4000},
                    "pdf_rows": {"type": "int", "default": 200},
                    "pdf_seconds": {"type": "int", "default": 900},
                },
            },
            "templates_dir": {"type": "path"},
        }
    )
    return own.merge(common())


def render_report(run: Run) -> dict:
    """Carry out one run of the module; its result is what the module returns. Raises SocError."""
    options = run.params
    limits = _with_defaults("limits", options)
    columns = options["columns"] or {}
    look = _look(options)
    scan_date = _scan_date(options["scan_date"]) or run.clock().date()
    started = time.monotonic()
    reading = Limits(limits["max_bytes"], limits["max_rows"], limits["max_field_chars"])
    report = build(
        read_sheet(options["findings_csv"], FINDINGS, columns.get("findings"), reading),
        read_sheet(options["mapping_csv"], MAPPING, columns.get("mapping"), reading),
        options["company"] or None,
        scan_date,
    )
    timings = {"read": _since(started)}
    for warning in report.warnings[:WARNINGS_SHOWN]:
        run.warn(warning)
    if len(report.warnings) > WARNINGS_SHOWN:
        run.warn(f"{len(report.warnings) - WARNINGS_SHOWN} more values of this kind were left out.")
    if report.unmapped:
        run.warn(
            f"{len(report.unmapped)} scan objects are not in {options['mapping_csv']}; the report shows them under "
            f"'Not in the mapping': {', '.join(report.unmapped[:10])}{', …' if len(report.unmapped) > 10 else ''}"
        )
    contents, pages = _render(report, look, options, limits, timings)
    base = os.path.join(options["output_dir"], _base_name(options["name"], report.company))
    outputs = [Output(one, f"{base}.{one}", content, _existing(f"{base}.{one}")) for one, content in contents.items()]
    if not run.check_mode:
        ensure_folder(options["output_dir"])
        for output in outputs:
            if output.changed:
                atomic_write(output.path, output.content)
    return {
        "changed": any(output.changed for output in outputs),
        "reports": [output.as_dict() for output in outputs],
        "counts": {
            "findings": report.counts.findings,
            "assets": report.counts.assets,
            "occurrences": report.counts.occurrences,
            **report.counts.severity,
        },
        "company": report.company,
        "unmapped": list(report.unmapped),
        "pages": pages,
        "timings": timings,
        "diff": {
            "before_header": base,
            "after_header": base,
            "before": "".join(_summary(output, output.previous) for output in outputs),
            "after": "".join(_summary(output, output.content) for output in outputs),
        },
    }


def _render(
    report: Report, look: html.Look, options: dict, limits: dict, timings: dict[str, float]
) -> tuple[dict[str, bytes], int | None]:
    """The bytes of each format that was asked for, and the number of pages of the PDF (None without one)."""
    assets = files.load(options["templates_dir"])
    contents: dict[str, bytes] = {}
    pages = None
    if "html" in options["formats"]:
        started = time.monotonic()
        contents["html"] = html.screen(report, look, assets).encode("utf-8")
        timings["html"] = _since(started)
    if "pdf" in options["formats"]:
        # Only here: importing the PDF engine takes a second, and a report without PDF does without it.
        from . import pdf

        started = time.monotonic()
        room = html.PrintLimits(rows=limits["pdf_rows"], field_chars=limits["pdf_field_chars"])
        contents["pdf"], pages = pdf.make(html.printed(report, look, assets, room), assets, limits["pdf_seconds"])
        timings["pdf"] = _since(started)
    return {one: contents[one] for one in sorted(contents)}, pages


def _with_defaults(name: str, options: dict) -> dict:
    """A dictionary option; left out altogether it has the defaults of its parts."""
    parts = argument_spec().options[name]["options"]
    given = options[name] or {}
    return {part: given[part] if given.get(part) is not None else spec["default"] for part, spec in parts.items()}


def _look(options: dict) -> html.Look:
    branding = _with_defaults("branding", options)
    return html.Look(
        title=options["title"],
        brand=branding["name"],
        primary=html.check_colour("primary", branding["primary"]),
        accent=html.check_colour("accent", branding["accent"]),
        classification=options["classification"],
    )


def _scan_date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as exc:
        raise ConfigError(f"scan_date is {text!r}; write it as 2026-11-20.") from exc


def _base_name(name: str | None, company: str) -> str:
    if not name:
        return "-".join(part for part in ("vulnerability-report", slug(company)) if part)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}", name):
        raise ConfigError(f"name is {name!r}; use letters, digits, points, hyphens and underscores, and no folder.")
    return name


def _existing(path: str) -> bytes | None:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StateError(f"The file {path} cannot be read: {exc.strerror}.") from exc


def _summary(output: Output, content: bytes | None) -> str:
    """A line or two on a file for --diff: what it is, and what an HTML report says it counts."""
    if content is None:
        return ""
    lines = [f"{os.path.basename(output.path)}: {len(content)} bytes, sha256 {_sha256(content)}"]
    counts = re.search(rb'<meta name="soc\.counts" content="([^"<>]{1,300})">', content[:4096])
    if output.format == "html" and counts:
        lines.append(counts[1].decode("utf-8", "replace"))
    return "\n".join(lines) + "\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _since(started: float) -> float:
    return round(time.monotonic() - started, 2)
