# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._report import charts
from ansible_collections.netcure.soc.plugins.module_utils._report.html import contrast
from ansible_collections.netcure.soc.plugins.module_utils._report.text import clip, evidence_limit, paragraphs, soften

SVG = "{http://www.w3.org/2000/svg}"
SEVERITIES = ("critical", "high", "medium", "low", "info")


def slices(*counts):
    return list(zip(SEVERITIES, (name.title() for name in SEVERITIES), counts))


def donut(*counts):
    text = charts.donut(slices(*counts), title="By severity", caption="findings")
    return text, ElementTree.fromstring(text)


def bars(*rows):
    text = charts.stacked_bars([(name, slices(*counts)) for name, counts in rows], title="Platforms", empty="Nothing")
    return text, ElementTree.fromstring(text)


def segments(tree):
    return [one for one in tree.iter() if "seg" in (one.get("class") or "").split()]


def test_hand_wrapped_lines_are_joined_and_lists_are_not():
    wrapped = (
        "This plugin attempts to determine the type and the\n  version of the server.\n- one\n- two\n\nShort\nlines"
    )
    assert paragraphs(wrapped) == [
        ["This plugin attempts to determine the type and the version of the server.", "- one", "- two"],
        ["Short", "lines"],
    ]
    assert paragraphs("") == []


def test_long_tokens_get_break_opportunities_and_short_ones_do_not():
    assert soften("a" * 30) == "a" * 30
    assert soften(f"see {'b' * 45} end") == f"see {'b' * 20}\u200b{'b' * 20}\u200b{'b' * 5} end"


def test_clip_says_what_is_missing():
    assert clip("short", 10) == "short"
    assert clip("x" * 30, 10) == "xxxxxxxxxx … [10 of 30 characters]"
    assert clip("a\nb\nc\nd", 120) == "a\nb … [3 of 7 characters]"
    assert clip("a\nb", 120) == "a\nb"


def test_evidence_of_many_rows_is_bounded_together():
    assert evidence_limit(1, 4000, 40_000) == 4000
    assert evidence_limit(100, 4000, 40_000) == 400
    assert evidence_limit(10_000, 4000, 40_000) == 200


def test_no_findings_is_a_grey_ring():
    text, tree = donut(0, 0, 0, 0, 0)
    assert not segments(tree)
    assert 'class="empty"' in text
    assert ">0<" in text


def test_one_category_is_a_whole_ring():
    text, tree = donut(0, 3, 0, 0, 0)
    assert not segments(tree), "an arc of 360 degrees draws nothing"
    assert tree.find(f"{SVG}circle").get("data-s") == "high"
    assert "<title>High: 3</title>" in text


def test_one_in_two_thousand_is_visible():
    _text, tree = donut(1, 0, 0, 0, 2000)
    (path,) = [one for one in segments(tree) if one.get("data-s") == "critical"]
    x1, y1, x2, y2 = map(float, re.match(r"M([\d.]+) ([\d.]+)A\S+ \S+ 0 0 1 ([\d.]+) ([\d.]+)", path.get("d")).groups())
    assert math.hypot(x2 - x1, y2 - y1) > 4


def test_more_than_half_takes_the_long_way_round():
    _text, tree = donut(0, 0, 1, 0, 3)
    assert " 0 1 1 " in next(one.get("d") for one in segments(tree) if one.get("data-s") == "info")


def test_shares_add_up_and_keep_the_minimum():
    shares = charts.shares([1, 0, 1, 998], 0.02)
    assert sum(shares) == pytest.approx(1)
    assert (shares[0], shares[1]) == (0.02, 0)
    assert charts.shares([0, 0], 0.02) == [0, 0]


@pytest.mark.parametrize(
    ("highest", "marks"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (5, [0, 1, 2, 3, 4, 5]),
        (8, [0, 2, 4, 6, 8]),
        (49, [0, 10, 20, 30, 40, 50]),
        (101, [0, 25, 50, 75, 100, 125]),
    ],
)
def test_ticks_are_whole_and_reach_the_highest(highest, marks):
    assert charts.ticks(highest) == marks


def test_bars_end_at_their_sums_and_do_not_overlap():
    _text, tree = bars(("One", (1, 2, 3, 4, 5)), ("Two", (0, 0, 0, 0, 1)))
    by_row = {}
    for one in segments(tree):
        by_row.setdefault(one.get("y"), []).append((float(one.get("x")), float(one.get("width"))))
    lengths = [sum(width for _x, width in row) for row in by_row.values()]
    assert lengths[0] == pytest.approx(15 * lengths[1], abs=0.1)
    for row in by_row.values():
        row.sort()
        for (x, width), (after, _width) in zip(row, row[1:]):
            assert x + width == pytest.approx(after, abs=0.02)


def test_bars_stay_in_the_picture_and_long_names_are_cut():
    name = "A scanner platform with a very long name indeed"
    text, tree = bars((name, (500, 400, 300, 200, 100)))
    assert f"{name[:27]}…" in text
    assert f"<title>{name}: Critical 500" in text
    width = float(tree.get("width"))
    assert all(float(one.get("x")) + float(one.get("width")) < width - 30 for one in segments(tree))


def test_counts_stand_only_in_segments_that_have_room():
    _text, tree = bars(("One", (1, 0, 0, 0, 400)))
    assert [one.text for one in tree.iter(f"{SVG}text") if one.get("class") == "t-on"] == ["400"]


def test_no_platform_says_so():
    assert ">Nothing<" in bars()[0]


def test_a_platform_without_findings_has_no_segment():
    assert not segments(bars(("Quiet", (0, 0, 0, 0, 0)))[1])


def test_charts_are_named_escaped_and_have_two_decimals():
    text, tree = bars(("<b>&", (1, 2, 3, 0, 0)))
    assert "<b>" not in text
    assert tree.get("role") == "img"
    named = tree.get("aria-labelledby").split()
    assert {one.get("id") for one in tree.iter() if one.get("id")} == set(named)
    assert not re.search(r"\d\.\d{3}", text)
    assert "currentColor" not in text
    assert "var(" not in text
    assert "style=" not in text


def test_white_text_can_be_read_on_every_colour():
    assert all(contrast(colour, "#ffffff") >= 4.5 for colour in charts.COLOURS.values())
