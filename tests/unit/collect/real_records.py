# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of real products, the tables with which a site would map them, and what became of them.

Every table is given as the module's option ``profile``: it turns a set of a shipped profile into one for another
product. ``python -m tests.unit.collect.real_records`` prints how much of each field the tables cover, and how often
the value is the one that somebody else's pipeline made of the same record.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import ipaddress
import json
import math
import re
import typing as t
from pathlib import Path

from ansible_collections.netcure.soc.plugins.module_utils._collect.ecs import FIELDS
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import (
    Company,
    Document,
    Malformed,
    normalise,
)
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import DataSet, Source, dig
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles import cyberalarm, guardian360
from ansible_collections.netcure.soc.plugins.module_utils._collect.run import load_source
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import parse_time
from ansible_collections.netcure.soc.plugins.module_utils._core.ids import slug

# Beside the repository, because some of its licences do not let it go into the repository.
DATA = Path(__file__).resolve().parents[3].parent / "shared/data"
OBSERVED = "2026-11-20T12:00:00.000Z"
CLIENT = Company("c1", "Acme NV")
DIRECTORY_NAME = "Umbrella BV"

Records = list[t.Any]


# How the files are read. What these functions do is the part of a vendor's API, not of the product.


def json_lines(path: Path) -> Records:
    """One object a line; what a log shipper put before the object is cut off."""
    return [json.loads(line[line.index("{") :]) for line in path.read_text("utf-8").splitlines() if line.strip()]


def json_array(path: Path) -> Records:
    return json.loads(path.read_text("utf-8"))


