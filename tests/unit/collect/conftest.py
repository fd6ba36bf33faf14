# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import Document, normalise
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import Source, load, merge
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles import cyberalarm, guardian360
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time
from ansible_collections.netcure.soc.plugins.module_utils._core.ids import slug

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def cyberalarm_source() -> Source:
    return load(merge(cyberalarm.PROFILE, {"base_url": "https://cyberalarm.example"}))


@pytest.fixture
def guardian360_source() -> Source:
    return load(guardian360.PROFILE)


@pytest.fixture
def alarm() -> dict:
    """An alarm as CyberAlarm sends it."""
    return {
        "id": "al-1",
        "timestamp": "2026-11-20T09:14:03.000Z",
        "level": 1,
        "category": "malware",
        "signature": "ET TROJAN",
        "signature_id": 2024217,
        "company": {"id": "c1", "name": "Acme NV"},
        "probe": {"id": "p7", "name": "acme-core"},
        "src_ip": "10.0.0.66",
        "src_port": 51322,
        "dst_ip": "203.0.113.7",
        "dst_port": 443,
        "protocol": "tcp",
        "count": 1,
        "reviewed": False,
        "reviewed_by": None,
    }


@pytest.fixture
def document(cyberalarm_source: Source, alarm: dict) -> t.Callable[..., Document]:
    """Makes documents of a set of CyberAlarm; keyword arguments replace fields of the alarm."""

    def make(data_set: str = "logs", at: datetime = NOW, **fields: t.Any) -> Document:
        record = {**alarm, "last_seen": alarm["timestamp"], "status": "online", **fields}
        return normalise(
            record, cyberalarm_source, cyberalarm_source.sets[data_set], format_time(at), lambda _id, name: slug(name)
        )

    return make
