# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import InputError
from ansible_collections.netcure.soc.plugins.module_utils._report.csvio import FINDINGS, MAPPING, Limits, read_sheet


def read(tmp_path, content, layout=FINDINGS, columns=None, limits=None):
    path = tmp_path / "export.csv"
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return read_sheet(str(path), layout, columns, limits)


def refused(tmp_path, content, *words, **more):
    with pytest.raises(InputError) as caught:
        read(tmp_path, content, **more)
    for word in words:
        assert word in caught.value.message, caught.value.message
    return caught.value


TEXT = "Scan object;Issue;Risk;Description\nweb;Café – €;high;Line\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_give_the_same_text(tmp_path, encoding):
    sheet = read(tmp_path, TEXT.encode(encoding))
    assert [row["issue_title"] for row in sheet.rows] == ["Café – €"]
    assert sheet.rows[0].line == 2


def test_utf_16_big_endian(tmp_path):
    assert read(tmp_path, b"\xfe\xff" + TEXT.encode("utf-16-be")).rows[0]["issue_title"] == "Café – €"


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_delimiter_is_the_one_that_gives_known_columns(tmp_path, delimiter):
    header = delimiter.join(["scan_object", "ISSUE", "risk level", "Notes; with, some|signs\tin it"])
    sheet = read(tmp_path, f"{header}\n" + delimiter.join(["a", "b", "low", "c"]))
    assert sheet.rows[0].cells == {"scan_object": "a", "issue_title": "b", "risk": "low"}


@pytest.mark.parametrize(
    "header",
    [
        "Scan object,Issue,Risk",
        "SCANOBJECT,title,Severity",
        "asset,Name,Risk level",
        "Doel,Vulnerability,risk",
        "scan_object,issue_title,RISK",
    ],
)
def test_aliases_ignore_case_space_and_underscore(tmp_path, header):
    assert read(tmp_path, f"{header}\nweb,XSS,high\n").rows[0].cells == {
        "scan_object": "web",
        "issue_title": "XSS",
        "risk": "high",
    }


def test_bracketed_headers_are_the_aliases_of_the_contract(tmp_path):
    sheet = read(tmp_path, "Host,Name,Risk,CVSS(score),CVE(s),Société\nweb,XSS,high,7.1,CVE-2026-1,Acme\n")
    assert (sheet.rows[0]["cvss"], sheet.rows[0]["cve"], sheet.rows[0]["company"]) == ("7.1", "CVE-2026-1", "Acme")


def test_blank_lines_and_the_line_of_excel_do_not_count(tmp_path):
    sheet = read(tmp_path, "sep=;\n\nHost;Name;Risk\n;;\n\nweb;XSS;high\n")
    assert [(row.line, row["scan_object"]) for row in sheet.rows] == [(6, "web")]


def test_header_alone_is_an_empty_scan(tmp_path):
    assert read(tmp_path, "Host,Name,Risk").rows == ()


@pytest.mark.parametrize("content", ["", "\ufeff", " \n\n"])
def test_a_file_without_a_header_is_an_error(tmp_path, content):
    refused(tmp_path, content, "export.csv")


def test_zero_bytes_says_that_it_is_empty(tmp_path):
    refused(tmp_path, b"", "is empty", "Export it again")


def test_missing_column_names_the_aliases_and_what_is_there(tmp_path):
    error = refused(
        tmp_path,
        "Host,Name,Level\nweb,XSS,high\n",
        "export.csv:1",
        "no column risk",
        "Severity",
        "Level",
        "columns.findings.risk",
    )
    assert error.details["column"] == "risk"


def test_two_columns_for_one_name_are_an_error_until_one_is_chosen(tmp_path):
    content = "Host,Name,Risk,Severity\nweb,XSS,high,low\n"
    refused(tmp_path, content, "export.csv:1", "'Risk' and 'Severity'", "columns.findings.risk")
    assert read(tmp_path, content, columns={"risk": "severity"}).rows[0]["risk"] == "low"


