# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Guardian360 Lighthouse: what its API looks like, as data. The lab's simulator is built from the same dictionary.

Known from the vendor's public Go client: both versions' paths and envelopes, the token endpoint, and the fields of
assets (which it calls scan objects), companies, decoys, probes, schedules and platforms. Entries that rest on an
assumption say ``assumed``; the module's option ``profile`` overrides any part.
"""

from __future__ import annotations

COMPANY = {
    "id": ["company.data.id", "company.id", "company_id"],
    "name": ["company.data.name", "company.name"],
}
# These lists may name the company by its id alone.
COMPANY_BY_ID = {"id": COMPANY["id"], "name": "@companies"}
# Statistics name no company: they are asked for company by company.
ASK = {"ask": {"param": "company_id"}}

PLATFORM = [
    "scannerplatform.data.description",
    "scannerplatform.description",
    "scannerplatform.data.name",
    "scannerplatform.name",
]
ASSET_ID = ["scanobject.data.id", "scanobject.id"]
ASSET_VALUE = ["scanobject.data.value", "scanobject.value"]
RISKS = {f"soc.risks.{risk}": risk for risk in ("critical", "high", "medium", "low", "info")}

ENVELOPE = {"items": ["data"], "success": "success", "error": "message"}
PAGING = {
    "style": "page",
    "page_param": "page",
    "size_param": "rows",
    "size": 100,
    "first": 1,
    "last_page": ["meta.pagination.total_pages", "meta.last_page"],
    "cap": 10_000,
}
# Statistics come as one answer: there is no counter to wait for.
ONE_PAGE = {"last_page": []}

ALERT = {"event.kind": "alert", "event.category": ["intrusion_detection"], "event.type": ["info"]}
ASSET = {"event.kind": "asset", "event.category": ["host"], "event.type": ["info"]}
FINDING = {"event.kind": "state", "event.category": ["vulnerability"], "event.type": ["info"]}
FIGURE = {"event.kind": "metric", "event.category": ["vulnerability"], "event.type": ["info"]}
SETTING = {"event.kind": "state", "event.category": ["configuration"], "event.type": ["info"]}

# A probe and a decoy are the same kind of appliance.
APPLIANCE = {
    "host.name": "name",
    "host.id": "id",
    "host.ip": ["ipv4", "current_ipv4_address"],
    "observer.version": "scanner_version",
    "soc.status": "status",
    "soc.last_seen": "updated_at",
    "soc.platform": PLATFORM,
}
APPLIANCE_STATE = {
    "field": "soc.state",
    "status": "status",
    "seen": "updated_at",
    "offline_after": "15m",
    "recent": "24h",
}
# Progress of scans moves all day and says nothing about the probe.
PROGRESS = [
    "numberOfScanJobs",
    "numberOfCompletedScanJobs",
    "numberOfUncompletedScanJobs",
    "numberOfFailedScanJobs",
    "percentage_of_scheduled_time",
]


def _v2(path: str, relations: str, **changes: object) -> dict:
    """What a set is in the vendor's second version: a resource collection of Laravel, its relations asked for."""
    return {
        "path": path,
        "variants": [{"with": relations}],
        "paging": {"size_param": "per_page", "last_page": ["meta.last_page"]},
        "envelope": {"success": None},
        **changes,
    }


