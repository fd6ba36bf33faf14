# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Fireboxes of the lab send to syslog, and the file in which a syslog server keeps it."""

from __future__ import annotations

import heapq
import random
import shutil
import typing as t
from datetime import datetime, timedelta
from pathlib import Path

from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time, parse_time
from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write

from lab.companies import COMPANIES, Company

if t.TYPE_CHECKING:
    from lab.world import World

MODE = 0o640
ROTATE = 64 * 1024  # bytes; a file that is larger is put aside before the next line is written
KEPT = 7  # files that were put aside
# Facility times eight plus severity: local1.info, local2.notice, local0.alert.
TRAFFIC, EVENT, ALARM = 142, 149, 129
OUTSIDE = ("192.0.2", "198.51.100", "203.0.113")
PORTS = ((443, "HTTPS"), (80, "HTTP"), (53, "DNS"), (25, "SMTP"), (3389, "RDP"), (22, "SSH"))


def line(rng: random.Random, company: Company, at: datetime, signature: str) -> str:
    """One line as it comes over the wire, without its end; ``signature`` names what the IPS finds."""
    make = rng.choices((_allow, _deny, _proxy, _ips, _flood, _login, _tunnel), (55, 25, 8, 4, 2, 4, 2))[0]
    priority, program, code, body = make(rng, company, signature)
    name, serial = company.firebox
    return (
        f"<{priority}>{at:%b} {at.day:>2} {at:%H:%M:%S} {name} {serial} ({at:%Y-%m-%dT%H:%M:%S})"
        f' {program}: msg_id="{code}" {body}'
    )


def _hosts(rng: random.Random, company: Company) -> tuple[str, str]:
    return f"{company.network}.{rng.randrange(10, 90)}", f"{rng.choice(OUTSIDE)}.{rng.randrange(1, 255)}"


def _flow(rng: random.Random, company: Company, inwards: bool) -> tuple[str, str]:
    """(addresses and ports of a connection with its TCP header, name of its policy)"""
    source, destination = _hosts(rng, company)[:: -1 if inwards else 1]
    port, policy = rng.choice(PORTS)
    tcp = f"offset {rng.choice((7, 8))} S {rng.randrange(2**32)} win {rng.choice((8192, 64240, 65535))}"
    return f"{source} {destination} {rng.randrange(1024, 65536)} {port} {tcp}", f"({policy}-00)"


def _allow(rng: random.Random, company: Company, _signature: str) -> tuple[int, str, str, str]:
    flow, policy = _flow(rng, company, inwards=False)
    body = f"Allow 1-Trusted 0-External {rng.randrange(40, 1500)} tcp 20 {rng.randrange(50, 128)} {flow} {policy}"
    return TRAFFIC, f"firewall[{rng.randrange(10, 99)}]", "3000-0148", body


def _deny(rng: random.Random, company: Company, _signature: str) -> tuple[int, str, str, str]:
    flow, _policy = _flow(rng, company, inwards=True)
    body = f"Deny 0-External Firebox {rng.randrange(40, 80)} tcp 20 {rng.randrange(30, 128)} {flow}"
    return TRAFFIC, "firewall", "3000-0148", f"{body} (Unhandled External Packet-00)"


def _proxy(rng: random.Random, company: Company, _signature: str) -> tuple[int, str, str, str]:
    inside, outside = _hosts(rng, company)
    body = f"Allow 1-Trusted 0-External tcp {inside} {outside} {rng.randrange(1024, 65536)} 443"
    body += ' msg="HTTPS request" proxy_act="HTTPS-Client.Standard" geo_dst="NLD"'
    body += f' src_user="{rng.choice(("jan", "els", "noor"))}@{company.domain}" sent_bytes="{rng.randrange(400, 9000)}"'
    return TRAFFIC, f"https-proxy[{rng.randrange(2000, 6000)}]", "2CFF-0000", f"{body} (HTTPS-proxy-00)"


def _ips(rng: random.Random, company: Company, signature: str) -> tuple[int, str, str, str]:
    flow, policy = _flow(rng, company, inwards=True)
    body = f"Deny 0-External 1-Trusted {rng.randrange(400, 1500)} tcp 20 {rng.randrange(30, 128)} {flow}"
    body += f' signature_name="{signature}" signature_cat="Web Attack" signature_id="{rng.randrange(1050000, 1140000)}"'
    return TRAFFIC, "firewall", "3000-0150", f'{body} severity="{rng.randrange(2, 6)}" msg="IPS detected" {policy}'


def _flood(rng: random.Random, company: Company, _signature: str) -> tuple[int, str, str, str]:
    inside, outside = _hosts(rng, company)
    count = rng.randrange(100, 9000)
    body = f"SYN flood attack against {inside} from {outside} detected. {count} SYN packets dropped since last alarm. (IPS)"
    return ALARM, "firewall", "3000-0153", body


def _login(rng: random.Random, company: Company, _signature: str) -> tuple[int, str, str, str]:
    _inside, outside = _hosts(rng, company)
    user = f"{rng.choice(('admin', 'status', 'backup'))}@Firebox-DB"
    if rng.random() < 0.5:
        return (
            EVENT,
            "sessiond[2231]",
            "3E00-0002",
            f"Management user {user} from {outside} logged in",
        )
    return EVENT, "admd[2148]", "1100-0005", f"Authentication of SSLVPN user [{user}] from {outside} was rejected"


def _tunnel(rng: random.Random, company: Company, _signature: str) -> tuple[int, str, str, str]:
    _inside, outside = _hosts(rng, company)
    body = f"BOVPN gateway 'branch.{rng.randrange(1, 4)}' to {outside} is down: no answer to keep-alive {rng.randrange(10**6)}"
    return EVENT, "iked[2560]", "020B-0001", body


class SyslogFile:
    """``firebox/firebox.log`` below a folder: the lines of all Fireboxes as rsyslog writes them (``%rawmsg%``).

    Like logrotate it puts a large file aside as ``firebox.log.1`` and begins another one.
    """

    def __init__(self, folder: Path, rotate: int = ROTATE) -> None:
        self.home, self.rotate = folder / "firebox", rotate
        self.path, self._until = self.home / "firebox.log", self.home / "until"

    def catch_up(self, world: World) -> int:
        """Write what was logged up to the world's present, and say how many lines that was."""
        self.home.mkdir(mode=0o750, parents=True, exist_ok=True)
        before_all = world.start - timedelta(milliseconds=1)
        since = parse_time(self._until.read_text("ascii")) if self._until.exists() else before_all
        owners = [company for company in COMPANIES if company.firewall]
        logs = [world.firebox_records(company, since, world.now) for company in owners]
        lines = [record.body["line"] for record in heapq.merge(*logs, key=lambda record: record.time)]
        if lines:
            if self.path.exists() and self.path.stat().st_size > self.rotate:
                self.put_aside()
            self.path.touch(MODE)
            with self.path.open("ab") as handle:
                handle.write("".join(f"{text}\n" for text in lines).encode())
        atomic_write(str(self._until), format_time(world.now).encode(), MODE)
        return len(lines)

    def put_aside(self) -> None:
        """Rotate: every file moves up by one, and the oldest one goes."""
        for number in range(KEPT, 0, -1):
            older = self.path.with_name(f"firebox.log.{number}")
            newer = self.path.with_name(f"firebox.log.{number - 1}") if number > 1 else self.path
            if newer.exists():
                newer.replace(older)

    def clear(self) -> None:
        """Begin anew: a world that was reset has another past."""
        shutil.rmtree(self.home, ignore_errors=True)
