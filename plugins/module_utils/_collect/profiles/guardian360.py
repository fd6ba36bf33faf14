# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Guardian360 Lighthouse: what its API looks like, as data. The lab's simulator is built from the same dictionary.

Known from the vendor's public Go client: paths of probes, the v1 envelope, bearer tokens. Entries that rest on an
assumption say ``assumed``; the module's option ``profile`` overrides any part.
"""

from __future__ import annotations

COMPANY_ID = ["company.data.id", "company.id"]
COMPANY_NAME = ["company.data.name", "company.name"]

PROFILE = {
    "source": "guardian360",
    "base_url": "https://lighthouse.guardian360.nl",
    "api_key_header": "Api-Key",
    "envelope": {"items": ["data"], "success": "success", "error": "message"},
    "paging": {
        "style": "page",
        "page_param": "page",
        "size_param": "rows",
        "size": 100,
        "first": 1,
        "last_page": ["meta.pagination.total_pages", "meta.last_page"],
        "cap": 10_000,
    },
    "retry": {"statuses": [429, 500, 502, 503, 504], "max": 3},
    "sets": {
        "hacker_alerts": {
            "path": "/api/v1/hacker-alerts",
            "variants": [{"columns[acknowledged]": 0}, {"columns[acknowledged]": 1}],
            "every": "5m",
            "kind": "state",
            "id": "id",
            "time": "created_at",
            "tenant": {"id": COMPANY_ID, "name": COMPANY_NAME},
            "volatile": ["updated_at"],
            "drop": ["meta"],
            "constants": {"event.kind": "alert", "event.category": ["intrusion_detection"], "event.type": ["info"]},
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
            "every": "24h",
            "kind": "event",
            "id": "id",
            "time": "created_at",
            "tenant": {"id": COMPANY_ID, "name": COMPANY_NAME},
            "drop": ["meta"],
            "constants": {"event.kind": "event", "event.category": ["vulnerability"], "event.type": ["info"]},
            "ecs": {
                "event.action": "operation",
                "message": "issue.title",
                "vulnerability.id": "issue.cve",
                "vulnerability.severity": "issue.risk",
                "host.name": ["scanobject.data.value", "scanobject.value"],
                "user.name": "performed_by",
                "soc.issue_id": "issue.id",
            },
            "assumed": True,
        },
        "probes": {
            "path": "/api/v1/probes",
            "every": "5m",
            "kind": "snapshot",
            "id": "id",
            "time": "updated_at",
            "tenant": {"id": COMPANY_ID, "name": COMPANY_NAME},
            "volatile": ["updated_at", "percentage_of_scheduled_time", "meta"],
            "drop": ["meta", "image_location", "notification_emails"],
            "constants": {"event.kind": "asset", "event.category": ["host"], "event.type": ["info"]},
            "ecs": {
                "host.name": "name",
                "host.id": "id",
                "host.ip": ["ipv4", "current_ipv4_address"],
                "soc.status": "status",
                "soc.platform": ["scannerplatform.data.description", "scannerplatform.description"],
            },
        },
    },
}
