# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""CyberAlarm: the contract that we assume, as data, because no public description exists.

The lab's simulator is built from the same dictionary; the module's option ``profile`` overrides any part.
"""

from __future__ import annotations

TENANT = {"id": "company.id", "name": "company.name"}

PROFILE = {
    "source": "cyberalarm",
    "base_url": None,  # nothing public: the site must give it
    "api_key_header": "Api-Key",
    "envelope": {"error": "error"},
    "paging": {"cap": 10_000},
    "retry": {"statuses": [429, 500, 502, 503, 504], "max": 3},
    # Who has a subscription; nobody else's records are collected.
    "companies": {
        "path": "/api/v1/companies",
        "envelope": {"items": ["data"]},
        "id": "id",
        "name": "name",
        "flag": "subscribed",
        "assumed": True,
    },
    "sets": {
        "logs": {
            "index": "alarm",
            "path": "/api/v1/logs/search",
            "method": "POST",
            "repeatable": True,  # a search changes nothing at the vendor
            "body": {"size": 500, "levels": [1, 2, 3], "sort": [{"timestamp": "asc"}, {"id": "asc"}]},
            "paging": {
                "style": "search_after",
                "from": "from",
                "send": "search_after",
                "tenants": "company_ids",
                "cursor": ["hits[-1].sort", "search_after"],
            },
            "envelope": {"items": ["hits", "hits.hits", "data"], "record": "_source"},
            "every": "5m",
            "kind": "state",
            "id": "id",
            "time": "timestamp",
            "tenant": TENANT,
            "open_until": "soc.reviewed",
            "ask_again": {"by": "search", "param": "ids"},
            "only": {"level": [1, 2, 3]},
            "drop": ["_links"],
            "constants": {"event.kind": "alert", "event.category": ["intrusion_detection"], "event.type": ["info"]},
            "ecs": {
                "message": ["description", "signature"],
                "rule.id": "signature_id",
                "rule.name": "signature",
                "rule.category": "category",
                "source.ip": "src_ip",
                "source.port": "src_port",
                "destination.ip": "dst_ip",
                "destination.port": "dst_port",
                "network.transport": "protocol",
                "observer.name": "probe.name",
                "observer.serial_number": "probe.id",
                "soc.level": "level",
                "soc.count": "count",
                "soc.reviewed": "reviewed",
                "soc.reviewed_by": "reviewed_by",
            },
            "assumed": True,
        },
        "probes": {
            "path": "/api/v1/probes",
            "paging": {
                "style": "page",
                "page_param": "page",
                "size_param": "per_page",
                "size": 100,
                "first": 1,
                "last_page": ["meta.last_page"],
            },
            "envelope": {"items": ["data"]},
            "every": "5m",
            "kind": "snapshot",
            "id": "id",
            "time": "last_seen",
            "tenant": TENANT,
            "volatile": ["last_seen"],
            "drop": ["_links"],
            "constants": {"event.kind": "asset", "event.category": ["host"], "event.type": ["info"]},
            "ecs": {
                "host.id": "id",
                "host.name": "name",
                "observer.version": "version",
                "soc.status": "status",
                "soc.last_seen": "last_seen",
            },
            "derive": {
                "field": "soc.state",
                "status": "status",
                "seen": "last_seen",
                "offline_after": "15m",
                "recent": "24h",
            },
            "assumed": True,
        },
    },
}
