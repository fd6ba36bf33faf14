# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Counting what is there: the vendor, the journal and the index side by side. The decision is in watch.reconcile()."""

from __future__ import annotations

import collections
import typing as t
from datetime import UTC, datetime

from .._core.clock import format_time
from .._core.elastic import Elastic
from .._core.ids import index_name
from .journal import Journal
from .profile import DataSet, Source
from .watch import Hour, reconcile


def count(
    journal: Journal,
    elastic: Elastic | None,
    source: Source,
    data_set: DataSet,
    offered: t.Mapping[str, t.Collection[str]],
    since: datetime,
    until: datetime,
) -> list[Hour]:
    """The ledgers of ``data_set`` hour by hour, for the full hours from ``since`` to ``until``.

    ``offered`` are the document ids that the vendor has, by hour (``2026-11-20T09``). Without ``elastic`` the index is not asked.
    Hours that pruning has reached are left out company by company: what is gone from the index is not missing.
    """
    begin, end = format_time(since)[:13], format_time(until)[:13]
    names = {}
    counted, oldest = _index_counts(elastic, source, data_set, begin) if elastic else (None, {})
    kept: dict[str, set[str]] = collections.defaultdict(set)
    gone: dict[str, set[str]] = collections.defaultdict(set)
    for key, tenant, time in journal.records(data_set.name, begin, end):
        if tenant not in names:
            names[tenant] = index_name(source.name, data_set.index, journal.slug_of(tenant, ""))
        pruned = counted is not None and time[:13] <= oldest.get(names[tenant], "")
        (gone if pruned else kept)[time[:13]].add(key)
    excused = set().union(*gone.values())
    index = None
    if counted is not None:
        index = collections.Counter()
        for (name, hour), number in counted.items():
            if oldest.get(name, "") < hour < end:
                index[hour] += number
    vendor = {hour: set(ids) - excused for hour, ids in offered.items() if begin <= hour < end}
    return reconcile(_by_hour(vendor), _by_hour(kept), None if index is None else _by_hour(index), excused)


def _by_hour(found: t.Mapping[str, t.Any]) -> dict[datetime, t.Any]:
    return {datetime.fromisoformat(f"{hour}:00").replace(tzinfo=UTC): value for hour, value in found.items()}


def _index_counts(
    elastic: Elastic, source: Source, data_set: DataSet, begin: str
) -> tuple[dict[tuple[str, str], int], dict[str, str]]:
    """Documents by (index, hour) since ``begin``, and the hour of the oldest document of each index that was pruned."""
    answer = elastic.search(
        index=index_name(source.name, data_set.index, "*"),
        size=0,
        query={"term": {"soc.set": data_set.name}},
        aggs={
            "index": {
                "terms": {"field": "_index", "size": 10_000},
                "aggs": {
                    "oldest": {"min": {"field": "@timestamp"}},
                    "recent": {
                        "filter": {"range": {"@timestamp": {"gte": f"{begin}:00:00.000Z"}}},
                        "aggs": {
                            "hours": {
                                "date_histogram": {
                                    "field": "@timestamp",
                                    "fixed_interval": "1h",
                                    "min_doc_count": 1,
                                    "format": "yyyy-MM-dd'T'HH",
                                }
                            }
                        },
                    },
                },
            }
        },
    )
    counts, oldest = {}, {}
    for bucket in answer["aggregations"]["index"]["buckets"]:
        hour = format_time(datetime.fromtimestamp(bucket["oldest"]["value"] / 1000, UTC))[:13]
        if hour >= begin:
            oldest[bucket["key"]] = hour
        for row in bucket["recent"]["hours"]["buckets"]:
            counts[bucket["key"], row["key_as_string"]] = row["doc_count"]
    return counts, oldest