def table(path: Path, before: int = 0) -> Records:
    """The rows of a CSV file after ``before`` lines of preamble. An empty cell is no value."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file.readlines()[before:])
        return [{key: cell for key, cell in row.items() if key and cell} for row in rows]


def key_values(path: Path) -> Records:
    """``key=value key="two words"`` after a syslog priority, the time put together from its three parts."""
    records = []
    for line in path.read_text("utf-8").splitlines():
        pairs = re.findall(r'(\w+)=(?:"([^"]*)"|(\S*))', line)
        record = {key: quoted or bare for key, quoted, bare in pairs if quoted or bare}
        if "date" in record:
            record["when"] = f"{record['date']}T{record['time']}{record.get('tz', '')}"
        records.append(record)
    return records


# What a table is, and what is known about the outcome.


@dataclasses.dataclass(frozen=True)
class Differs:
    """Why another pipeline has another value on purpose. ``read`` makes theirs of ours; without it they go apart."""

    reason: str
    read: t.Callable[[t.Any], t.Any] | None = None


@dataclasses.dataclass(frozen=True)
class Example:
    """A file of records and the table for it.

    ``data_set`` is "profile.set" of the shipped set that ``option`` (the module's option ``profile``, for that set
    alone) changes. ``client`` is whose records these are, where the records do not say. ``refused`` counts what is to
    be malformed, by a part of the reason. ``floor`` has the least share of documents that must have a field, ``misfit``
    how many documents have to name a field as one that did not fit. ``findings`` is the number of findings that the
    tests of another importer assert, and the fields in which two of them differ.
    """

    file: str
    read: t.Callable[[Path], Records]
    data_set: str
    option: dict
    floor: dict[str, float]
    client: Company | None = CLIENT
    differs: dict[str, Differs] = dataclasses.field(default_factory=dict)
    refused: dict[str, int] = dataclasses.field(default_factory=dict)
    misfit: dict[str, int] = dataclasses.field(default_factory=dict)
    findings: tuple[int, tuple[str, ...]] | None = None

    @property
    def name(self) -> str:
        return Path(self.file).name.removesuffix(".log")


def without(name: str) -> t.Callable[[str], str | None]:
    return lambda value: None if value == name else value


LOWER = Differs("ECS wants lower case, the product keeps what the vendor writes", str.lower)
ALL_OF = 1.0

# A set's rules about levels cannot be taken away, but what has no level can be allowed.
NO_LEVEL = ["None"]
EVE = {
    "kind": "event",
    "id": "@hash",  # a flow has many alerts, and none has an id
    "volatile": ["pcap_cnt"],
    "open_until": None,
    "ask_again": None,
    "only": {"level": NO_LEVEL, "event_type": ["alert"]},
    "ecs": {
        "message": "alert.signature",
        "event.action": "alert.action",
        "event.start": "flow.start",
        "rule.id": "alert.signature_id",
        "rule.name": "alert.signature",
        "rule.category": "alert.category",
        "destination.ip": "dest_ip",
        "destination.port": "dest_port",
        "network.transport": "proto",
        "network.protocol": "app_proto",
        "url.original": "http.url",
        "soc.level": "alert.severity",
    },
}
EVE_FLOOR = dict.fromkeys(
    (
        "message",
        "event.action",
        "rule.id",
        "rule.name",
        "source.ip",
        "source.port",
        "destination.ip",
        "destination.port",
        "network.transport",
        "soc.level",
    ),
    ALL_OF,
)
EVE_DIFFERS = {
    "message": Differs("theirs is the category; a person reads the signature"),
}
SNORT = {
    "kind": "event",
    "id": "@hash",
    "time": "seconds",
    "open_until": None,
    "ask_again": None,
    "only": {"level": NO_LEVEL},
    "ecs": {
        "message": "msg",
        "event.action": "action",
        "rule.id": "sid",
        "rule.name": "msg",
        "rule.category": "class",
        "source.ip": "src_addr",
        "destination.ip": "dst_addr",
        "network.transport": "proto",
        "network.protocol": "service",
        "soc.level": "priority",
    },
}
DARKTRACE = {
    "id": "pbid",
    "time": "time",
    "volatile": ["commentCount"],
    "ecs": {
        "message": "model.description",
        "event.start": "triggeredComponents[0].time",
        "rule.id": "model.uuid",
        "rule.name": "model.name",
        "rule.category": "model.category",
        "host.id": "device.did",
        "host.ip": "device.ip",
        "host.name": "device.hostname",
        "url.original": "breachUrl",
        "soc.level": "model.priority",
    },
}
DEFENDER = {
    "id": "id",
    "time": "lastUpdateDateTime",
    "tenant": {"id": "tenantId", "name": "@companies"},
    "true_values": ["resolved"],
    "ecs": {
        "message": "displayName",
        "event.action": "alerts.evidence[1].detectionStatus",
        "event.start": "alerts.firstActivityDateTime",
        "event.end": "alerts.lastActivityDateTime",
        "rule.id": "alerts.detectorId",
        "rule.name": "alerts.title",
        "rule.category": "alerts.category",
        "host.id": "alerts.evidence[0].mdeDeviceId",
        "host.ip": "alerts.evidence[1].ipAddress",
        "host.name": "alerts.evidence[0].deviceDnsName",
        "user.name": "alerts.evidence[0].userAccount.accountName",
        "url.original": "incidentWebUrl",
        "soc.severity": "severity",
        "soc.reviewed": "status",
        "soc.reviewed_by": "assignedTo",
    },
}
FORTIGATE = {
    "kind": "event",
    "id": "@hash",
    "time": "when",
    "open_until": None,
    "ecs": {
        "message": "msg",
        "event.action": ["eventtype", "action"],
        "event.start": "eventtime",
        "rule.id": ["policyid", "policy_id"],
        "rule.name": "policyname",
        "rule.category": ["catdesc", "appcat"],
        "source.ip": ["srcip", "locip"],
        "source.port": ["srcport", "locport", "src_port"],
        "destination.ip": ["dstip", "remip"],
        "destination.port": ["dstport", "remport", "dst_port"],
        "network.transport": "proto",
        "network.protocol": "service",
        "observer.name": "devname",
        "observer.serial_number": "devid",
        "user.name": ["user", "unauthuser"],
        "soc.severity": "level",
    },
}
TENABLE_SC = {
    "id": "@hash",
    "time": "lastSeen",
    "tenant": {"id": "repository.id", "name": "repository.name"},
    "volatile": ["lastSeen"],
    "constants": {"vulnerability.scanner.vendor": "Tenable"},
    "ecs": {
        "message": "pluginName",
        "vulnerability.id": "cve",
        "vulnerability.severity": "severity.name",
        "vulnerability.score.base": "cvssV3BaseScore",
        "vulnerability.scanner.vendor": [],  # a constant here
        "host.id": [],
        "host.ip": "ip",
        "host.name": "dnsName",
        "soc.issue_id": "pluginID",
        "soc.status": "hasBeenMitigated",
        "soc.first_seen": "firstSeen",
        "soc.last_seen": "lastSeen",
    },
}
OPENVAS = {
    "id": "Result ID",
    "time": "Timestamp",
    "constants": {"vulnerability.scanner.vendor": "Greenbone"},
    "ecs": {
        "message": "NVT Name",
        "vulnerability.id": ["CVEs", "NVT OID"],
        "vulnerability.severity": "Severity",
        "vulnerability.description": "Summary",
        "vulnerability.score.base": "CVSS",
        "vulnerability.scanner.vendor": [],
        "host.ip": "IP",
        "host.name": "Hostname",
        "server.port": "Port",
        "network.transport": "Port Protocol",
        "soc.issue_id": "NVT OID",
        "soc.solution": "Solution",
    },
}
NUCLEI = {
    "id": "@hash",
    "time": "timestamp",
    "volatile": ["timestamp"],
    "drop": ["request", "response", "curl-command"],  # they hold the password that was tried
    "constants": {"vulnerability.scanner.vendor": "ProjectDiscovery"},
    "ecs": {
        "message": "info.name",
        "rule.id": ["template-id", "templateID"],
        "vulnerability.id": "info.classification.cve-id",
        "vulnerability.severity": "info.severity",
        "vulnerability.description": "info.description",
        "vulnerability.score.base": "info.classification.cvss-score",
        "vulnerability.scanner.vendor": [],
        "host.ip": "ip",
        "host.name": ["host", "url"],
        "network.protocol": "type",
        "url.original": ["matched-at", "matched"],
        "soc.issue_id": ["template-id", "templateID"],
        "soc.solution": "info.remediation",
    },
}
NESSUS = {
    "id": "@hash",
    "time": "@observed",
    "constants": {"vulnerability.scanner.vendor": "Tenable"},
    "ecs": {
        "message": "Name",
        "vulnerability.id": "CVE",
        "vulnerability.severity": "Risk",
        "vulnerability.description": "Description",
        "vulnerability.score.base": "CVSS",  # "CVSS v3.0 Base Score" has a dot, which no path can name
        "vulnerability.scanner.vendor": [],
        "host.name": "Host",
        "server.port": "Port",
        "network.transport": "Protocol",
        "soc.issue_id": "Plugin ID",
        "soc.solution": "Solution",
    },
}
TENABLE_IO = {
    **NESSUS,
    "time": "Last Found",
    "volatile": ["Indexed At", "Last Found"],
    "ecs": {
        **NESSUS["ecs"],
        "vulnerability.score.base": ["CVSS3 Base Score", "CVSS"],
        "host.ip": "IP Address",
        "host.name": ["FQDN", "Host"],
        "soc.status": "Vulnerability State",
        "soc.first_seen": "First Found",
        "soc.last_seen": "Last Found",
    },
}
QUALYS = {
    "id": "@hash",
    "time": "@observed",  # the vendor's months and days are in an order that no standard has
    "constants": {"vulnerability.scanner.vendor": "Qualys"},
    "ecs": {
        "message": "Title",
        "vulnerability.id": ["CVE ID", "CVE"],
        "vulnerability.severity": "Severity",
        "vulnerability.description": "Threat",
        "vulnerability.score.base": ["CVSS3", "CVSSv2 Base (nvd)"],
        "vulnerability.scanner.vendor": [],
        "host.ip": ["IP", "Asset IPV4", "Asset IPV6"],
        "host.name": ["DNS", "Asset Name"],
        "server.port": "Port",
        "network.transport": "Protocol",
        "soc.issue_id": "QID",
        "soc.solution": "Solution",
        "soc.status": ["Vuln Status", "Status"],
        "soc.first_seen": "First Detected",
        "soc.last_seen": "Last Detected",
    },
}
TESTSSL = {
    "id": "@hash",
    "time": "@observed",
    "ecs": {
        "message": "finding",
        "vulnerability.severity": "severity",
        "host.name": "fqdn/ip",
        "server.port": "port",
        "soc.issue_id": "id",
    },
}

PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "ipv6-icmp"}
FINDING = dict.fromkeys(("message", "vulnerability.severity", "soc.issue_id", "vulnerability.scanner.vendor"), ALL_OF)

EXAMPLES = [
    Example(
        "nids/suricata-first-org-conf-2015.alerts-only.json",
        json_array,
        "cyberalarm.logs",
        EVE,
        {**EVE_FLOOR, "rule.category": 0.9, "network.protocol": 0.9, "url.original": 0.8},
    ),
    Example(
        "nids/suricata-wrccdc-2018.alerts-only.json",
        json_array,
        "cyberalarm.logs",
        EVE,
        {**EVE_FLOOR, "rule.category": 0.9, "network.protocol": 0.6},
    ),
    Example(
        "nids/elastic/suricata.eve.test-eve-alerts.log",
        json_lines,
        "cyberalarm.logs",
        EVE,
        EVE_FLOOR,
        differs=EVE_DIFFERS,
        refused={"its event_type is 'tls'": 1},
    ),
    Example(
        "nids/elastic/suricata.eve.test-eve-small.log",
        json_lines,
        "cyberalarm.logs",
        EVE,
        EVE_FLOOR,
        differs=EVE_DIFFERS,
        refused={"its event_type is '": 11},
    ),
    Example(
        "nids/elastic/snort.log.test-log-json.log",
        json_lines,
        "cyberalarm.logs",
        SNORT,
        dict.fromkeys(("rule.id", "rule.name", "source.ip", "destination.ip", "soc.level"), ALL_OF),
        differs={
            "@timestamp": Differs("theirs is the text without a year, read in the year and the zone of a test"),
            "network.protocol": Differs("they leave out a service that is not known", without("unknown")),
        },
    ),
    Example(
        "nids/elastic/darktrace.model_breach_alert.test-model-breach-alert.log",
        json_lines,
        "guardian360.hacker_alerts",
        DARKTRACE,
        {"message": 0.8, "rule.name": ALL_OF, "host.ip": 0.8, "soc.level": 0.8},
        differs={"host.id": Differs("they leave out the number of no device", without("-1"))},
    ),
    Example(
        "firewall/elastic/m365_defender.incident.test-incident.log",
        json_lines,
        "guardian360.hacker_alerts",
        DEFENDER,
        dict.fromkeys(("message", "event.start", "rule.name", "rule.category", "soc.severity", "soc.reviewed"), ALL_OF),
        client=None,
        differs={"host.name": LOWER},
        refused={"no id": 1},
    ),
    Example(
        "firewall/elastic/fortinet_fortigate.log.test-fortinet.log",
        key_values,
        "guardian360.hacker_alerts",
        FORTIGATE,
        {"message": 0.7, "soc.severity": ALL_OF, "observer.name": 0.95, "source.ip": 0.6, "destination.ip": 0.6},
        refused={"its time is unusable": 1},
        differs={
            "event.action": Differs("they keep what an event log calls its action under a name of their own"),
            "network.transport": Differs("they look the number up", PROTOCOLS.get),
            "rule.category": Differs("they put a hyphen for a dot", lambda text: text.replace(".", "-")),
        },
    ),
    Example(
        "vuln/elastic/tenable_sc.vulnerability.test-vulnerability.log",
        json_lines,
        "guardian360.issues",
        TENABLE_SC,
        {**FINDING, "host.ip": ALL_OF, "host.name": ALL_OF, "vulnerability.score.base": ALL_OF},
        client=None,
        refused={"names no company": 1},
        differs={
            "host.name": Differs("theirs is the name without its domain", lambda name: name.partition(".")[0]),
            "vulnerability.id": Differs("they cut the list at its commas", lambda text: text.split(",")),
        },
    ),
    Example(
        "vuln/openvas__many_vuln.csv",
        table,
        "guardian360.issues",
        OPENVAS,
        {**FINDING, "host.ip": ALL_OF, "host.name": ALL_OF, "vulnerability.score.base": ALL_OF},
        findings=(4, ("message", "vulnerability.severity")),
    ),
    Example(
        "vuln/openvas__report_using_CVE.csv",
        table,
        "guardian360.issues",
        OPENVAS,
        {**FINDING, "host.ip": ALL_OF, "vulnerability.id": ALL_OF, "vulnerability.score.base": ALL_OF},
        findings=(43, ("message", "vulnerability.severity")),
    ),
    Example(
        "vuln/nuclei__many_findings.json",
        json_lines,
        "guardian360.issues",
        NUCLEI,
        {**FINDING, "host.ip": ALL_OF, "url.original": ALL_OF},
    ),
    Example(
        "vuln/nuclei__issue_14071.json",
        json_lines,
        "guardian360.issues",
        NUCLEI,
        {**FINDING, "host.ip": 0.8},
        findings=(27, ("soc.id",)),
    ),
    Example(
        "vuln/tenable__nessus__nessus_many_vuln2-all.csv",
        table,
        "guardian360.issues",
        NESSUS,
        {**FINDING, "host.name": ALL_OF, "server.port": ALL_OF},
        findings=(29, ("message", "vulnerability.severity", "server.port")),
    ),
    Example(
        "vuln/tenable__tenable_many_vuln.csv",
        table,
        "guardian360.issues",
        TENABLE_IO,
        {**FINDING, "host.ip": ALL_OF, "vulnerability.id": 0.9, "vulnerability.score.base": 0.9},
        refused={"its time is unusable": 2},  # rows of commas
        findings=(9, ("message", "vulnerability.severity", "host.name")),
    ),
    Example(
        "vuln/qualys__Qualys_Sample_Report.csv",
        table,
        "guardian360.issues",
        QUALYS,
        {**FINDING, "host.ip": ALL_OF, "vulnerability.score.base": ALL_OF},
        misfit={"soc.first_seen": 6, "soc.last_seen": 6},
        findings=(3, ("message", "vulnerability.severity")),
    ),
    Example(
        "vuln/qualys_vmdr__many_vulns_cve.csv",
        functools.partial(table, before=3),
        "guardian360.issues",
        QUALYS,
        {**FINDING, "host.ip": 0.8, "vulnerability.id": ALL_OF, "vulnerability.score.base": ALL_OF},
        misfit={"soc.first_seen": 5, "soc.last_seen": 5, "host.ip": 1},  # two addresses in one cell
    ),
    Example(
        "vuln/testssl__defectdojo_many_vuln.csv",
        table,
        "guardian360.issues",
        TESTSSL,
        dict.fromkeys(("message", "vulnerability.severity", "host.name", "server.port"), ALL_OF),
    ),
]
PROFILES = {"cyberalarm": cyberalarm.PROFILE, "guardian360": guardian360.PROFILE}


# What becomes of the records.


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Each record of an example with what normalising made of it, and the fields that others made of it, if any."""

    example: Example
    data_set: DataSet
    records: Records
    made: list[Document | Malformed]
    theirs: list[dict[str, t.Any] | None]

    @property
    def documents(self) -> list[Document]:
        return [made for made in self.made if isinstance(made, Document)]

    @property
    def targets(self) -> list[str]:
        """The fields that the table fills, those of every document among them."""
        mapped = [".".join(field.target) for field in self.data_set.fields if field.paths]
        constant = [
            name for target, _value in self.data_set.constants if not (name := ".".join(target)).startswith("event.")
        ]
        own = ["@timestamp"] if self.data_set.id is None else ["@timestamp", "event.id"]
        return sorted({*mapped, *constant, *own})

    def share(self, target: str) -> float:
        """The share of documents that have the field."""
        return sum(target in flat(document.source) for document in self.documents) / len(self.documents)

    def compared(self, target: str) -> list[tuple[t.Any, t.Any]]:
        """Our value and theirs (None: none) of every record that both kept, or nothing if they never have the field."""
        pairs = [
            (flat(made.source).get(target), theirs.get(target))
            for made, theirs in zip(self.made, self.theirs)
            if isinstance(made, Document) and theirs is not None
        ]
        return pairs if any(theirs is not None for _ours, theirs in pairs) else []


