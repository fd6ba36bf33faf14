# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of a document: the same as in the index mapping, of the types that ECS gives them, and kept to them."""

from __future__ import annotations

import ipaddress
import json
import math
import typing as t
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.ecs import FIELDS, KEYWORD_LENGTH, converter
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import parse_time
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.collect.real_records import fits

MAPPING = Path(__file__).resolve().parents[3] / "roles/elasticsearch/files/soc-ecs.json"
REFUSED = (TypeError, ValueError, OverflowError)  # what normalise() takes for a value that does not fit
QUICK = settings(max_examples=100, deadline=None, derandomize=True, database=None)

# The Elastic Common Schema, written down from its reference: every field of ours that it has.
ECS = {
    "date": "@timestamp event.end event.ingested event.start",
    "ip": "destination.ip host.ip source.ip",
    "long": "destination.bytes destination.port event.duration server.port source.bytes source.port",
    "float": "vulnerability.score.base",
    "match_only_text": "message",
    "wildcard": "url.original url.path",
    "keyword": """
        destination.geo.name event.action event.category event.code event.dataset event.id event.kind event.module
        event.original event.outcome event.reason event.type file.hash.md5 file.name host.id host.name
        http.request.method log.syslog.appname network.application network.protocol network.transport
        observer.egress.interface.name observer.ingress.interface.name observer.name observer.serial_number
        observer.version organization.id organization.name rule.category rule.description rule.id rule.name
        source.address source.geo.name url.domain user.name vulnerability.description vulnerability.id
        vulnerability.scanner.vendor vulnerability.severity
    """,
}
# Types of one family answer the same queries.
FAMILY = {"wildcard": "keyword", "match_only_text": "text"}
# A scanner's description can be longer than a term; ECS has it as text too, beside the keyword.
OTHER = {"vulnerability.description": "text"}

# One field of each type stands for all: the converter is chosen by the type alone.
FIELD_OF = {kind: target for target, kind in FIELDS.items()}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


