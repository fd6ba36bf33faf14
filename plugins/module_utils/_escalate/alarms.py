# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Alarms as the policy wants them, read from Elasticsearch."""

from __future__ import annotations

import ipaddress
import typing as t
from datetime import datetime

from .._core.clock import format_time, parse_time
from .policy import Alarm

FIELDS = [
    "@timestamp",
    "organization",
    "soc.id",
    "soc.level",
    "soc.reviewed",
    "rule.id",
    "rule.name",
    "message",
    "source.ip",
    "destination.ip",
    "observer.name",
]
SORT = [{"@timestamp": "asc"}, {"soc.id": "asc"}]
# Elasticsearch takes 65,536 terms in one query (index.max_terms_count).
TERMS = 10_000
TITLE_LENGTH = 200


def read(
    elastic: t.Any, index: str, *, level1_since: datetime, level2_since: datetime, ids: t.Sequence[str]
) -> list[Alarm]:
    """Level 1 and level 2 alarms since these times, and those with these ids however old, each once.

    ``elastic`` is an Elastic. Raises what its C(hits) raises.
    """
    queries: list[dict] = [
        {
            "bool": {
                "should": [_since(1, level1_since), _since(2, level2_since)],
                "minimum_should_match": 1,
            }
        }
    ]
    queries += [{"terms": {"soc.id": list(ids[start : start + TERMS])}} for start in range(0, len(ids), TERMS)]
    found: dict[str, Alarm] = {}
    for query in queries:
        for hit in elastic.hits(index, query={"bool": {"filter": [query]}}, sort=SORT, source=FIELDS):
            alarm = _alarm(hit)
            found[alarm.id] = alarm
    return list(found.values())


def _since(level: int, since: datetime) -> dict:
    times = {"range": {"@timestamp": {"gte": format_time(since)}}}
    return {"bool": {"filter": [{"term": {"soc.level": level}}, times]}}


def _alarm(hit: dict) -> Alarm:
    """A document as an Alarm. One that lacks a name or a company is not thereby less of an alarm."""
    document = hit["_source"]
    soc, company, rule = (_object(document, name) for name in ("soc", "organization", "rule"))
    tenant = str(company.get("id") or "unknown")
    return Alarm(
        id=str(soc.get("id") or hit["_id"]),
        level=int(soc.get("level") or 1),
        tenant_id=tenant,
        tenant_name=str(company.get("name") or tenant),
        time=parse_time(document["@timestamp"]),
        # Only a plain true counts: whatever else stands there is no analyst's mark.
        reviewed=soc.get("reviewed") is True,
        title=str(rule.get("name") or document.get("message") or "alarm")[:TITLE_LENGTH],
        rule=str(rule.get("id") or rule.get("name") or ""),
        entity=_entity(document),
    )


def _entity(document: dict) -> str:
    """The host that an alarm is about: the client's own one of the two ends, else the source, else the probe."""
    ends = [str(_object(document, end).get("ip") or "") for end in ("source", "destination")]
    for address in ends:
        try:
            if ipaddress.ip_address(address).is_private:
                return address
        except ValueError:
            pass
    return next(filter(None, ends), str(_object(document, "observer").get("name") or ""))


def _object(document: dict, name: str) -> dict:
    value = document.get(name)
    return value if isinstance(value, dict) else {}
