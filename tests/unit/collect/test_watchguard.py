# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profile of WatchGuard: what lines and incidents become."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.firebox import FIELDS, parse
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import Company, Document, normalise
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import Source, load
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles.watchguard import PROFILE
from ansible_collections.netcure.soc.plugins.module_utils._core.ids import slug

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OBSERVED = "2026-11-20T12:00:00.000Z"
ACME = Company("c1", "Acme NV")
LINE = (
    "<142>Nov 20 10:15:05 FW-BRU 80B20002E5BCD (2026-11-20T09:15:05) http-proxy[9]: "
    'msg_id="1AFF-0028" Deny 1-Trusted 0-External tcp 10.0.1.8 192.0.2.2 57525 80 msg="ProxyDrop: HTTP Virus found"'
    ' virus="EICAR" host="bad.example" path="/x" src_user="els" (HTTP-proxy-00)'
)
INCIDENT = {
    "id": "i-1",
    "account_id": "WGC-1-1",
    "title": "Malware",
    "description": "Malware was blocked",
    "severity": 8,
    "status": "open",
    "created_at": "2026-11-20T09:15:05Z",
    "updated_at": "2026-11-20T09:20:00Z",
    "device": {"name": "FW-BRU", "serial": "80B20002E5BCD"},
    "source_ip": "10.0.1.8",
    "user": "els",
}


@pytest.fixture
def source() -> Source:
    return load(PROFILE)


def document(source: Source, name: str, record: dict) -> Document:
    return normalise(record, source, source.sets[name], OBSERVED, lambda _id, tenant: slug(tenant), ACME)


def of_line(source: Source, line: str = LINE, **fields: object) -> Document:
    return document(source, "firebox", {**parse(line, "UTC", NOW), "id": "ab12", "line": line, **fields})


def test_a_line_becomes_a_document(source: Source) -> None:
    found = of_line(source)
    assert (found.index, found.time, found.kind) == (
        "soc-watchguard.firebox-acme-nv",
        "2026-11-20T09:15:05.000Z",
        "event",
    )
    body = found.source
    assert body["event"]["original"] == LINE
    assert body["event"]["kind"] == "alert" and body["event"]["category"] == ["malware"]
    assert body["event"]["type"] == ["connection", "denied"]
    assert body["source"] == {"ip": "10.0.1.8", "port": 57525}
    assert body["destination"] == {"ip": "192.0.2.2", "port": 80}
    assert body["observer"]["serial_number"] == "80B20002E5BCD"
    assert body["rule"]["name"] == "EICAR" and body["soc"]["level"] == 2 and body["soc"]["policy"] == "HTTP-proxy-00"
    assert body["url"] == {"domain": "bad.example", "path": "/x"} and body["user"] == {"name": "els"}
    assert not found.rejected


def test_what_the_parser_finds_does_not_change_what_an_event_is(source: Source) -> None:
    # A better parser, or the other name of a rotated file, must not make another event of a line that is collected again.
    assert of_line(source).digest == of_line(source, rule="another", level=1, time="2025-01-01T00:00:00Z").digest
    assert of_line(source).digest != of_line(source, LINE.replace("els", "jan")).digest


def test_every_field_of_a_record_is_of_the_parser(source: Source) -> None:
    paths = {path[0] for field in source.sets["firebox"].fields for path in field.paths}
    assert paths <= set(FIELDS)


def test_an_address_that_is_none_costs_no_alarm(source: Source) -> None:
    found = of_line(source, LINE.replace("192.0.2.2", "999.0.2.2"))
    assert "ip" not in found.source["destination"] and found.source["soc"]["level"] == 2
    assert found.rejected and found.source["soc"]["rejected"] == ["destination.ip"]


@pytest.mark.parametrize(("status", "open_"), [("new", True), ("open", True), ("closed", False)])
def test_an_incident_is_open_until_it_is_closed(source: Source, status: str, open_: bool) -> None:
    found = document(source, "incidents", {**INCIDENT, "status": status})
    assert found.open is open_ and found.source["soc"]["reviewed"] is not open_
    assert found.index == "soc-watchguard.incident-acme-nv"
    assert found.source["observer"] == {"name": "FW-BRU", "serial_number": "80B20002E5BCD"}
    assert found.source["soc"]["severity"] == "8"


def test_incidents_are_assumed_and_lines_are_not(source: Source) -> None:
    assert [name for name, data_set in source.sets.items() if data_set.assumed] == ["incidents"]