def leaves(properties: dict, prefix: str = "") -> t.Iterator[tuple[str, str]]:
    """Every field of an index mapping with its type."""
    for name, entry in properties.items():
        if "properties" in entry:
            yield from leaves(entry["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name, entry["type"]


def test_the_fields_are_those_of_the_index_mapping() -> None:
    mappings = json.loads(MAPPING.read_text("utf-8"))["template"]["mappings"]
    assert dict(leaves(mappings["properties"])) == FIELDS
    assert mappings["dynamic"] is False


def test_types_are_those_of_ecs() -> None:
    """A field that is new needs a look at the reference of ECS, and a place in the table above."""
    known = {name: FAMILY.get(kind, kind) for kind, names in ECS.items() for name in names.split()}
    assert {name: kind for name, kind in FIELDS.items() if not name.startswith("soc.")} == known | OTHER


def test_an_unknown_field_has_no_converter() -> None:
    with pytest.raises(KeyError):
        converter("source.ipv4")


@pytest.mark.parametrize("kind", sorted(FIELD_OF))
def test_whatever_comes_fits_or_is_refused(kind: str) -> None:
    convert = converter(FIELD_OF[kind])

    @given(value=JSON)
    @QUICK
    def of_any(value: t.Any) -> None:
        try:
            converted = convert(value)
        except REFUSED as exc:
            assert str(exc)
        else:
            assert fits(FIELD_OF[kind], converted), converted

    of_any()


@given(st.ip_addresses())
@QUICK
def test_an_address_stays_itself(address: t.Any) -> None:
    convert = converter("source.ip")
    assert convert(str(address)) == str(address)
    assert ipaddress.ip_address(convert(address.exploded)) == address


@pytest.mark.parametrize(
    "value", ["", " 10.0.0.1", "10.0.0.1/8", "10.0.0", "1.2.3.4.5", "fe80::1%eth0", "host", 167772161, True, {}, None]
)
def test_what_is_no_address_is_refused(value: t.Any) -> None:
    with pytest.raises(REFUSED):
        converter("source.ip")(value)


@pytest.mark.parametrize(("target", "bits"), [("source.port", 63), ("soc.level", 31)])
def test_a_whole_number_within_its_bits(target: str, bits: int) -> None:
    convert = converter(target)

    @given(st.integers(-(2 ** (bits + 1)), 2 ** (bits + 1)))
    @QUICK
    def of_any(number: int) -> None:
        if -(2**bits) <= number < 2**bits:
            assert convert(number) == convert(str(number)) == number
        else:
            with pytest.raises(ValueError, match="too large"):
                convert(number)

    of_any()
    assert convert(2**bits - 1) == 2**bits - 1
    for value in (2**bits, True, 1.5, "1.5", "high", "", None, {}, math.inf, math.nan, "9" * 5000):
        with pytest.raises(REFUSED):
            convert(value)
    assert convert(443.0) == 443
    assert isinstance(convert(443.0), int)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@QUICK
def test_a_number_with_a_fraction(number: float) -> None:
    convert = converter("vulnerability.score.base")
    assert convert(number) == convert(str(number)) == number


@pytest.mark.parametrize("value", [math.nan, math.inf, "-Infinity", "nan", True, "9,8", "", None, {}, 10**400])
def test_what_is_no_finite_number_is_refused(value: t.Any) -> None:
    with pytest.raises(REFUSED):
        converter("vulnerability.score.base")(value)


@given(st.text())
@QUICK
def test_text_stays_itself(text: str) -> None:
    assert converter("rule.name")(text) == converter("message")(text) == text


def test_a_keyword_is_any_single_value_of_limited_length() -> None:
    convert = converter("rule.id")
    assert [convert(value) for value in (2024217, 1.5, True, False, "x")] == ["2024217", "1.5", "true", "false", "x"]
    assert convert("\u20ac" * KEYWORD_LENGTH) == "\u20ac" * KEYWORD_LENGTH
    for value in ("x" * (KEYWORD_LENGTH + 1), {}, ["a"], None):
        with pytest.raises(REFUSED):
            convert(value)
    assert converter("message")("x" * 100_000) == "x" * 100_000
    with pytest.raises(REFUSED):
        converter("message")(7)


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),
    st.builds(
        timezone, st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(lambda d: d - d % timedelta(minutes=1))
    ),
)
@QUICK
def test_an_instant_stays_itself(moment: datetime, offset: timezone) -> None:
    instant = moment.replace(tzinfo=offset)
    converted = converter("event.start")(instant.isoformat())
    assert fits("event.start", converted)
    assert timedelta(0) <= instant - parse_time(converted) < timedelta(milliseconds=1)


def test_a_time_without_an_offset_is_in_the_zone_of_the_set() -> None:
    assert converter("event.start", "Europe/Brussels")("2026-07-01 12:00:00") == "2026-07-01T10:00:00.000Z"
    assert converter("event.start", "Europe/Brussels")("2026-07-01T12:00:00Z") == "2026-07-01T12:00:00.000Z"
    assert converter("event.start")("2026-07-01 12:00:00") == "2026-07-01T12:00:00.000Z"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(microsecond=0)))
@QUICK
def test_an_epoch_in_seconds_or_milliseconds(moment: datetime) -> None:
    convert, seconds = converter("event.start"), int(moment.replace(tzinfo=UTC).timestamp())
    wanted = moment.isoformat(timespec="milliseconds") + "Z"
    assert convert(seconds) == convert(str(seconds)) == convert(seconds * 1000) == wanted


@pytest.mark.parametrize("value", ["", "soon", "05/25/2021 07:36:58", "2026-02-30", True, None, {}, [], math.nan])
def test_what_is_no_time_is_refused(value: t.Any) -> None:
    with pytest.raises(REFUSED):
        converter("event.start")(value)


def test_a_flag_is_true_for_words_that_mean_yes() -> None:
    convert = converter("soc.reviewed")
    assert all(convert(value) for value in (True, 1, "1", "true", "yes", "acknowledged"))
    assert not any(convert(value) for value in (False, 0, "0", "false", "no", "closed", "", 2, {}, [True]))
    assert converter("soc.reviewed", true_values=["closed"])("closed") is True
