# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Charts as SVG text, drawn by hand: the same string goes into the HTML and into the PDF.

WeasyPrint passes neither document CSS nor currentColor nor CSS variables into inline SVG, so colours and fonts are
literal; the classes are for the dark page of the HTML. Coordinates have two decimals, so the same data gives the same bytes.
"""

from __future__ import annotations

import math
import typing as t
from html import escape

# White text on each of them has a contrast of at least 4.5 (WCAG 2.2, success criterion 1.4.3).
COLOURS = {"critical": "#7a0c2e", "high": "#c8321f", "medium": "#a85f00", "low": "#2a6f9e", "info": "#5f6c7b"}
INK, MUTED, GRID, EMPTY, ON = "#1c2733", "#5f6c7b", "#dde3ea", "#dde3ea", "#ffffff"
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
# Inter at 12 units: a character is 6.4 wide on average, a wide one 7.4 (measured on lower case and digits).
CHARACTER = 6.6
NAME_LENGTH = 28

Slice = tuple[str, str, int]  # severity, label, count


def _n(value: float) -> str:
    """Two decimals at most, without a negative zero."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _svg(name: str, width: float, height: float, title: str, description: str, body: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart chart-{name}" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'width="{_n(width)}" height="{_n(height)}" role="img" aria-labelledby="{name}-t {name}-d" '
        f'font-family="{escape(FONT)}"><title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(description)}</desc>{"".join(body)}</svg>'
    )


def _text(
    x: float, y: float, words: str, *, size: float, fill: str, css: str, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{fill}" class="{css}">{escape(words)}</text>'
    )


def describe(slices: t.Sequence[Slice]) -> str:
    """The counts in words, for people who do not see the chart."""
    return ", ".join(f"{label} {count}" for _severity, label, count in slices)


def shares(counts: t.Sequence[int], minimum: float) -> list[float]:
    """Each count's part of 1; one that is not zero gets at least ``minimum``, at the cost of the larger ones."""
    total = sum(counts)
    if not total:
        return [0.0] * len(counts)
    small = [bool(count) and count / total < minimum for count in counts]
    rest = sum(count for count, is_small in zip(counts, small) if not is_small)
    left = 1 - minimum * sum(small)
    return [minimum if is_small else left * count / rest if count else 0.0 for count, is_small in zip(counts, small)]


def donut(slices: t.Sequence[Slice], *, title: str, caption: str) -> str:
    """A ring of findings by severity with the sum in the middle; a grey ring when there are none."""
    size, radius, width = 200.0, 78.0, 36.0
    middle = size / 2
    total = sum(count for _severity, _label, count in slices)
    ring = f'<circle cx="{_n(middle)}" cy="{_n(middle)}" r="{_n(radius)}" fill="none" stroke-width="{_n(width)}"'
    body = []
    present = [one for one in slices if one[2]]
    if not present:
        body.append(f'{ring} stroke="{EMPTY}" class="empty"/>')
    elif len(present) == 1:
        # An arc that ends where it starts draws nothing.
        severity, label, count = present[0]
        body.append(
            f'{ring} stroke="{COLOURS[severity]}" class="ring s-{severity}" data-s="{severity}">'
            f"<title>{escape(label)}: {count}</title></circle>"
        )
    else:
        angle = -math.pi / 2
        segments = []
        for (severity, label, count), share in zip(slices, shares([one[2] for one in slices], 0.012)):
            if not count:
                continue
            end = angle + share * 2 * math.pi
            segments.append(
                f'<path d="{_arc(middle, radius + width / 2, radius - width / 2, angle, end)}" fill="{COLOURS[severity]}" '
                f'stroke="#ffffff" stroke-width="1.5" class="seg s-{severity}" data-s="{severity}">'
                f"<title>{escape(label)}: {count}</title></path>"
            )
            angle = end
        body += reversed(segments)
    body.append(_text(middle, middle + 6, str(total), size=38, weight=700, fill=INK, css="t-ink", anchor="middle"))
    body.append(_text(middle, middle + 26, caption, size=12, fill=MUTED, css="t-muted", anchor="middle"))
    return _svg("donut", size, size, title, describe(slices), body)


