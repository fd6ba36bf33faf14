# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The two pages that are made of one model: the interactive one, and the one that becomes the PDF.

Text of the export is data, never a template: it is only ever a value, and every value is escaped. The templates run in a
sandbox all the same.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import re
import traceback
import typing as t
from datetime import date
from gettext import NullTranslations

from ansible.module_utils.basic import missing_required_lib

from .._core.errors import ConfigError, LibraryMissing
from . import assets as files
from . import charts
from .model import SEVERITIES, Report
from .text import clip, evidence_limit, paragraphs, soften

try:
    import jinja2
    import jinja2.sandbox
    from markupsafe import Markup

    JINJA_TROUBLE = ""
except ImportError:
    JINJA_TROUBLE = traceback.format_exc()

INK, PAPER = "#0f2a43", "#ffffff"
# The words in the templates are English; a language is a catalogue that takes the place of this empty one.
ENGLISH = NullTranslations()
MONTHS = "January February March April May June July August September October November December".split()


@dataclasses.dataclass(frozen=True)
class Look:
    """What a site may change about a report. Colours are ``#rrggbb``."""

    title: str = "Vulnerability report"
    brand: str = "Netcure"
    primary: str = INK
    accent: str = "#e08a00"
    classification: str = "Confidential"


@dataclasses.dataclass(frozen=True)
class PrintLimits:
    """How much goes onto paper: of a finding the table rows, characters of a field and of all evidence; of a platform
    the rows of its list."""

    rows: int = 200
    field_chars: int = 4000
    evidence_chars: int = 40_000
    platform_rows: int = 40


def check_colour(name: str, value: str) -> str:
    """``value`` when it is ``#rrggbb``, else ConfigError: a colour goes into a style sheet and may be nothing else."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        raise ConfigError(f"branding.{name} is {value!r}; write it as #rrggbb, such as {INK}.")
    return value.lower()


def contrast(one: str, other: str) -> float:
    """Contrast of two ``#rrggbb`` colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def long_date(day: date) -> str:
    """21 November 2026."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def screen(report: Report, look: Look, assets: files.Assets) -> str:
    """The interactive report: one file that asks for nothing from anywhere."""
    font = base64.b64encode(assets["fonts/Inter-Variable-Latin.woff2"]).decode("ascii")
    face = f"@font-face{{font-family:Inter;font-weight:100 900;src:url(data:font/woff2;base64,{font})}}\n"
    style = face + _variables(look) + files.text(assets, "screen.css")
    script = files.text(assets, "screen.js")
    environment = _environment(assets, {"soft": str, "clip": str, "evidence": lambda text, _rows: text})
    return _render(
        environment,
        "screen.html.j2",
        _context(report, look)
        | {"style": Markup(style), "script": Markup(script), "style_hash": _csp(style), "script_hash": _csp(script)},  # noqa: S704
    )


def printed(report: Report, look: Look, assets: files.Assets, limits: PrintLimits | None = None) -> str:
    """The page that the PDF engine lays out. Its fonts are ``asset:`` addresses, which only our fetcher knows."""
    limits = limits or PrintLimits()

    def evidence(text: str, rows: int) -> str:
        return clip(text, evidence_limit(rows, limits.field_chars, limits.evidence_chars))

    environment = _environment(
        assets, {"soft": soften, "clip": functools.partial(clip, limit=limits.field_chars), "evidence": evidence}
    )
    style = _variables(look) + files.text(assets, "print.css")
    context = _context(report, look) | {
        "style": Markup(style),  # noqa: S704
        "max_rows": limits.rows,
        "platform_rows": limits.platform_rows,
    }
    return _render(environment, "print.html.j2", context)


def _environment(assets: files.Assets, filters: dict[str, t.Callable]) -> jinja2.Environment:
    if JINJA_TROUBLE:
        raise LibraryMissing(
            missing_required_lib("Jinja2 >= 3.1")
            + " The role netcure.soc.runtime installs all of them in one virtual environment.",
            traceback=JINJA_TROUBLE,
        )
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=jinja2.FunctionLoader(lambda name: files.text(assets, name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(ENGLISH, newstyle=True)
    environment.filters.update(filters, paragraphs=paragraphs, long_date=long_date)
    return environment


def _render(environment: jinja2.Environment, name: str, context: dict) -> str:
    try:
        return environment.get_template(name).render(context)
    except jinja2.TemplateError as exc:
        raise ConfigError(f"The template {name} cannot be filled in: {exc}. Leave templates_dir out.") from exc


def _context(report: Report, look: Look) -> dict:
    gettext, ngettext = ENGLISH.gettext, ENGLISH.ngettext
    labels = {
        "critical": gettext("Critical"),
        "high": gettext("High"),
        "medium": gettext("Medium"),
        "low": gettext("Low"),
        "info": gettext("Info"),
    }
    unmapped = gettext("Not in the mapping")

    def slices(severity: dict[str, int]) -> list[charts.Slice]:
        return [(one, labels[one], severity[one]) for one in SEVERITIES]

    def bar_name(name: str, others: int) -> str:
        return gettext("%(count)s other platforms") % {"count": others} if others else name or unmapped

    donut = charts.donut(
        slices(report.counts.severity),
        title=gettext("Findings by severity"),
        caption=ngettext("finding", "findings", report.counts.findings),
    )
    bars = charts.stacked_bars(
        [(bar_name(one.name, one.others), slices(one.severity)) for one in report.bars],
        title=gettext("Findings per scanner platform"),
        empty=gettext("No scanner platforms"),
    )
    return {
        "report": report,
        "look": look,
        "lang": "en",
        "severities": SEVERITIES,
        "labels": labels,
        "unmapped_name": unmapped,
        "platform_numbers": {platform.name: number for number, platform in enumerate(report.platforms)},
        "donut": Markup(donut),  # noqa: S704  (charts escapes every word it is given)
        "bars": Markup(bars),  # noqa: S704
    }


def _variables(look: Look) -> str:
    """The colours as CSS variables: ours, and the site's as far as they can be read."""
    on_primary = PAPER if contrast(look.primary, PAPER) >= 4.5 else "#10181f"
    heading = look.primary if contrast(look.primary, PAPER) >= 4.5 else INK
    values = {
        **charts.COLOURS,
        "primary": look.primary,
        "accent": look.accent,
        "on-primary": on_primary,
        "heading": heading,
    }
    return ":root{" + "".join(f"--{name}:{value};" for name, value in values.items()) + "}\n"


def _csp(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")
