# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages, the PDF, and the run as a whole."""

from __future__ import annotations

import base64
import hashlib
import html as entities
import http.server
import re
import stat
import sys
import threading
import time
from pathlib import Path

import pypdfium2
import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import ConfigError, LibraryMissing, Refused
from ansible_collections.netcure.soc.plugins.module_utils._report import assets, html, pdf
from ansible_collections.netcure.soc.tests.unit.report.helpers import (
    ASSETS,
    TEMPLATES,
    files,
    mapping_rows,
    report,
    row,
    run,
    some_rows,
)

HOSTILE = "{{ 7*7 }} {% raw %} {# no #} <script>alert(1)</script> <img src=http://127.0.0.1/x> \"'&amp;"


def screen(result, **look):
    return html.screen(result, html.Look(**look), ASSETS)


def printed(result, **look):
    return html.printed(result, html.Look(**look), ASSETS)


def finding_ids(page, element):
    return re.findall(rf'<{element}[^>]* id="(F-\d+)"', page)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    more = {
        "Description": HOSTILE,
        "Solution": HOSTILE,
        "Technical data": HOSTILE,
        "CVE": "<i>CVE-2026-1</i>",
        "Port": "<b>",
    }
    folder = tmp_path_factory.mktemp("hostile")
    return report(folder, [row("<u>host</u>", HOSTILE, **more)], [("a", HOSTILE, HOSTILE)])


@pytest.mark.parametrize("page", [screen, printed])
def test_text_of_the_export_is_never_markup_nor_template(hostile, page):
    text = page(hostile, title=HOSTILE, brand=HOSTILE, classification=HOSTILE)
    assert text.count("{{ 7*7 }}") >= 6
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "<u>host" not in text
    assert "<i>CVE" not in text
    shown = entities.unescape(re.sub(r"<[^>]*>", "", text.split("</style>")[1])).replace("\u200b", "")
    assert HOSTILE in shown


@pytest.mark.parametrize("page", [screen, printed])
def test_no_style_attribute_no_handler_no_address(hostile, tmp_path, page):
    text = page(report(tmp_path, some_rows(6)))
    assert not re.search(r"<[^>]*\s(style|on\w+)=", text)
    assert not re.search(r'(src|href)="(?!#)', text)


def test_the_policy_names_exactly_the_one_style_and_the_one_script(tmp_path):
    text = screen(report(tmp_path, some_rows(3)))
    policy = entities.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    for element, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_both_pages_have_the_same_findings_in_the_same_order_and_the_same_charts(tmp_path):
    result = report(tmp_path, some_rows(12))
    on_screen, on_paper = screen(result), printed(result)
    assert finding_ids(on_screen, "details") == finding_ids(on_paper, "h2") == [one.id for one in result.findings]
    charts = [re.findall(r"<svg.*?</svg>", page, re.DOTALL) for page in (on_screen, on_paper)]
    assert charts[0] == charts[1]
    assert len(charts[0]) == 2


def test_the_page_says_the_numbers_of_the_model(tmp_path):
    result = report(tmp_path, some_rows(12))
    for severity, count in result.counts.severity.items():
        assert screen(result).count(f'data-s="{severity}" data-p') == count
    numbers = re.sub(r"<[^>]*>|\s+", " ", screen(result))
    assert f"{result.counts.findings} unique findings · {result.counts.assets}" in re.sub(" +", " ", numbers)


def test_one_finding_and_none_are_said_in_words(tmp_path):
    one = re.sub(r"\s+", " ", screen(report(tmp_path, [row(risk="high")])))
    assert "1 of 1 finding is critical or high. Start with the action below." in one
    assert "1 affected asset of" in re.sub(r"<[^>]*>", "", one)
    none = screen(report(tmp_path, []))
    assert "The scan found no problems." in none
    assert 'id="tools"' not in none


def test_every_number_of_the_platform_list_leads_to_its_platform(tmp_path):
    text = screen(report(tmp_path, some_rows(12)))
    options = dict(re.findall(r'<option value="(\d+)">([^<]*)</option>', text))
    for card in re.findall(r"<details.*?</details>", text, re.DOTALL):
        numbers = re.search(r'data-p="([\d ]*)"', card)[1].split()
        assert {options[number] for number in numbers} == set(re.findall(r"Office|DMZ|Not in the mapping", card))


@pytest.mark.parametrize(("primary", "ink"), [("#0f2a43", "#ffffff"), ("#ffe000", "#10181f")])
def test_the_cover_can_be_read_in_any_colour(tmp_path, primary, ink):
    assert f"--on-primary:{ink}" in printed(report(tmp_path, []), primary=primary)


@pytest.mark.parametrize("colour", ["red", "#fff", "#12345g", "#123456;}*{", ""])
def test_colours_are_colours(colour):
    with pytest.raises(ConfigError, match="branding.primary"):
        html.check_colour("primary", colour)


def test_a_template_cannot_reach_into_python(tmp_path):
    bad = {**ASSETS, "screen.html.j2": b"{{ report.__class__.__mro__ }}"}
    with pytest.raises(ConfigError, match="screen.html.j2"):
        html.screen(report(tmp_path, []), html.Look(), bad)


