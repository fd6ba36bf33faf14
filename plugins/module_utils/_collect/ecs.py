# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The fields of a document and their types: what mapping tables may name, and what a value must be to fit.

Names are those of the Elastic Common Schema; what it has no word for is under ``soc``. The index mapping that the role
``elasticsearch`` puts in place (``soc-ecs.json``) has the same fields with the same types; a test compares them.
"""

from __future__ import annotations

import functools
import ipaddress
import math
import typing as t

from .._core.clock import format_time, parse_time

# Lucene refuses a term of more than 32,766 bytes, and with it the whole document.
KEYWORD_LENGTH = 8000
# The largest number of IEEE 754 binary32, which is Elasticsearch's float.
FLOAT_MAX = 3.4028234663852886e38
TRUE = (True, 1, "1", "true", "yes", "reviewed", "acknowledged")
# ECS asks for lower case here, and one aggregation over all sources needs it.
LOWER = ("network.protocol", "network.transport")

FIELDS: dict[str, str] = {
    "@timestamp": "date",
    "destination.bytes": "long",
    "destination.geo.name": "keyword",
    "destination.ip": "ip",
    "destination.port": "long",
    "event.action": "keyword",
    "event.category": "keyword",
    "event.code": "keyword",
    "event.dataset": "keyword",
    "event.duration": "long",
    "event.end": "date",
    "event.id": "keyword",
    "event.ingested": "date",
    "event.kind": "keyword",
    "event.module": "keyword",
    "event.original": "keyword",
    "event.outcome": "keyword",
    "event.reason": "keyword",
    "event.start": "date",
    "event.type": "keyword",
    "file.hash.md5": "keyword",
    "file.name": "keyword",
    "host.id": "keyword",
    "host.ip": "ip",
    "host.name": "keyword",
    "http.request.method": "keyword",
    "log.syslog.appname": "keyword",
    "message": "text",
    "network.application": "keyword",
    "network.protocol": "keyword",
    "network.transport": "keyword",
    "observer.egress.interface.name": "keyword",
    "observer.ingress.interface.name": "keyword",
    "observer.name": "keyword",
    "observer.serial_number": "keyword",
    "observer.version": "keyword",
    "organization.id": "keyword",
    "organization.name": "keyword",
    "rule.category": "keyword",
    "rule.description": "keyword",
    "rule.id": "keyword",
    "rule.name": "keyword",
    "server.port": "long",
    "source.address": "keyword",
    "source.bytes": "long",
    "source.geo.name": "keyword",
    "source.ip": "ip",
    "source.port": "long",
    "url.domain": "keyword",
    "url.original": "keyword",
    "url.path": "keyword",
    "user.name": "keyword",
    "vulnerability.description": "text",
    "vulnerability.id": "keyword",
    "vulnerability.scanner.vendor": "keyword",
    "vulnerability.score.base": "float",
    "vulnerability.severity": "keyword",
    "soc.asset_type": "keyword",
    "soc.contract": "boolean",
    "soc.count": "long",
    "soc.employees": "long",
    "soc.enabled": "boolean",
    "soc.first_seen": "date",
    "soc.id": "keyword",
    "soc.issue_id": "keyword",
    "soc.last_seen": "date",
    "soc.level": "integer",
    "soc.log_type": "keyword",
    "soc.name": "keyword",
    "soc.platform": "keyword",
    "soc.platform_type": "keyword",
    "soc.policy": "keyword",
    "soc.present": "boolean",
    "soc.reference": "keyword",
    "soc.rejected": "keyword",
    "soc.reviewed": "boolean",
    "soc.reviewed_by": "keyword",
    "soc.risks.critical": "long",
    "soc.risks.high": "long",
    "soc.risks.info": "long",
    "soc.risks.low": "long",
    "soc.risks.medium": "long",
    "soc.run.changed": "long",
    "soc.run.dead_letters": "long",
    "soc.run.dup": "long",
    "soc.run.error": "keyword",
    "soc.run.fetched": "long",
    "soc.run.gap": "long",
    "soc.run.known": "long",
    "soc.run.lag": "float",
    "soc.run.malformed": "long",
    "soc.run.new": "long",
    "soc.run.set": "keyword",
    "soc.run.silent": "boolean",
    "soc.run.skipped": "long",
    "soc.run.source": "keyword",
    "soc.run.vanished": "long",
    "soc.run.waiting": "long",
    "soc.set": "keyword",
    "soc.severity": "keyword",
    "soc.solution": "text",
    "soc.state": "keyword",
    "soc.state_since": "date",
    "soc.status": "keyword",
    "soc.tunnel": "keyword",
    "soc.value": "keyword",
    "soc.vanished": "date",
    "soc.window_begin": "keyword",
    "soc.window_end": "keyword",
}

Convert = t.Callable[[t.Any], t.Any]


def _scalar(value: t.Any) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, (int, float)):
        text = str(value)
    else:
        raise ValueError("it is not a single value")
    if len(text) > KEYWORD_LENGTH:
        raise ValueError(f"it is longer than {KEYWORD_LENGTH} characters")
    return text


def _lower(value: t.Any) -> str:
    return _scalar(value).lower()


@functools.lru_cache(maxsize=4096)
def _address(text: str) -> str:
    if "%" in text:  # a zone index means something on one machine only, and Elasticsearch does not take it
        raise ValueError("it has a zone index")
    return str(ipaddress.ip_address(text))


def _ip(value: t.Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is not an address")
    return _address(value)


def _whole(value: t.Any, bits: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str, float)):
        raise ValueError("it is not a number")
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError("it is not a whole number")
    if not -(1 << bits) <= number < 1 << bits:
        raise ValueError("it is too large")
    return number


def _long(value: t.Any) -> int:
    return _whole(value, 63)


def _integer(value: t.Any) -> int:
    return _whole(value, 31)


def _float(value: t.Any) -> float:
    if isinstance(value, bool):
        raise ValueError("it is not a number")
    number = float(value)
    if not math.isfinite(number) or abs(number) > FLOAT_MAX:
        raise ValueError("it is not a number of 32 bits")
    return number


def _text(value: t.Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is not text")
    return value


SIMPLE: dict[str, Convert] = {
    "keyword": _scalar,
    "text": _text,
    "ip": _ip,
    "long": _long,
    "integer": _integer,
    "float": _float,
}


def converter(target: str, zone: str = "UTC", true_values: t.Iterable[t.Any] = ()) -> Convert:
    """What turns a vendor's value into one of the type of ``target``, or raises ValueError or TypeError.

    Times without an offset are in ``zone``; ``true_values`` mean yes beside the usual ones. Raises KeyError for a
    target that is not in FIELDS.
    """
    kind = FIELDS[target]
    if kind == "date":

        def date(value: t.Any) -> str:
            return format_time(parse_time(value, zone))

        return date
    if kind == "boolean":
        known = (*TRUE, *(value.lower() if isinstance(value, str) else value for value in true_values))

        def flag(value: t.Any) -> bool:
            return (value.lower() if isinstance(value, str) else value) in known

        return flag
    if target in LOWER:
        return _lower
    return SIMPLE[kind]
