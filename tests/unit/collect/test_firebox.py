# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lines of a Firebox become."""

from __future__ import annotations

import json
import random
import time
import typing as t
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.firebox import ALERTS, FIELDS, FINDINGS, parse

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HEAD = "<142>Nov 20 10:15:05 FW-BRU 80B20002E5BCD (2026-11-20T09:15:05)"
# Others' samples are read where they are, and never copied into the project.
SAMPLES = Path(__file__).resolve().parents[4] / "shared/data/firewall/elastic"


def read(body: str, head: str = HEAD, zone: str = "Europe/Brussels", now: datetime = NOW) -> dict:
    record = parse(f"{head} {body}", zone, now)
    assert set(record) <= set(FIELDS)
    return record


def some(record: dict, *names: str) -> dict:
    return {name: record.get(name) for name in names}


class TestHeader:
    @pytest.mark.parametrize(
        ("head", "expected"),
        [
            (HEAD, ("FW-BRU", "80B20002E5BCD", None, 142)),
            ("<129>Nov  2 10:15:05 FW-BRU 80B20002E5BCD Member2 (2026-11-02T09:15:05)", ("FW-BRU", "80B20002E5BCD", "Member2", 129)),
            ("Nov 20 10:15:05 fw.acme.example", ("fw.acme.example", None, None, None)),
            ("Nov 20 10:15:05 FW-BRU FW2 (2026-11-20T09:15:05)", ("FW-BRU", None, "FW2", None)),
            ("Nov 20 10:15:05 FW-BRU HEADQUARTERS (2026-11-20T09:15:05)", ("FW-BRU", None, "HEADQUARTERS", None)),
            ("2026-11-20T10:15:05.123456+01:00 10.0.0.1 80B20002E5BCD FW-BRU", ("10.0.0.1", "80B20002E5BCD", "FW-BRU", None)),
            ("2026-11-20T09:15:05Z fe80::1 (2026-11-20T09:15:05)", ("fe80::1", None, None, None)),
        ],
    )  # fmt: skip
    def test_who_wrote_a_line(self, head: str, expected: tuple) -> None:
        record = read('firewall[10]: msg_id="3000-0027" Firewall is starting up', head)
        assert tuple(some(record, "host", "serial", "member", "priority").values()) == expected
        assert some(record, "program", "pid", "msg_id", "message") == {
            "program": "firewall",
            "pid": "10",
            "msg_id": "3000-0027",
            "message": "Firewall is starting up",
        }

    @pytest.mark.parametrize("line", ["", "hello", "<1>", HEAD, f"{HEAD} ", "Nov 20 10:15:05 loggerd: x", "Foo 20 10:15:05 h p: x",
                                      "Nov 31 10:15:05 h p: x", "Nov 20 25:15:05 h p: x", "Feb 30 10:15:05 h p: x",
                                      "2026-13-20T09:15:05Z h p: x"])  # fmt: skip
    def test_what_is_no_line_of_a_firebox_is_refused_with_a_reason(self, line: str) -> None:
        with pytest.raises(ValueError, match="not a line of a Firebox|is none|is not a time"):
            parse(line, "UTC", NOW)

    @pytest.mark.parametrize(
        ("stamp", "now", "expected"),
        [
            ("Nov 20 10:15:05", "2026-11-20T12:00:00", "2026-11-20T09:15:05"),
            ("Jul 20 10:15:05", "2026-11-20T12:00:00", "2026-07-20T08:15:05"),  # summer time
            ("Dec 31 23:59:59", "2027-01-01T00:00:10", "2026-12-31T22:59:59"),
            ("Nov 21 00:30:00", "2026-11-20T22:00:00", "2026-11-20T23:30:00"),  # a clock that is ahead
            ("Nov 30 10:00:00", "2026-11-20T12:00:00", "2025-11-30T09:00:00"),
            ("Feb 29 10:00:00", "2026-11-20T12:00:00", "2024-02-29T09:00:00"),
            ("Feb 29 10:00:00", "2103-11-20T12:00:00", "2096-02-29T09:00:00"),
            ("Oct 25 02:30:00", "2026-10-25T00:31:00", "2026-10-25T00:30:00"),  # the hour that occurs twice
            ("Oct 25 02:30:00", "2026-10-25T01:31:00", "2026-10-25T01:30:00"),
            ("Mar 29 03:00:00", "2026-03-29T01:05:00", "2026-03-29T01:00:00"),
            ("Jan  1 00:30:00", "2026-12-31T23:31:00", "2026-12-31T23:30:00"),
        ],
    )
    def test_a_time_without_a_year_is_the_nearest_one(self, stamp: str, now: str, expected: str) -> None:
        record = read("p: x", f"<142>{stamp} FW", now=datetime.fromisoformat(now).replace(tzinfo=UTC))
        assert record["time"] == expected + ".000Z"

    def test_the_time_in_parentheses_is_utc_and_wins(self) -> None:
        assert read("p: x", "<142>May 10 15:19:05 FW (2024-01-10T09:49:05)")["time"] == "2024-01-10T09:49:05.000Z"

    def test_the_type_of_log_is_that_of_the_facility(self) -> None:
        types = [read("p: something", f"<{facility * 8 + 6}>Nov 20 10:15:05 FW")["type"] for facility in range(15, 22)]
        assert types == ["event", "alarm", "event", "event", "diagnostic", "performance", "event"]