def _arc(middle: float, outer: float, inner: float, start: float, end: float) -> str:
    def point(radius: float, angle: float) -> str:
        return f"{_n(middle + radius * math.cos(angle))} {_n(middle + radius * math.sin(angle))}"

    large = int(end - start > math.pi)
    return (
        f"M{point(outer, start)}A{_n(outer)} {_n(outer)} 0 {large} 1 {point(outer, end)}"
        f"L{point(inner, end)}A{_n(inner)} {_n(inner)} 0 {large} 0 {point(inner, start)}Z"
    )


def ticks(highest: int) -> list[int]:
    """Whole-number axis marks from 0 to at least ``highest``, four or five steps, from the series 1, 2, 2.5, 5."""
    step = next(
        step
        for power in range(12)
        for base in (1, 2, 2.5, 5)
        for step in [base * 10**power]
        if step == int(step) and step * 5 >= highest
    )
    return list(range(0, math.ceil(max(highest, 1) / step) * int(step) + 1, int(step)))


def stacked_bars(bars: t.Sequence[tuple[str, t.Sequence[Slice]]], *, title: str, empty: str) -> str:
    """One bar a platform, stacked by severity, the sum at its end; ``empty`` is said when there is no bar at all."""
    width, row, thick, top = 680.0, 25.0, 21.0, 4.0
    if not bars:
        return _svg("bars", width, 40, title, empty, [_text(0, 24, empty, size=12, fill=MUTED, css="t-muted")])
    names = [name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1].rstrip() + "…" for name, _slices in bars]
    left = min(max(len(name) for name in names) * CHARACTER + 10, 200.0)
    marks = ticks(max(sum(one[2] for one in slices) for _name, slices in bars))
    scale = (width - left - 36) / marks[-1]
    bottom = top + row * len(bars)
    body = []
    for mark in marks:
        x = left + mark * scale
        body.append(f'<path d="M{_n(x)} 0V{_n(bottom)}" stroke="{GRID}" stroke-width="1" class="grid"/>')
        body.append(_text(x, bottom + 14, str(mark), size=10, fill=MUTED, css="t-muted", anchor="middle"))
    for number, (name, (full_name, slices)) in enumerate(zip(names, bars)):
        y = top + row * number
        total = sum(one[2] for one in slices)
        body.append(f"<g><title>{escape(full_name)}: {escape(describe(slices))}</title>")
        body.append(_text(left - 9, y + 14.5, name, size=12, fill=INK, css="t-ink", anchor="end"))
        x = left
        segments = []
        lengths = [share * total * scale for share in shares([one[2] for one in slices], _minimum(total * scale))]
        for (severity, label, count), length in zip(slices, lengths):
            if not count:
                continue
            segments.append(
                f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(length)}" height="{_n(thick)}" fill="{COLOURS[severity]}" '
                f'stroke="#ffffff" stroke-width="1" class="seg s-{severity}" data-s="{severity}">'
                f"<title>{escape(label)}: {count}</title></rect>"
            )
            if length > 20:
                segments[-1] += _text(
                    x + length / 2, y + 14, str(count), size=10.5, weight=600, fill=ON, css="t-on", anchor="middle"
                )
            x += length
        # The worst comes last, so that its outline lies on top: on a dark page only that outline shows it.
        body += reversed(segments)
        body.append(_text(x + 6, y + 14.5, str(total), size=12, weight=700, fill=INK, css="t-ink"))
        body.append("</g>")
    description = "; ".join(f"{name}: {describe(slices)}" for name, slices in bars)
    return _svg("bars", width, bottom + 22, title, description, body)


def _minimum(length: float) -> float:
    """The share that three units are of a bar, so that one in thousands stays visible; at most a fifth, for tiny bars."""
    return min(3 / length, 0.2) if length else 0.0
