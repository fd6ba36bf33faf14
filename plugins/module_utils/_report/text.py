# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Text of the export made fit for a page: paragraphs, break opportunities, and a limit on what one field may take."""

from __future__ import annotations

import re

# A token this long may not fit its column; every TOKEN_STEP characters it may then be broken. Without the break
# opportunities a token of 20 000 characters costs the PDF engine half a minute.
TOKEN_LENGTH, TOKEN_STEP = 30, 20
# Scanners wrap their prose by hand. A line shorter than this ended on purpose.
WRAPPED_LINE = 50
# Characters on a line of evidence, about.
LINE = 60
_BULLET = re.compile(r"\s*([-*•–+>#]|\d{1,3}[.)]|[a-z][.)])\s")
_LONG_TOKEN = re.compile(rf"\S{{{TOKEN_LENGTH + 1},}}")


def paragraphs(text: str) -> list[list[str]]:
    """``text`` as paragraphs of lines: blank lines part paragraphs, hand-wrapped lines are joined, lists are not."""
    result = []
    for block in re.split(r"\n\s*\n", text):
        lines: list[str] = []
        wrapped = False
        for line in block.splitlines():
            words = " ".join(line.split())
            if not words:
                continue
            if lines and wrapped and not _BULLET.match(line):
                lines[-1] += " " + words
            else:
                lines.append(words)
            wrapped = len(line) >= WRAPPED_LINE
        if lines:
            result.append(lines)
    return result


def soften(text: str) -> str:
    """``text`` with a zero-width space after every TOKEN_STEP characters of each token longer than TOKEN_LENGTH."""
    return _LONG_TOKEN.sub(
        lambda match: "\u200b".join(match[0][at : at + TOKEN_STEP] for at in range(0, len(match[0]), TOKEN_STEP)), text
    )


def clip(text: str, limit: int) -> str:
    """At most ``limit`` characters of ``text``, and a note of how much there is when that cuts something off.

    A line takes room however short it is: there are at most ``limit / LINE`` of them.
    """
    lines = text.split("\n", limit // LINE)
    kept = "\n".join(lines[: max(limit // LINE, 1)])[:limit]
    if len(kept) == len(text):
        return text
    return f"{kept.rstrip()} … [{len(kept)} of {len(text)} characters]"


def evidence_limit(rows: int, field: int, finding: int) -> int:
    """Characters that each of ``rows`` cells may take, when one may have ``field`` and all together ``finding``."""
    return max(200, min(field, finding // max(rows, 1)))