class TestTraffic:
    def test_a_packet_filter(self) -> None:
        record = read(
            'firewall: msg_id="3000-0148" Deny WAN - Backup Firebox 40 tcp 20 239 192.0.2.7 198.51.100.3 41277 591'
            ' offset 5 S 1497867397 win 4  geo_src="BGR"  geo_dst="ITA" flags="SR" sent_bytes="40" rcvd_bytes="0"'
            "  (Unhandled External Packet-00)"
        )
        assert some(record, "disposition", "action", "in_if", "out_if", "protocol", "src_ip", "src_port", "dst_ip") == {
            "disposition": "Deny",
            "action": "deny",
            "in_if": "WAN - Backup",
            "out_if": "Firebox",
            "protocol": "tcp",
            "src_ip": "192.0.2.7",
            "src_port": 41277,
            "dst_ip": "198.51.100.3",
        }
        assert some(record, "dst_port", "src_geo", "dst_geo", "sent_bytes", "received_bytes", "policy", "reason") == {
            "dst_port": 591,
            "src_geo": "BGR",
            "dst_geo": "ITA",
            "sent_bytes": 40,
            "received_bytes": 0,
            "policy": "Unhandled External Packet-00",
            "reason": None,
        }
        assert some(record, "type", "kind", "category", "outcome", "level") == {
            "type": "traffic",
            "kind": "event",
            "category": ["network"],
            "outcome": ["connection", "denied"],
            "level": None,
        }
        assert 'flags="SR"' in record["message"] and "Unhandled" not in record["message"]

    @pytest.mark.parametrize(
        ("interfaces", "names"),
        [
            ("1-Trusted 0-External", ("1-Trusted", "0-External")),
            ("Firebox Guest WLAN", ("Firebox", "Guest WLAN")),
            ("Guest WLAN 0-External", ("Guest WLAN", "0-External")),
            ("Collector WAN - Fibre", ("Collector", "WAN - Fibre")),
            ("WAN - A WAN - B", ("WAN - A", "WAN - B")),
            ("Guest WLAN Guest WLAN", ("Guest WLAN", "Guest WLAN")),
            ("Guest WLAN Head Office", (None, None)),  # nobody can tell where one ends
            ("VLAN 10 VLAN 20", (None, None)),
        ],
    )
    def test_interfaces_with_spaces(self, interfaces: str, names: tuple) -> None:
        for flow in ("52 tcp 20 127", "tcp"):
            record = read(f'f: msg_id="3000-0148" Allow {interfaces} {flow} 10.0.0.1 10.0.0.2 1 2 (X-00)')
            assert (record.get("in_if"), record.get("out_if")) == names
            assert some(record, "protocol", "src_ip", "dst_port") == {
                "protocol": "tcp",
                "src_ip": "10.0.0.1",
                "dst_port": 2,
            }

    def test_icmp_has_a_type_and_a_code(self) -> None:
        record = read('f: msg_id="3000-0148" Allow A B 84 icmp 20 63 10.0.0.1 192.0.2.1 8 0 (Ping-00)')
        assert some(record, "icmp_type", "icmp_code", "src_port", "dst_port") == {
            "icmp_type": 8,
            "icmp_code": 0,
            "src_port": None,
            "dst_port": None,
        }

    def test_ipv6_and_protocols_without_a_name(self) -> None:
        record = read('f: msg_id="3000-0148" Allow A B 80 tcp 40 63 2001:db8::1 ::1 55555 443 (HTTPS (old)-00)')
        assert some(record, "src_ip", "dst_ip", "policy") == {
            "src_ip": "2001:db8::1",
            "dst_ip": "::1",
            "policy": "HTTPS (old)-00",
        }
        record = read('f: msg_id="3000-0148" Deny A B 60 47 20 64 10.0.0.1 10.0.0.2 (GRE-00)')
        assert some(record, "protocol", "src_ip", "src_port") == {
            "protocol": "47",
            "src_ip": "10.0.0.1",
            "src_port": None,
        }

    def test_a_proxy(self) -> None:
        record = read(
            'http-proxy[9]: msg_id="1AFF-0024" Allow A B tcp 10.0.0.1 192.0.2.2 64425 80 msg="HTTP request"'
            r' proxy_act="HTTP-Client.1" rule_name="Default" op="GET" dstname="www.example.org" arg="/a\"b?x=1"'
            r' sent_bytes="339" rcvd_bytes="2" src_user="acme\els" app_name="Web" new_one="?" (HTTP-proxy-00)'
        )
        wanted = ("reason", "proxy_action", "rule", "method", "domain", "path", "sent_bytes", "user", "application")
        assert some(record, *wanted) == {
            "reason": "HTTP request",
            "proxy_action": "HTTP-Client.1",
            "rule": "Default",
            "method": "GET",
            "domain": "www.example.org",
            "path": '/a"b?x=1',
            "sent_bytes": 339,
            "user": r"acme\els",
            "application": "Web",
        }
        assert 'new_one="?"' in record["message"] and record["host"] == "FW-BRU"

    def test_parentheses_that_are_no_policy(self) -> None:
        for end in ("dropped(2)", "dropped 2)", "(2) dropped"):
            record = read(f'f: msg_id="3000-0148" Deny A B 60 tcp 20 64 10.0.0.1 10.0.0.2 1 2 {end}')
            assert some(record, "policy", "reason", "dst_port") == {"policy": None, "reason": end, "dst_port": 2}

    def test_a_reason_without_a_name(self) -> None:
        record = read(
            'f: msg_id="3000-0173" Deny A Firebox 52 tcp 20 127 192.0.2.1 10.0.0.1 1 2 offset 8 S 83 win 81 blocked sites (P)'
        )
        assert some(record, "reason", "level") == {"reason": "blocked sites", "level": 3}

    def test_of_two_pairs_that_contradict_each_other_none_is_believed(self) -> None:
        body = 'Deny A B tcp 10.0.0.1 10.0.0.2 1 2 arg="/" src_user="boss" src_user="els" op="GET" op="GET" (P-00)'
        assert some(read(f"p: {body}"), "user", "method", "path") == {"user": None, "method": "GET", "path": "/"}

    def test_broken_quotes_spoil_only_their_own_pair(self) -> None:
        body = 'Allow A B tcp 10.0.0.1 10.0.0.2 1 2 md5="abc"APT detected" user="els" virus="open (P-00)'
        assert some(read(f"p: {body}"), "md5", "user", "virus", "policy") == {
            "md5": "abc",
            "user": "els",
            "virus": None,
            "policy": "P-00",
        }

    def test_numbers_that_are_none_are_left_out(self) -> None:
        record = read(f'p: Allow A B tcp 10.0.0.1 10.0.0.2 {"9" * 30} 2 sent_bytes="many" (P-00)')
        assert some(record, "src_port", "dst_port", "sent_bytes") == {
            "src_port": None,
            "dst_port": 2,
            "sent_bytes": None,
        }


