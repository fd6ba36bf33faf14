# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""One pruning run: plan, archive, read the archive back, and only then delete, each document at the version archived."""

from __future__ import annotations

import contextlib
import os
import typing as t

from .._core.argspec import ArgumentSpec, common, elasticsearch
from .._core.clock import Clock, format_time
from .._core.elastic import Elastic, connect
from .._core.errors import SocError
from .._core.libraries import orjson
from .._core.module import Run
from .._core.state import lock
from .archive import Archive
from .plan import IndexPlan, Plan, Rule, Victim, check_limits, excess, rules_of

BATCH = 1000
# Oldest first. The id makes the order total, however many documents share a time.
ORDER = [{"@timestamp": "asc"}, {"soc.id": "asc"}]
ALL = {"match_all": {}}


class Reach(t.Protocol):
    """Called at the named points where a crash would be worst. Only tests give one that does anything."""

    def __call__(self, point: str) -> None: ...


def nowhere(point: str) -> None:
    """The product's own Reach: go on."""


def argument_spec() -> ArgumentSpec:
    """Options of C(es_prune)."""
    rule = {"pattern": {"type": "str", "required": True}, "keep": {"type": "int", "default": 2000}}
    own = ArgumentSpec(
        {
            "rules": {"type": "list", "elements": "dict", "options": rule, "required": True},
            "archive_dir": {"type": "path", "default": "/srv/soc/archive"},
            "state_dir": {"type": "path", "default": "/var/lib/soc"},
            "max_deletions": {"type": "int", "default": 100_000},
        }
    )
    return own.merge(elasticsearch()).merge(common())


def make_plan(elastic: Elastic, rules: t.Sequence[Rule]) -> Plan:
    """Read what the indices hold and decide what goes. Changes nothing."""
    counts = _counts(elastic, ",".join(rule.pattern for rule in rules))
    return Plan(tuple(_plan_index(elastic, index, keep) for index, _count, keep in excess(counts, rules)))


def _counts(elastic: Elastic, pattern: str) -> dict[str, int]:
    elastic.call("indices.refresh", index=pattern, ignore_unavailable=True)
    answer = elastic.call(
        "search",
        index=pattern,
        ignore_unavailable=True,
        size=0,
        track_total_hits=False,
        aggs={"index": {"terms": {"field": "_index", "size": 10_000}}},
    )
    # Without a single matching index there is no aggregation at all.
    buckets = answer.get("aggregations", {}).get("index", {}).get("buckets", [])
    return {bucket["key"]: bucket["doc_count"] for bucket in buckets}


def _plan_index(elastic: Elastic, index: str, keep: int) -> IndexPlan:
    """The oldest documents beyond ``keep``. Count and order come from one point in time, so ties cannot blur the number."""
    count, victims = 0, []
    hits = elastic.hits(
        index, query=ALL, sort=ORDER, page=10_000, source=False, seq_no_primary_term=True, track_total_hits=True
    )
    for hit in hits:
        count = count or hits.total
        if len(victims) >= count - keep:
            break
        victims.append(Victim(hit["_id"], hit["fields"]["@timestamp"][0], hit["_seq_no"], hit["_primary_term"]))
    return IndexPlan(index, count, keep, tuple(victims))
