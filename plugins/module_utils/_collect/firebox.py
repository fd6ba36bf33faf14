# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""One line of a WatchGuard Firebox's syslog as a record, and which lines are alerts. Pure.

The format is that of Fireware 12 with the log format "Syslog". What is not known here stays in the message: nothing is
guessed.
"""

from __future__ import annotations

import re
import typing as t
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from .._core.clock import format_time, parse_time


class Alert(t.NamedTuple):
    """What a message means for the SOC: its level (1 is the highest), the level where the firewall let it pass, why."""

    level: int
    passed: int
    category: str
    why: str


# By the message id of the Fireware log catalog.
ALERTS: dict[str, Alert] = {
    "0F01-0015": Alert(1, 1, "malware", "APT Blocker found an advanced threat after the file was delivered"),
    "1AFF-0028": Alert(2, 1, "malware", "Gateway AntiVirus found a virus"),
    "3000-0150": Alert(2, 1, "intrusion_detection", "The Intrusion Prevention Service recognised an attack"),
    "3000-0152": Alert(3, 3, "intrusion_detection", "Source route attack"),
    "3000-0153": Alert(2, 2, "intrusion_detection", "SYN flood"),
    "3000-0154": Alert(2, 2, "intrusion_detection", "ICMP flood"),
    "3000-0155": Alert(2, 2, "intrusion_detection", "UDP flood"),
    "3000-0156": Alert(2, 2, "intrusion_detection", "IPSec flood"),
    "3000-0157": Alert(2, 2, "intrusion_detection", "IKE flood"),
    "3000-0158": Alert(3, 3, "intrusion_detection", "Address scan"),
    "3000-0159": Alert(3, 3, "intrusion_detection", "Port scan"),
    "3000-0160": Alert(2, 2, "intrusion_detection", "Distributed denial of service against a server"),
    "3000-0161": Alert(2, 2, "intrusion_detection", "Distributed denial of service by a client"),
    "3000-0162": Alert(2, 2, "intrusion_detection", "SYN flood over IPv6"),
    "3000-0163": Alert(2, 2, "intrusion_detection", "ICMP flood over IPv6"),
    "3000-0164": Alert(2, 2, "intrusion_detection", "UDP flood over IPv6"),
    "3000-0165": Alert(2, 2, "intrusion_detection", "IPSec flood over IPv6"),
    "3000-0166": Alert(2, 2, "intrusion_detection", "IKE flood over IPv6"),
    "3000-0168": Alert(3, 3, "network", "Traffic with a blocked site"),
    "3000-0169": Alert(2, 2, "intrusion_detection", "Spoofed address"),
    "3000-0173": Alert(3, 3, "network", "Traffic that the firewall blocks by itself"),
    "3001-1001": Alert(3, 3, "network", "An address was put on the list of blocked sites"),
    "3E00-0002": Alert(3, 3, "authentication", "Somebody logged in to manage the firewall"),
    "1100-0005": Alert(3, 3, "authentication", "A log-in was refused"),
    "020B-0001": Alert(2, 2, "network", "A tunnel to a branch office is down"),
}
# The proxies have ids of their own for the same findings; these pairs tell what was found, whoever found it.
FINDINGS: dict[str, Alert] = {
    "virus": ALERTS["1AFF-0028"],
    "threat_level": Alert(2, 1, "malware", "APT Blocker found an advanced threat"),
    "signature_id": ALERTS["3000-0150"],
}
# Alarms, by the catalog, that wake nobody up: limits that are reached, and policies that notify.
FIRST_ALARM, LAST_ALARM = "3000-0152", "3000-0172"
# The facilities of the five types of log, as a Firebox has them when nobody changes them: local0 to local4.
TYPES = {16: "alarm", 17: "traffic", 18: "event", 19: "diagnostic", 20: "performance"}
# Areas of the log catalog, by the first half of the message id.
AREAS = {"1100": "authentication", "3E00": "authentication", "5000": "authentication", "0101": "configuration"}

# The record's fields, each with the pairs (key="value") that it comes from.
PAIRS: dict[str, tuple[str, ...]] = {
    "reason": ("msg",),
    "proxy_action": ("proxy_act",),
    "rule": ("rule_name",),
    "user": ("src_user", "user"),
    "src_geo": ("geo_src",),
    "dst_geo": ("geo_dst",),
    "sent_bytes": ("sent_bytes",),
    "received_bytes": ("rcvd_bytes",),
    "signature_id": ("signature_id",),
    "signature_name": ("signature_name",),
    "signature_category": ("signature_cat",),
    "severity": ("severity",),
    "virus": ("virus",),
    "threat_level": ("threat_level",),
    "md5": ("md5",),
    "file_name": ("filename", "file_name"),
    "domain": ("dstname", "sni", "host"),
    "path": ("arg", "path"),
    "method": ("op", "method"),
    "application": ("app_name",),
    "reputation": ("reputation",),
}
# Every field that a record may have, beside id and line.
FIELDS = (
    *(
        "time",
        "host",
        "serial",
        "member",
        "program",
        "pid",
        "priority",
        "msg_id",
        "type",
        "kind",
        "category",
        "outcome",
    ),
    *(
        "message",
        "disposition",
        "action",
        "in_if",
        "out_if",
        "protocol",
        "src_ip",
        "src_port",
        "dst_ip",
        "dst_port",
        "icmp_type",
    ),
    *("icmp_code", "policy", "level", "alert", "count", "tunnel", "gateway", *PAIRS),
)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# How far ahead a firewall's clock may be.
AHEAD = timedelta(days=1)

ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"
HEADER = re.compile(
    r"(?:<(?P<priority>\d{1,3})>)?"
    rf"(?P<stamp>[A-Z][a-z][a-z] +\d{{1,2}} \d\d:\d\d:\d\d|{ISO}) +(?P<host>\S+)"
    r"(?: (?P<serial>(?=[A-Z]*\d)[0-9A-Z]{8,20}))?(?: (?P<member>[^\s():\[\]]+))?"
    rf"(?: \((?P<utc>{ISO})\))?"
    r" (?P<program>[^\s():\[\]]+)(?:\[(?P<pid>\d+)\])?: ?(?P<body>.*)",
    re.DOTALL,
)
MESSAGE_ID = re.compile(r'msg_id="([0-9A-F]{4}-[0-9A-F]{4})" ?')
ADDRESS = r"(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{0,41})"
END = r"(?![\w:]|\.\d)"
LABEL = r"(?= [A-Z]\w{0,30}(?: [A-Z]\w{0,30}){0,2}:|$)"
# disposition in_if out_if [length] protocol [header_length ttl] source destination [port port | type code] rest
TRAFFIC = re.compile(
    r"(?P<disposition>[A-Z][a-z]+) (?P<interfaces>\S.*?) (?:\d+ )?(?P<protocol>[a-zA-Z][\w-]*|\d{1,3}) (?:\d+ \d+ )?"
    rf"(?P<src_ip>{ADDRESS}) (?P<dst_ip>{ADDRESS})(?: (?P<one>\d+) (?P<two>\d+))?(?P<rest>(?: .*)?)",
    re.DOTALL,
)
PAIR = re.compile(r'(?<!\S)([A-Za-z][\w.-]*)="((?:[^"\\]|\\.)*)"', re.DOTALL)
TCP = re.compile(r"\s*offset \d+ \S+ \d+ win \d+")
# Names that an interface has where nobody gave it another.
PLAIN_NAME = re.compile(r"\d+-\S+|Firebox|External|Trusted|Optional(?:-\d+)?|tunnel\.\d+|ppp\d+")

# Where messages in plain English say who and what. Repetitions have bounds: a stranger may have written the text.
PHRASES = tuple(
    re.compile(text)
    for text in (
        rf"\bagainst (?:server )?(?P<dst_ip>{ADDRESS}){END}",
        rf"\b(?:[Uu]ser \S{{1,200}}|attack|against {ADDRESS}) from (?P<src_ip>{ADDRESS}){END}",
        rf"\] from (?P<src_ip>{ADDRESS}){END}",
        rf"\bfrom client (?P<src_ip>{ADDRESS}){END}",
        rf"\bTraffic detected from (?P<src_ip>{ADDRESS}) to (?P<dst_ip>{ADDRESS}){END}(?: on port (?P<dst_port>\d{{1,5}}))?",
        rf"\bSource IP(?: Address)?: (?P<src_ip>{ADDRESS})(?: Source Port: (?P<src_port>\d{{1,5}}))?{END}",
        rf"\bDestination IP(?: Address)?: (?P<dst_ip>{ADDRESS})(?: Destination Port: (?P<dst_port>\d{{1,5}}))?{END}",
        rf"^Temporarily blocking host (?P<src_ip>{ADDRESS}) \(reason = (?P<reason>[^()]*)\)",
        rf"\bReason: (?P<reason>.{{1,200}}?){LABEL}",
        rf"\bPolicy Name: (?P<rule>.{{1,200}}?){LABEL}",
        r"\b(?P<count>\d{1,18}) [\w ]{0,30}packets dropped since last alarm",
        r"^(?:Management|WSM) [Uu]ser (?P<user>\S+) from ",
        r"\b[Uu]ser \[(?P<user>[^\]]{1,200})\]",
        r"\btunnel '(?P<tunnel>[^']{1,200})'",
        r"\bgateway '(?P<gateway>[^']{1,200})'",
    )
)
NUMBERS = ("priority", "src_port", "dst_port", "icmp_type", "icmp_code", "count", "sent_bytes", "received_bytes")


def parse(line: str, zone: str, now: datetime) -> dict:
    """The record that ``line`` holds: a flat dictionary of those FIELDS that it has.

    A time without year and zone is in ``zone``, in the year that brings it nearest to ``now``. ``level`` is there where
    the line is an alert. Raises ValueError with the reason for what is no line of a Firebox.
    """
    head = HEADER.fullmatch(line.strip())
    if not head:
        raise ValueError("it is not a line of a Firebox: its header cannot be read")
    found = {name: head[name] for name in ("host", "serial", "member", "program", "pid", "priority")}
    # The second time is UTC, and has a year.
    found["time"] = format_time(parse_time(head["utc"]) if head["utc"] else _header_time(head["stamp"], zone, now))
    body = head["body"]
    if known := MESSAGE_ID.match(body):
        found["msg_id"], body = known[1], body[known.end() :]
    body = body.strip()
    text, policy = _split_policy(body)
    traffic = TRAFFIC.fullmatch(text)
    found["type"] = _type(found, bool(traffic))
    if found["type"] in ("traffic", "alarm"):  # others may end in parentheses, too
        body, found["policy"] = text, policy
    found["message"] = body
    found |= _traffic(traffic) if traffic else _phrases(body)
    found |= _meaning(found)
    for name in NUMBERS:
        value = found.get(name)
        if value is not None:
            found[name] = int(value) if value.isdecimal() and len(value) < 19 else None
    return {name: value for name, value in found.items() if value not in (None, "")}


def _header_time(stamp: str, zone: str, now: datetime) -> datetime:
    if stamp[0].isdigit():
        return parse_time(stamp, zone)
    month, day, clock = stamp.split()
    hour, minute, second = map(int, clock.split(":"))
    if month not in MONTHS:
        raise ValueError(f"its time {stamp!r} is none")
    place, latest = ZoneInfo(zone), now + AHEAD
    candidates = []
    # Eight years hold a 29 February, even around 2100. An hour that occurs twice counts as both.
    for year in range(latest.year, latest.year - 9, -1):
        for fold in (0, 1):
            try:
                local = datetime(year, MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=place, fold=fold)
                candidates.append(local.astimezone(UTC))
            except (ValueError, OverflowError):
                continue
    past = [candidate for candidate in candidates if candidate <= latest]
    if not past:
        raise ValueError(f"its time {stamp!r} is none")
    return min(past, key=lambda candidate: abs(now - candidate))


def _split_policy(body: str) -> tuple[str, str | None]:
    """The body without the policy's name, which stands in parentheses at its end and may hold some itself."""
    if not body.endswith(")"):
        return body, None
    depth = 0
    for place in range(len(body) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(body[place], 0)
        if depth == 0:
            if place and not body[place - 1].isspace():
                break
            return body[:place].rstrip(), body[place + 1 : -1]
    return body, None


def _traffic(match: re.Match) -> dict:
    found: dict = {name: match[name] for name in ("disposition", "protocol", "src_ip", "dst_ip")}
    found["protocol"] = found["protocol"].lower()
    found["action"] = found["disposition"].lower()
    found["in_if"], found["out_if"] = _interfaces(match["interfaces"].split())
    one, two = ("icmp_type", "icmp_code") if "icmp" in found["protocol"] else ("src_port", "dst_port")
    found[one], found[two] = match["one"], match["two"]
    rest = match["rest"]
    pairs: dict[str, str | None] = {}
    for key, value in PAIR.findall(rest):
        # The words of a stranger may look like a pair. Of two that contradict each other none is believed.
        pairs[key] = value.replace('\\"', '"') if pairs.get(key, value) == value else None
    for name, keys in PAIRS.items():
        found[name] = next((pairs[key] for key in keys if pairs.get(key)), None)
    if not found["reason"]:
        found["reason"] = " ".join(TCP.sub("", PAIR.sub("", rest), count=1).split())
    return found


def _interfaces(words: list[str]) -> tuple[str | None, str | None]:
    """The two names, which may hold spaces: known where only one reading makes sense."""
    names: list[str] = []
    for word in words:
        if names and (word == "-" or names[-1].endswith(" -")):
            names[-1] += f" {word}"  # "WAN - Backup"
        else:
            names.append(word)
    half = len(names) // 2
    if len(names) > 2 and PLAIN_NAME.fullmatch(names[0]):
        names = [names[0], " ".join(names[1:])]
    elif len(names) > 2 and PLAIN_NAME.fullmatch(names[-1]):
        names = [" ".join(names[:-1]), names[-1]]
    elif names[:half] == names[half:]:
        names = [" ".join(names[:half]), " ".join(names[half:])]
    return (names[0], names[1]) if len(names) == 2 else (None, None)


def _phrases(body: str) -> dict:
    found: dict = {}
    for phrase in PHRASES:
        if match := phrase.search(body):
            for name, value in match.groupdict().items():
                found.setdefault(name, value)
    return found


def _type(found: dict, traffic: bool) -> str:
    msg_id = found.get("msg_id") or ""
    if traffic:
        return "traffic"
    if FIRST_ALARM <= msg_id <= LAST_ALARM or msg_id == "020B-0001":
        return "alarm"
    kind = TYPES.get(int(found["priority"] or 0) // 8, "event")
    return "event" if kind == "traffic" else kind


def _meaning(found: dict) -> dict:
    """What a record means: its level where it is an alert, and what kind of event it is."""
    alert = ALERTS.get(found.get("msg_id") or "")
    for name, finding in FINDINGS.items():
        alert = alert or (finding if found.get(name) else None)
    area = AREAS.get((found.get("msg_id") or "")[:4])
    meaning: dict = {
        "kind": "alert" if alert or found["type"] == "alarm" else "event",
        "category": [
            alert.category if alert else area or ("network" if found["type"] in ("traffic", "alarm") else "host")
        ],
    }
    passed = found.get("disposition") == "Allow"
    if found["type"] == "traffic":
        meaning["outcome"] = ["connection", "allowed" if passed else "denied"]
    else:
        meaning["outcome"] = ["info"]
    if alert:
        meaning["level"] = alert.passed if passed else alert.level
        meaning["alert"] = alert.why
    return meaning