class TestAlerts:
    @pytest.mark.parametrize(
        ("body", "level", "category"),
        [
            ('msg_id="3000-0150" Deny A B 9 tcp 20 61 10.0.0.1 10.0.0.2 1 2 signature_id="11" (P-00)', 2, "intrusion_detection"),
            ('msg_id="3000-0150" Allow A B 9 tcp 20 61 10.0.0.1 10.0.0.2 1 2 signature_id="11" (P-00)', 1, "intrusion_detection"),
            ('msg_id="1AFF-0028" Deny A B tcp 10.0.0.1 10.0.0.2 1 80 virus="EICAR" (P-00)', 2, "malware"),
            ('msg_id="22FF-0008" Allow A B tcp 10.0.0.1 10.0.0.2 1 143 virus="EICAR" (P-00)', 1, "malware"),
            ('msg_id="21FF-001F" Deny A B tcp 10.0.0.1 10.0.0.2 1 110 threat_level="high" (P-00)', 2, "malware"),
            ('msg_id="0F01-0015" APT threat notified. Details=\'x\'', 1, "malware"),
            ('msg_id="3000-0153" SYN flood attack against 10.0.0.9 from 192.0.2.4 detected. (IPS)', 2, "intrusion_detection"),
            ('msg_id="020B-0001" BOVPN tunnel \'t\' under gateway \'g\' is down. (P)', 2, "network"),
            ('msg_id="3E00-0002" Management user admin from 10.0.0.2 logged in', 3, "authentication"),
            ('msg_id="3000-0148" Deny A B 9 tcp 20 61 10.0.0.1 10.0.0.2 1 2 (P-00)', None, "network"),
            ('msg_id="1100-0004" Authentication of firewall user [els@AD] from 10.0.0.2 was accepted', None, "authentication"),
            ('msg_id="3100-0009" [eth1 (Trusted)] Interface initializing', None, "host"),
        ],
    )  # fmt: skip
    def test_the_level_of_a_line(self, body: str, level: int | None, category: str) -> None:
        record = read(f"firewall: {body}")
        assert some(record, "level", "category", "kind") == {
            "level": level,
            "category": [category],
            "kind": "alert" if level else "event",
        }
        assert bool(record.get("alert")) == bool(level)

    def test_alarms_have_a_policy_and_are_alarms_whatever_their_facility(self) -> None:
        for msg_id in ("3000-0152", "3000-0170", "3000-0172", "020B-0001"):
            record = read(f'firewall: msg_id="{msg_id}" Something is wrong. (Blocked Ports)')
            assert some(record, "type", "kind", "policy", "message") == {
                "type": "alarm",
                "kind": "alert",
                "policy": "Blocked Ports",
                "message": "Something is wrong.",
            }

    def test_every_alert_has_a_level_a_category_and_a_reason(self) -> None:
        for alert in (*ALERTS.values(), *FINDINGS.values()):
            assert 1 <= alert.passed <= alert.level <= 3 and alert.why
            assert alert.category in ("intrusion_detection", "malware", "network", "authentication")

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ("Temporarily blocking host 192.0.2.9 (reason = autoblock by policy)", {"src_ip": "192.0.2.9", "reason": "autoblock by policy"}),
            ("Authentication of Firewall user [els@RADIUS] from 10.0.1.2 was rejected", {"user": "els@RADIUS", "src_ip": "10.0.1.2"}),
            ("WSM User els@Firebox-DB from 2001:db8::2 log in attempt was rejected", {"user": "els@Firebox-DB", "src_ip": "2001:db8::2"}),
            ("Details='Policy Name: HTTPS out-00 Reason: high APT threat detected Task_UUID: d0 Source IP: 10.0.1.2 Source Port: 43130 Destination IP:"
             " 192.0.2.1 Destination Port: 443 Proxy Type: x'",
             {"rule": "HTTPS out-00", "reason": "high APT threat detected", "src_ip": "10.0.1.2", "src_port": 43130, "dst_ip": "192.0.2.1", "dst_port": 443}),
            ("Management user els from 10.0.0.1 unlocked user [jan]", {"user": "els", "src_ip": "10.0.0.1"}),
            ("User els from 10.0.0.1.5 or attack from 10.0.0.256x", {"src_ip": None}),
            ("System upgrade to 12.10.3 failed (unknown error)", {"message": "System upgrade to 12.10.3 failed (unknown error)", "policy": None}),
        ],
    )  # fmt: skip
    def test_sentences_say_who_and_what(self, body: str, found: dict) -> None:
        assert some(read(f"p: {body}"), *found) == found