def source_of(example: Example) -> tuple[Source, DataSet]:
    """The example's source, made from the module's options as the module does it."""
    profile, _dot, name = example.data_set.partition(".")
    option = {"sets": {name: example.option}}
    source = load_source({"base_url": "https://vendor.example", "profile": option}, PROFILES[profile])
    return source, source.sets[name]


def read(example: Example) -> Records:
    return example.read(DATA / example.file)


def handle(record: t.Any, source: Source, data_set: DataSet, client: Company | None) -> Document:
    """normalise() with a directory in which every company has a name."""
    known = {str(identity): DIRECTORY_NAME for identity in [dig(record, data_set.tenant_id or ())] if identity}
    return normalise(record, source, data_set, OBSERVED, lambda _id, name: slug(name) or "x", client, known)


@functools.cache
def outcome(example_name: str) -> Outcome:
    """What becomes of the records of an example. Whatever normalise() raises beside Malformed goes through."""
    example = next(example for example in EXAMPLES if example.name == example_name)
    source, data_set = source_of(example)
    records, made = read(example), []
    for record in records:
        try:
            made.append(handle(record, source, data_set, example.client))
        except Malformed as exc:
            made.append(exc)
    expected = DATA / f"{example.file}-expected.json"
    theirs: list = [None] * len(records)
    if expected.exists():
        theirs = [body and flat(body) for body in json.loads(expected.read_text("utf-8"))["expected"]]
    return Outcome(example, data_set, records, made, theirs)