def test_an_unknown_name_in_a_template_is_an_error(tmp_path):
    bad = {**ASSETS, "screen.html.j2": b"{{ reprot }}"}
    with pytest.raises(ConfigError, match="reprot"):
        html.screen(report(tmp_path, []), html.Look(), bad)


def test_paper_takes_a_bounded_part_of_a_finding_and_says_so(tmp_path):
    rows = [row(f"10.0.0.{host}", **{"Technical data": "x" * 9000}) for host in range(1, 7)]
    text = html.printed(report(tmp_path, rows), html.Look(), ASSETS, html.PrintLimits(rows=4, evidence_chars=6000))
    assert "4 of 6 occurrences are printed" in text
    assert text.count("[1000 of 9000 characters]") == 4
    assert screen(report(tmp_path, rows)).count("x" * 9000) == 6


# The PDF


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A PDF of a few findings, one of them with a table over several pages, opened for reading."""
    rows = some_rows(5)
    rows += [
        row(f"10.1.{number}.1", "Wide problem", "high", **{"Technical data": "TLSv1.0\nline two"})
        for number in range(120)
    ]
    result = report(tmp_path_factory.mktemp("pdf"), rows)
    page = printed(result)
    content, pages = pdf.make(page, ASSETS, 60)
    return result, page, content, pages, pypdfium2.PdfDocument(content)


def texts(document):
    return [re.sub(r"\s+", " ", page.get_textpage().get_text_range()) for page in document]


def test_contents_name_the_page_on_which_each_heading_is(made):
    result, _page, _content, _pages, document = made
    pages = texts(document)
    contents = next(text for text in pages if "Executive summary . . ." in text)
    body = pages[pages.index(contents) + 1 :]
    headings = [f"{one.id} · {one.title}" for one in result.findings]
    headings += ["Executive summary", "Scope and method"]
    for heading in headings:
        named = int(re.search(rf"{re.escape(heading)}[ .]*? (\d+)", contents)[1])
        detail = "CVSS|Assets" if heading.startswith("F-") else "."
        assert heading in pages[named - 1], heading
        assert named > len(pages) - len(body)
        if heading.startswith("F-"):
            assert re.search(rf"{re.escape(heading)} ({detail})", pages[named - 1])


def test_bookmarks_lead_to_the_same_pages(made):
    result, _page, _content, _pages, document = made
    pages = texts(document)
    titles = {}
    for mark in document.get_toc():
        titles[mark.get_title().replace("\u200b", "")] = mark.get_dest().get_index()
    for one in result.findings:
        assert f"{one.id} · {one.title}" in pages[titles[f"{one.id} · {one.title}"]]
    assert {"Executive summary", "Scanner platforms", "Findings", "Scope and method"} <= titles.keys()


def test_every_page_but_the_cover_has_its_number(made):
    _result, _page, _content, count, document = made
    pages = texts(document)
    assert len(pages) == count
    assert "Page" not in pages[0]
    for number, text in enumerate(pages[1:], 2):
        assert f"Page {number} of {count}" in text


def test_the_summary_is_one_page(made):
    *_rest, document = made
    assert sum("Fix first" in text for text in texts(document)) == 1
    following = texts(document)[next(i for i, text in enumerate(texts(document)) if "Fix first" in text) + 1]
    assert "Scanner platforms" in following


def test_a_broken_table_repeats_its_header(made):
    *_rest, document = made
    wide = [text for text in texts(document) if "line two" in text]
    assert len(wide) > 2
    assert all("Asset Evidence" in text for text in wide)


def test_the_pdf_is_tagged_named_and_holds_its_fonts(made):
    result, _page, content, _pages, document = made
    assert document.get_metadata_value("Title").startswith("Vulnerability report")
    assert b"/MarkInfo" in content or b"/StructTreeRoot" in content or document.is_tagged()
    assert document.get_metadata_value("CreationDate").startswith("D:20261120")


def test_the_same_page_gives_the_same_bytes(made):
    _result, page, content, _pages, _document = made
    assert pdf.make(page, ASSETS, 60)[0] == content


def test_a_page_full_of_addresses_reaches_neither_network_nor_files(tmp_path):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_args):
            pass

    secret = tmp_path / "secret.txt"
    secret.write_text("TOP-SECRET-CONTENT")
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    page = f"""<html lang=en><head><title>x</title><link rel=stylesheet href="{url}/a.css"><style>@import url({url}/b.css);
      @font-face {{ font-family: X; src: url({url}/f.woff) }} p {{ font-family: X; list-style-image: url({url}/l) }}
      p::before {{ content: url({url}/c) }}</style><link rel=attachment href="{secret.as_uri()}"></head>
      <body><p style="background: url({url}/g)">x</p><img src="{url}/i"><object data="{url}/o"></object><embed src="{url}/e">
      <svg><image href="{url}/s"/></svg><a rel=attachment href="{secret.as_uri()}">y</a><img src="{secret.as_uri()}">
      <iframe src="{url}/fr"></iframe><img src="relative.png"></body></html>"""
    try:
        content, _pages = pdf.make(page, ASSETS, 60)
    finally:
        server.shutdown()
        server.server_close()
    assert asked == []
    assert b"EmbeddedFile" not in content


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://example.org/",
        "file:///etc/passwd",
        "data:text/plain,x",
        "ftp://x/",
        "asset:../html.py",
        "/etc/passwd",
        "print.css",
    ],
)
def test_the_fetcher_knows_our_files_only(url):
    fetcher = pdf.AssetFetcher(ASSETS)
    with pytest.raises(ValueError, match="not part of the report"):
        fetcher(url)
    assert fetcher("asset:print.css").read() == ASSETS["print.css"]


def test_a_long_token_does_not_hold_up_the_pdf(tmp_path):
    token = "A1b2" * 5000
    page = printed(
        report(tmp_path, [row(token[:300], token, Description=token, Solution=token, **{"Technical data": token})])
    )
    start = time.process_time()
    pdf.make(page, ASSETS, 60)
    assert time.process_time() - start < 8


def test_time_is_limited(tmp_path):
    with pytest.raises(Refused, match="limits.pdf_seconds"):
        pdf.make(printed(report(tmp_path, some_rows(5))), ASSETS, 0.05)


# The run


def test_a_run_writes_once_and_then_changes_nothing(tmp_path):
    findings, mapping = files(tmp_path, some_rows(2))
    options = {"findings_csv": findings, "mapping_csv": mapping}
    foreseen = run(tmp_path, check_mode=True, **options)[0]
    assert not (tmp_path / "out").exists()
    first, warnings = run(tmp_path, **options)
    second = run(tmp_path, **options)[0]
    assert (foreseen["changed"], first["changed"], second["changed"]) == (True, True, False)
    assert foreseen["reports"] == first["reports"] == second["reports"]
    assert second["diff"]["before"] == second["diff"]["after"] == first["diff"]["after"]
    assert first["diff"]["before"] == ""
    assert "2 findings (" in first["diff"]["after"]
    assert first["pages"] > 4
    for one in first["reports"]:
        path = Path(one["path"])
        assert hashlib.sha256(path.read_bytes()).hexdigest() == one["sha256"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    options["formats"] = ["html"]
    assert run(tmp_path, check_mode=True, **options)[0]["changed"] is False
    Path(first["reports"][0]["path"]).write_text("spoilt")
    assert run(tmp_path, check_mode=True, **options)[0]["changed"] is True


def html_run(tmp_path, **options):
    findings, mapping = files(tmp_path, some_rows(3) + [row("elsewhere")])
    return run(tmp_path, findings_csv=findings, mapping_csv=mapping, formats=["html"], **options)


def test_html_alone_never_touches_the_pdf_engine(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, pdf.__name__, None)
    result = html_run(tmp_path)[0]
    assert ([one["format"] for one in result["reports"]], result["pages"]) == (["html"], None)


def test_unmapped_scan_objects_are_returned_and_warned_of(tmp_path):
    result, warnings = html_run(tmp_path)
    assert "elsewhere" in result["unmapped"]
    assert "not in" in warnings[0]


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (ImportError("No module named 'weasyprint'"), "weasyprint >= 70"),
        (OSError("cannot load library 'libpango'"), "libpango-1.0-0"),
    ],
)
def test_a_pdf_without_its_libraries_is_a_sentence(tmp_path, monkeypatch, trouble, words):
    monkeypatch.setattr(pdf, "TROUBLE", trouble)
    findings, mapping = files(tmp_path, [])
    with pytest.raises(LibraryMissing) as caught:
        run(tmp_path, findings_csv=findings, mapping_csv=mapping)
    assert words in caught.value.message
    assert "formats: [html]" in caught.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"name": "../x"},
        {"name": ".hidden"},
        {"scan_date": "20/11/2026"},
        {"branding": {"primary": "red"}},
        {"templates_dir": "/nowhere"},
        {"templates_dir": None},
    ],
)
def test_options_that_cannot_work(tmp_path, options):
    with pytest.raises(ConfigError):
        html_run(tmp_path, **options)


def test_the_name_follows_the_company_and_the_day_follows_the_clock(tmp_path):
    result = html_run(tmp_path, company="Acmé N.V.", scan_date=None)[0]
    path = Path(result["reports"][0]["path"])
    assert path.name == "vulnerability-report-acme-n-v.html"
    assert "21 November 2026" in path.read_text(encoding="utf-8")


def test_a_zip_of_the_templates_is_as_good_as_the_folder(tmp_path):
    from ansible_collections.netcure.soc.plugins.action.render_report import pack

    archive = tmp_path / "templates.zip"
    archive.write_bytes(pack(TEMPLATES))
    assert assets.load(str(archive)) == ASSETS
    assert pack(TEMPLATES) == archive.read_bytes()


def test_mapping_of_all_hosts_gives_nothing_unmapped(tmp_path):
    assert report(tmp_path, some_rows(4), mapping_rows(12)).unmapped == ()