# Elastic's field for each of ours, and the ids of messages for which we say something else on purpose.
EXPECTED = {
    "time": ("watchguard_firebox.log.timestamp", set()),
    "host": ("observer.hostname", set()),
    "serial": ("observer.serial_number", set()),
    "priority": ("log.syslog.priority", set()),
    "program": ("log.syslog.appname", set()),
    "pid": ("log.syslog.procid", set()),
    "msg_id": ("watchguard_firebox.log.msg_id", set()),
    "type": ("watchguard_firebox.log.log_type", set()),
    "kind": ("event.kind", set()),
    "category": ("event.category", set()),
    "message": ("message", set()),
    "policy": ("watchguard_firebox.log.policy_name", set()),
    "rule": ("watchguard_firebox.log.pcy_name", set()),
    "src_ip": ("source.ip", set()),
    "src_port": ("source.port", set()),
    "dst_ip": ("destination.ip", set()),
    "dst_port": ("destination.port", {"3000-0172"}),  # theirs stays in a field of the vendor
    "count": ("watchguard_firebox.log.packets_count", set()),
    "tunnel": ("watchguard_firebox.log.tunnel_name", set()),
    "gateway": ("watchguard_firebox.log.gateway", set()),
}


def test_samples_of_another_parser_give_the_same_fields(capsys: pytest.CaptureFixture) -> None:
    path = SAMPLES / "watchguard_firebox.log.test-alarm.log"
    if not path.exists():
        pytest.skip("the samples of Elastic's integration are not on this machine")
    lines = path.read_text("utf-8").splitlines()
    theirs = json.loads(path.with_name(path.name + "-expected.json").read_text("utf-8"))["expected"]
    same = other = 0
    for line, document in zip(lines, theirs, strict=True):
        record = parse(line, "Asia/Kolkata", NOW)
        for name, (field, exceptions) in EXPECTED.items():
            value: t.Any = document
            for key in field.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            if record["msg_id"] in exceptions:
                other += 1
                continue
            assert record.get(name) == value, (name, line)
            same += 1
    with capsys.disabled():
        print(f"\n{len(lines)} lines: {same} values are equal, {other} differ on purpose")
    assert same > 400