def flat(body: dict, prefix: str = "") -> dict[str, t.Any]:
    """A document with dotted names."""
    fields: dict[str, t.Any] = {}
    for key, value in body.items():
        if isinstance(value, dict):
            fields |= flat(value, f"{prefix}{key}.")
        else:
            fields[prefix + key] = value
    return fields


def alike(target: str, ours: t.Any, theirs: t.Any) -> bool:
    """Whether two values of a field mean the same to Elasticsearch."""

    def plain(value: t.Any) -> list:
        values = value if isinstance(value, list) else [] if value is None else [value]
        return [canonical(FIELDS[target], item) for item in values]

    return plain(ours) == plain(theirs)


def canonical(kind: str, value: t.Any) -> t.Any:
    if kind == "date":
        return parse_time(value)
    if kind == "ip":
        return ipaddress.ip_address(value)
    return float(value) if kind in ("long", "integer", "float") else str(value)


BITS = {"long": 63, "integer": 31}
MAX_FLOAT = 3.4028234663852886e38  # of 32 bits; Elasticsearch refuses a document with more
MAX_TERM = 32_766


def fits(target: str, value: t.Any) -> bool:
    """Whether Elasticsearch would take the value for the field: our own reading of its rules, not the product's."""
    kind = FIELDS[target]
    if isinstance(value, list):
        return all(not isinstance(item, list) and fits(target, item) for item in value)
    if kind in BITS:
        return isinstance(value, int) and not isinstance(value, bool) and -(1 << BITS[kind]) <= value < 1 << BITS[kind]
    if kind == "float":
        return isinstance(value, float) and math.isfinite(value) and abs(value) <= MAX_FLOAT
    if kind == "boolean":
        return isinstance(value, bool)
    if not isinstance(value, str):
        return False
    if kind == "ip":
        return "%" not in value and bool(ipaddress.ip_address(value))
    if kind == "date":
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value) and parse_time(value))
    # What is not indexed has no terms.
    return kind == "text" or target == "event.original" or len(value.encode()) <= MAX_TERM


def report(result: Outcome) -> str:
    """A table of the fields for people."""
    example = result.example
    refused = len(result.records) - len(result.documents)
    lines = [f"{example.name}: {len(result.records)} records, {len(result.documents)} documents, {refused} refused"]
    for target in result.targets:
        if not result.share(target) and target not in example.option["ecs"]:
            continue  # the shipped table has it, and other records
        pairs = result.compared(target)
        differs = example.differs.get(target)
        same = sum(alike(target, ours, theirs) for ours, theirs in pairs)
        note = f"{same}/{len(pairs)} as expected" if pairs else ""
        if differs:
            note += f"; {differs.reason}"
        rejected = sum(target in document.source["soc"].get("rejected", ()) for document in result.documents)
        if rejected:
            note += f"; {rejected} did not fit"
        lines.append(f"  {target:<30}{result.share(target):>5.0%}  {note.removeprefix('; ')}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    for each in EXAMPLES:
        print(report(outcome(each.name)), end="\n\n")