PROFILE = {
    "source": "guardian360",
    "base_url": "https://lighthouse.guardian360.nl",
    "api_key_header": "Api-Key",
    # For a site that has a client of its own; without one the token comes from a file.
    "auth": {"type": "client_credentials", "path": "/oauth/token", "style": "form"},
    "envelope": ENVELOPE,
    "paging": PAGING,
    "retry": {"statuses": [429, 500, 502, 503, 504], "max": 3},
    "at_once": 4,
    "companies": {"path": "/api/v1/companies", "envelope": ENVELOPE, "paging": PAGING, "id": "id", "name": "name"},
    "sets": {
        "assets": {
            "path": "/api/v1/scanobjects",
            "every": "24h",
            "kind": "snapshot",
            "id": "id",
            "time": ["updated_at", "created_at"],
            "tenant": COMPANY,
            "volatile": ["updated_at"],
            "drop": ["meta"],
            "constants": ASSET,
            "ecs": {
                "host.id": "id",
                "host.name": "value",  # an address, a range of them, or a URL
                "server.port": "port",
                "soc.name": "name",
                "soc.asset_type": "type",
                "soc.enabled": "enabled",
                "soc.platform": PLATFORM,
            },
        },
        "companies": {
            "path": "/api/v1/companies",
            "every": "24h",
            "kind": "snapshot",
            "id": "id",
            "time": ["updated_at", "created_at"],
            "tenant": {"id": "id", "name": "name"},
            "volatile": ["updated_at"],
            # How people are reached is for the portal, not for an index.
            "drop": [
                "meta",
                "telephone",
                "email",
                "support_phone",
                "support_email",
                "commercial_phone",
                "commercial_email",
                "invoicing_phone",
                "invoicing_email",
            ],
            "constants": SETTING,
            "ecs": {
                "url.original": "website",
                "soc.name": "name",
                "soc.reference": "reference",
                "soc.contract": "has_contract",
                "soc.employees": "billable_employees",
            },
        },
        "hacker_alert_appliances": {
            "path": "/api/v1/hacker-alert-appliances",
            "every": "5m",
            "kind": "snapshot",
            "id": "id",
            "time": "updated_at",
            "tenant": COMPANY,
            "volatile": ["updated_at"],
            "drop": ["meta", "image_location", "notification_emails"],
            "constants": ASSET,
            "ecs": APPLIANCE,
            "derive": APPLIANCE_STATE,
        },
        "hacker_alert_exclusions": {
            "path": "/api/v1/hacker-alert-exclusions",
            "every": "24h",
            "kind": "snapshot",
            "id": "id",
            "time": ["updated_at", "created_at"],
            "tenant": COMPANY,
            "volatile": ["updated_at"],
            "drop": ["meta"],
            "constants": SETTING,
            "ecs": {
                "message": "reason",
                "source.address": "value",  # an address or a range of them
                "destination.port": "port",
                "observer.name": ["appliance.name", "appliance.data.name"],
                "user.name": "created_by",
                "soc.name": "name",
                "soc.asset_type": "type",
            },
            "assumed": True,
        },
        "hacker_alerts": {
            "path": "/api/v1/hacker-alerts",
            # Both lists are walked, so that an alert which somebody acknowledges is met again in the other one.
            "variants": [{"columns[acknowledged]": 0}, {"columns[acknowledged]": 1}],
            "paging": {"newest_first": True},
            "every": "5m",
            "kind": "state",
            "id": "id",
            "time": "created_at",
            "tenant": COMPANY,
            "open_until": "soc.reviewed",
            "volatile": ["updated_at"],
            "drop": ["meta"],
            "constants": ALERT,
            "ecs": {
                "message": "message",
                "source.ip": ["source_ip", "src_ip"],
                "source.port": ["source_port", "src_port"],
                "destination.ip": ["destination_ip", "dst_ip"],
                "destination.port": ["destination_port", "dst_port"],
                "network.transport": "protocol",
                "network.protocol": "service",
                "user.name": "username",
                "observer.name": ["appliance.name", "appliance.data.name"],
                "soc.severity": "severity",
                "soc.reviewed": "acknowledged",
                "soc.reviewed_by": "acknowledged_by",
            },
            "assumed": True,
        },
        "issue_operations": {
            "path": "/api/v1/issues/operations",
            "paging": {"newest_first": True},
            "every": "24h",
            "kind": "event",
            "id": "id",
            "time": "created_at",
            "tenant": COMPANY,
            "drop": ["meta"],
            "constants": {"event.kind": "event", "event.category": ["vulnerability"], "event.type": ["info"]},
            "ecs": {
                "event.action": "operation",
                "message": "issue.title",
                "vulnerability.id": "issue.cve",
                "vulnerability.severity": "issue.risk",
                "host.id": ASSET_ID,
                "host.name": ASSET_VALUE,
                "user.name": "performed_by",
                "soc.issue_id": "issue.id",
            },
            "assumed": True,
        },
        "issues": {
            # The list holds what is open now. An issue that is solved leaves it without a word, so its absence from a
            # whole walk is the only sign of that: a snapshot marks it as gone, where a state would stay open for ever.
            "path": "/api/v1/issues/unique",
            "every": "24h",
            "kind": "snapshot",
            "id": "id",
            "time": ["last_seen", "first_seen"],
            "tenant": COMPANY,
            "volatile": ["updated_at"],
            "drop": ["meta"],
            "constants": FINDING,
            "ecs": {
                "message": "title",
                "vulnerability.id": "cve",
                "vulnerability.severity": "risk",
                "vulnerability.description": "description",
                "vulnerability.score.base": "cvss",
                "vulnerability.scanner.vendor": "scanner",
                "host.id": ASSET_ID,
                "host.name": ASSET_VALUE,
                "server.port": "port",
                "network.transport": "protocol",
                "soc.issue_id": "id",
                "soc.status": "status",
                "soc.solution": "solution",
                "soc.first_seen": "first_seen",
                "soc.last_seen": "last_seen",
            },
            "assumed": True,
        },
        "live_assets": {
            "path": "/api/v1/statistics/live-assets",
            "paging": ONE_PAGE,
            "envelope": {"items": ["data.per_company"]},
            "every": "24h",
            "kind": "snapshot",
            "id": "company_id",
            "time": "@observed",
            "tenant": {"id": "company_id", "name": "@companies"},
            "constants": FIGURE,
            "ecs": {"soc.count": "count"},
            "assumed": True,
        },
        "probes": {
            "path": "/api/v1/probes",
            "every": "5m",
            "kind": "snapshot",
            "id": "id",
            "time": "updated_at",
            "tenant": COMPANY,
            "volatile": ["updated_at", *PROGRESS],
            "drop": ["meta", "image_location", "notification_emails"],
            "constants": ASSET,
            "ecs": APPLIANCE,
            "derive": APPLIANCE_STATE,
        },
        "risk_trend": {
            # One record a day. Today's figures still move and are replaced; those of other days stay.
            "path": "/api/v1/statistics/trends/risk",
            "paging": ONE_PAGE,
            "every": "24h",
            "kind": "state",
            "id": "date",
            "time": "date",
            "tenant": ASK,
            "constants": FIGURE,
            "ecs": RISKS,
            "assumed": True,
        },
        "risks_per_asset": {
            "path": "/api/v1/statistics/risks/scanobject",
            "paging": ONE_PAGE,
            "every": "24h",
            "kind": "snapshot",
            "id": ASSET_ID,
            "time": "@observed",
            "tenant": ASK,
            "constants": FIGURE,
            "ecs": {"host.id": ASSET_ID, "host.name": ASSET_VALUE, **RISKS},
            "assumed": True,
        },
        "risks_per_date": {
            # By the day of detection: what is solved later changes the figure of its day.
            "path": "/api/v1/statistics/risks/detection-date",
            "paging": ONE_PAGE,
            "every": "24h",
            "kind": "state",
            "id": "date",
            "time": "date",
            "tenant": ASK,
            "constants": FIGURE,
            "ecs": RISKS,
            "assumed": True,
        },
        "risks_per_scanner": {
            "path": "/api/v1/statistics/risks/scanner",
            "paging": ONE_PAGE,
            "every": "24h",
            "kind": "snapshot",
            "id": "scanner",
            "time": "@observed",
            "tenant": ASK,
            "constants": FIGURE,
            "ecs": {"vulnerability.scanner.vendor": "scanner", **RISKS},
            "assumed": True,
        },
        "scanner_exclusions": {
            "path": "/api/v1/scanner-exclusions",
            "every": "24h",
            "kind": "snapshot",
            "id": "id",
            "time": ["updated_at", "created_at"],
            "tenant": COMPANY,
            "volatile": ["updated_at"],
            "drop": ["meta"],
            "constants": SETTING,
            "ecs": {
                "message": "reason",
                "host.id": ASSET_ID,
                "host.name": ASSET_VALUE,
                "user.name": "created_by",
                "soc.name": "name",
                "soc.asset_type": "type",
                "soc.value": "value",
            },
            "assumed": True,
        },
        "scanner_platforms": {
            "path": "/api/v1/scannerplatforms",
            "every": "24h",
            "kind": "snapshot",
            "id": "id",
            "time": "@observed",  # the first version gives no time
            "tenant": COMPANY_BY_ID,
            "volatile": ["updated_at"],
            "drop": ["meta", "scanobjects"],  # those are the set assets
            "constants": ASSET,
            "ecs": {
                "url.original": "endpoint",
                "observer.name": ["probe.name", "probe.data.name"],
                "soc.platform": ["description", "name"],
                "soc.platform_type": "type",
                "soc.count": "scanobject_count",
            },
        },
        "schedules": {
            "path": "/api/v1/schedules",
            "every": "24h",
            "kind": "snapshot",
            "id": "id",
            "time": "@observed",  # the first version gives no time
            "tenant": COMPANY_BY_ID,
            "volatile": ["updated_at"],
            "drop": ["meta"],
            "constants": SETTING,
            "ecs": {
                "message": "description",
                "soc.name": "name",
                "soc.enabled": "active",
                "soc.window_begin": "from",  # "HH:MM", in the vendor's local time
                "soc.window_end": "to",
            },
        },
    },
    "api": {
        "v2": {
            "sets": {
                "assets": _v2("/api/v2/scanobjects", "company,scannerplatform"),
                "probes": _v2("/api/v2/probes", "company,scannerplatform"),
                "scanner_platforms": _v2("/api/v2/scannerplatforms", "company,probe", time="updated_at"),
                "schedules": _v2("/api/v2/schedules", "company", time="updated_at"),
            },
        },
    },
}