@pytest.mark.parametrize(
    "name", ["fortinet_fortigate.log.test-fortinet.log", "m365_defender.incident.test-incident.log"]
)
def test_lines_of_other_products_are_refused(name: str) -> None:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip("the samples of Elastic's integrations are not on this machine")
    for line in path.read_text("utf-8").splitlines():
        with pytest.raises(ValueError, match="not a line of a Firebox"):
            parse(line, "UTC", NOW)


def test_nothing_but_a_value_error_comes_out() -> None:
    rng = random.Random(1)
    line = f'{HEAD} f[1]: msg_id="3000-0150" Deny A B 9 tcp 20 61 10.0.0.1 ::1 1 2 offset 5 A 4 win 5 user="x" a="\\" (P-00)'
    parts = [*line.split(" "), '"', "\\", "(", ")", "=", "::", "\x00", "\u0660", "\ud800", "9" * 20, "", " "]
    for _again in range(3000):
        words = rng.choices(parts, k=rng.randrange(1, 30)) if rng.random() < 0.5 else line.split(" ")
        text = " ".join(words)
        for _change in range(rng.randrange(3)):
            place = rng.randrange(len(text) + 1)
            text = text[:place] + rng.choice(parts) + text[place + rng.randrange(3) :]
        try:
            assert set(parse(text, "Europe/Brussels", NOW)) <= set(FIELDS)
        except ValueError:
            continue


@pytest.mark.parametrize(
    "evil", ["user [", "Reason: A ", "1 ", "[", "from ", "against :::", 'a="\\" ', "(", ")", "Allow 1 2 ", "tunnel '", "against ::1 from ", "x: "]
)  # fmt: skip
def test_a_hostile_line_takes_no_time(evil: str) -> None:
    began = time.process_time()
    for before in ("f: ", "f: Allow a b tcp 10.0.0.1 10.0.0.2 "):
        read(before + evil * (64 * 1024 // len(evil)))
    assert time.process_time() - began < 1