def test_the_same_header_twice_is_an_error(tmp_path):
    refused(tmp_path, "Host,Host,Name,Risk\na,b,c,low\n", "'Host' and 'Host'")


def test_a_named_column_must_be_there_even_when_optional(tmp_path):
    refused(
        tmp_path,
        "Host,Name,Risk,Output\na,b,low,x\n",
        "technical_data",
        "Plugin Output",
        columns={"technical_data": "Plugin Output"},
    )


def test_an_unknown_canonical_name_is_an_error(tmp_path):
    refused(tmp_path, "Host,Platform\na,b\n", "columns.mapping", "colour", layout=MAPPING, columns={"colour": "x"})


def test_too_many_cells_names_the_line_also_after_a_field_of_several_lines(tmp_path):
    error = refused(
        tmp_path, 'Host,Name,Risk\nweb,"one\ntwo",high\nweb,XSS,high,extra\n', "export.csv:4", "4 cells", "header has 3"
    )
    assert error.details["line"] == 4


def test_missing_cells_are_empty(tmp_path):
    assert read(tmp_path, "Host,Name,Risk,Port\nweb,XSS,high\n").rows[0]["port"] == ""


def test_unclosed_quote_names_the_line_on_which_it_opens(tmp_path):
    refused(tmp_path, 'Host,Name,Risk\na,b,low\nweb,"never closed,high\nx,y,low\n', "export.csv:3", "never closed")


def test_text_after_a_closing_quote_is_an_error(tmp_path):
    refused(tmp_path, 'Host,Name,Risk\nweb,"a" b,high\n', "export.csv:2", "quotes")


def test_nul_is_an_error(tmp_path):
    refused(tmp_path, "Host,Name,Risk\na,b,low\nweb,X\0SS,high\n", "export.csv:3", "NUL")


def test_utf_16_without_mark_is_told_as_such(tmp_path):
    refused(tmp_path, TEXT.replace("€", "e").replace("–", "-").replace("é", "e").encode("utf-16-le"), "UTF-16")


def test_bytes_in_no_encoding_are_an_error(tmp_path):
    refused(tmp_path, b"Host,Name,Risk\n\x81\xff,b,low\n", "Windows-1252")


def test_a_field_larger_than_the_limit_of_the_csv_module_is_read(tmp_path):
    assert len(read(tmp_path, f"Host,Name,Risk,Output\na,b,low,{'x' * 2**20}\n").rows[0]["technical_data"]) == 2**20


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(max_field_chars=10), ("export.csv:2", "max_field_chars")),
        (Limits(max_rows=1), ("export.csv:3", "max_rows")),
        (Limits(max_bytes=20), ("max_bytes",)),
    ],
)
def test_limits_are_told(tmp_path, limits, words):
    refused(tmp_path, "Host,Name,Risk\na,a long field,low\nb,c,low\n", *words, limits=limits)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_sheet(str(tmp_path / "none.csv"), FINDINGS)


def test_invisible_characters_become_visible(tmp_path):
    sheet = read(tmp_path, 'Host,Name,Risk\nweb,"a\x1b[31m\u202eb\tc\r\nd ",low\n')
    assert sheet.rows[0]["issue_title"] == "a\\x1b[31m\\u202eb\tc\nd"


def test_formulas_and_template_marks_stay_text(tmp_path):
    sheet = read(tmp_path, "Host,Name,Risk\nweb,\"=cmd|' /C calc'!A0 {{ 7*7 }}\",low\n")
    assert sheet.rows[0]["issue_title"] == "=cmd|' /C calc'!A0 {{ 7*7 }}"


def test_a_long_token_is_read_at_once(tmp_path):
    start = time.process_time()
    read(tmp_path, f"Host,Name,Risk\nweb,{'x' * 20_000},low\n")
    assert time.process_time() - start < 0.5
