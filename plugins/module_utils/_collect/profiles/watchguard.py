# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""WatchGuard: the syslog of Fireboxes and the incidents of WatchGuard Cloud, as data.

Known from the vendor's public documentation: the log format, the regions, how tokens are given, and that incidents are
paged with ``start_after``. The fields of an incident are assumed; the module's option ``profile`` overrides any part.
"""

from __future__ import annotations

from ..firebox import FIELDS

PROFILE = {
    "source": "watchguard",
    # The region of Europe, the Middle East and Africa; the others are usa and jpn.
    "base_url": "https://api.deu.cloud.watchguard.com",
    "api_key_header": "WatchGuard-API-Key",
    "auth": {"type": "client_credentials", "path": "/oauth/token", "style": "basic", "scope": "api-access"},
    "envelope": {"items": ["items"], "error": "message"},
    "paging": {"style": "search_after", "send": "start_after", "cursor": ["items[-1].id"], "cap": 10_000},
    "retry": {"statuses": [429, 500, 502, 503, 504], "max": 3},
    # The vendor knows accounts of its own: the option says which companies they are.
    "companies": {"option": "accounts"},
    "sets": {
        "firebox": {
            "files": {"parser": "firebox"},
            "every": "5m",
            "kind": "event",
            "id": "id",
            "time": "time",
            # A line names its device; the option says whose that is.
            "tenant": {"option": "devices"},
            # What an event is, is its line: what the parser makes of it may get better.
            "drop": list(FIELDS),
            "ecs": {
                "message": "message",
                "event.kind": "kind",
                "event.category": "category",
                "event.type": "outcome",
                "event.action": "action",
                "event.code": "msg_id",
                "event.reason": "reason",
                "rule.id": "signature_id",
                "rule.name": ["signature_name", "virus", "rule", "policy"],
                "rule.category": "signature_category",
                "rule.description": "alert",
                "source.ip": "src_ip",
                "source.port": "src_port",
                "source.bytes": "sent_bytes",
                "source.geo.name": "src_geo",
                "destination.ip": "dst_ip",
                "destination.port": "dst_port",
                "destination.bytes": "received_bytes",
                "destination.geo.name": "dst_geo",
                "network.transport": "protocol",
                "network.application": "application",
                "observer.name": "host",
                "observer.serial_number": "serial",
                "observer.ingress.interface.name": "in_if",
                "observer.egress.interface.name": "out_if",
                "user.name": "user",
                "url.domain": "domain",
                "url.path": "path",
                "http.request.method": "method",
                "file.name": "file_name",
                "file.hash.md5": "md5",
                "log.syslog.appname": "program",
                "soc.level": "level",
                "soc.severity": ["severity", "threat_level"],
                "soc.count": "count",
                "soc.policy": "policy",
                "soc.log_type": "type",
                "soc.tunnel": "tunnel",
            },
        },
        "incidents": {
            "index": "incident",
            "path": "/rest/threatsync/management/v1/{account}/incidents",
            "variants": [{"sortBy": "created_at", "limit": 100}],
            "every": "5m",
            "kind": "state",
            "id": "id",
            "time": "created_at",
            "tenant": {"ask": {"path": "account"}},
            "open_until": "soc.reviewed",
            "true_values": ["closed"],
            # The vendor's scale has ten steps, ours has three, of which 1 is the highest.
            "values": {
                "soc.level": {
                    **dict.fromkeys(("10", "9"), 1),
                    **dict.fromkeys(("8", "7", "6"), 2),
                    **dict.fromkeys(("5", "4", "3", "2", "1"), 3),
                }
            },
            "constants": {"event.kind": "alert", "event.category": ["intrusion_detection"], "event.type": ["info"]},
            "ecs": {
                "message": ["description", "title"],
                "rule.name": "title",
                "source.ip": "source_ip",
                "user.name": "user",
                "observer.name": "device.name",
                "observer.serial_number": "device.serial",
                "soc.severity": "severity",
                "soc.level": "severity",
                "soc.status": "status",
                "soc.reviewed": "status",
                "soc.last_seen": "updated_at",
            },
            "assumed": True,
        },
    },
}
