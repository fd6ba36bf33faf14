# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""One pruning run: plan, archive, read the archive back, and only then delete, each document at the version archived."""

from __future__ import annotations

import contextlib
import itertools
import os
import typing as t

from .._core.argspec import ArgumentSpec, common, elasticsearch
from .._core.clock import Clock, format_time, parse_time
from .._core.elastic import Elastic, connect
from .._core.errors import AnswerError, AuthError, SocError
from .._core.libraries import orjson
from .._core.module import Run
from .._core.reach import Reach, nowhere
from .._core.state import lock
from .archive import Archive
from .plan import IndexPlan, Plan, Rule, Victim, check_limits, excess, rules_of

BATCH = 1000
PAGE = 10_000
# Elasticsearch sorts a missing time as the greatest number of 64 bits; no real one is beyond the year 5138.
NO_TIME = 10**14
# Oldest first. The id makes the order total, however many documents share a time.
ORDER = [{"@timestamp": "asc"}, {"soc.id": "asc"}]
ALL = {"match_all": {}}


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


def make_plan(elastic: Elastic, rules: t.Sequence[Rule], max_deletions: int) -> tuple[Plan, dict[str, SocError]]:
    """Read what the indices hold and decide what goes. Changes nothing.

    Returns the plan, and the indices that could not be read with the reason. Raises Refused before anything is read
    of a plan that would be too large.
    """
    over = excess(_counts(elastic, ",".join(rule.pattern for rule in rules)), rules)
    check_limits(over, max_deletions)
    entries, failures = [], {}
    for index, _count, keep in over:
        try:
            entries.append(_plan_index(elastic, index, keep))
        except SocError as exc:
            failures[index] = exc
    return Plan(tuple(entry for entry in entries if entry.victims)), failures


def _counts(elastic: Elastic, pattern: str) -> dict[str, int]:
    elastic.call("indices.refresh", index=pattern, ignore_unavailable=True)
    by_index = {"index": {"terms": {"field": "_index", "size": 10_000}}}
    answer = elastic.search(index=pattern, ignore_unavailable=True, size=0, track_total_hits=False, aggs=by_index)
    # Without a single matching index there is no aggregation at all.
    buckets = answer.get("aggregations", {}).get("index", {}).get("buckets", [])
    return {bucket["key"]: bucket["doc_count"] for bucket in buckets}


def _plan_index(elastic: Elastic, index: str, keep: int) -> IndexPlan:
    """The oldest documents beyond ``keep``. Count and order come from one point in time, so ties cannot blur the number."""
    with elastic.point_in_time(index) as view:
        count = view.count(ALL)
        number = max(count - keep, 0)
        page = min(max(number, 1), PAGE)
        oldest = view.hits(query=ALL, sort=ORDER, page=page, source=False, seq_no_primary_term=True)
        victims = tuple(
            Victim(hit["_id"], _time(hit["sort"][0]), hit["_seq_no"], hit["_primary_term"])
            for hit in itertools.islice(oldest, number)
        )
    return IndexPlan(index, count, keep, victims)


def _time(milliseconds: int) -> str:
    """The time of a sort value; documents without one come last in the order, with the greatest value that there is."""
    return "no time" if milliseconds >= NO_TIME else format_time(parse_time(milliseconds / 1000))


def carry_out(
    entry: IndexPlan, plan_hash: str, elastic: Elastic, archive_dir: str, clock: Clock, reach: Reach = nowhere
) -> dict:
    """Archive the victims of one index, verify the archive, and delete them. Returns what was done.

    A document that changed since the plan, or while it was archived, stays: the next run sees its new version.
    Raises ArchiveError before anything was deleted, AuthError and AnswerError when Elasticsearch refuses to delete.
    """
    archived, archive, manifest = _archive(entry, plan_hash, elastic, archive_dir, clock, reach)
    gone = 0
    for start in range(0, len(archived), BATCH):
        reach("mid_trim")
        outcome = elastic.bulk(b"".join(_deletion(entry.index, victim) for victim in archived[start : start + BATCH]))
        for position, status in enumerate(outcome.statuses):
            # 404: deleted by a call whose reply was lost. 409: changed since, and therefore not deleted.
            if status not in (200, 404, 409):
                kind = AuthError if status in (401, 403) else AnswerError
                raise kind(f"{entry.index}: Elasticsearch refuses to delete: {outcome.reasons.get(position, status)}.")
            gone += status != 409
    return {
        **entry.describe(),
        "archived": manifest["documents"],
        "deleted": gone,
        "changed_meanwhile": len(entry.victims) - gone,
        "archive": archive.path,
        "sha256": manifest["sha256"],
    }


def _archive(
    entry: IndexPlan, plan_hash: str, elastic: Elastic, archive_dir: str, clock: Clock, reach: Reach
) -> tuple[list[Victim], Archive, dict]:
    """A verified archive of the victims that are still as they were planned: (those, the file, its manifest)."""
    stamp = clock().strftime("%Y%m%dT%H%M%SZ")
    archive = Archive(os.path.join(archive_dir, "pruned", entry.index), f"{stamp}-{plan_hash[:12]}")
    archived: list[Victim] = []
    try:
        for start in range(0, len(entry.victims), BATCH):
            planned = {victim.id: victim for victim in entry.victims[start : start + BATCH]}
            found = elastic.call("mget", index=entry.index, ids=list(planned))["docs"]
            same = [hit for hit in found if hit.get("found") and _is_version(hit, planned[hit["_id"]])]
            archive.add(same)
            archived += [planned[hit["_id"]] for hit in same]
        reach("before_seal")
        facts = {"index": entry.index, "plan": plan_hash, "time": format_time(clock())}
        manifest = archive.seal({**facts, "oldest": entry.victims[0].time, "newest": entry.victims[-1].time})
    except SocError:
        archive.discard()
        raise
    return archived, archive, manifest


def _is_version(hit: dict, victim: Victim) -> bool:
    return (hit["_seq_no"], hit["_primary_term"]) == (victim.seq_no, victim.primary_term)


def _deletion(index: str, victim: Victim) -> bytes:
    target = {"_index": index, "_id": victim.id, "if_seq_no": victim.seq_no, "if_primary_term": victim.primary_term}
    return orjson.dumps({"delete": target}) + b"\n"


def prune(run: Run, reach: Reach = nowhere) -> dict:
    """The whole run of C(es_prune). What one index breaks does not stop the others."""
    params = run.params
    rules, elastic = rules_of(params["rules"]), connect(params)
    with contextlib.ExitStack() as stack:
        if not run.check_mode:
            stack.enter_context(lock(os.path.join(params["state_dir"], "retention", "lock")))
        plan, failures = make_plan(elastic, rules, params["max_deletions"])
        done: list[dict] = []
        if not run.check_mode:
            for entry in plan.indices:
                try:
                    done.append(carry_out(entry, plan.hash, elastic, params["archive_dir"], run.clock, reach))
                except SocError as exc:
                    failures[entry.index] = exc
        return _result(run, plan, done, failures)


def _result(run: Run, plan: Plan, done: list[dict], failures: dict[str, SocError]) -> dict:
    planned = [entry.describe() for entry in plan.indices]
    deleted = sum(entry["deleted"] for entry in done)
    result: dict = {
        "changed": bool(plan.deletions if run.check_mode else deleted),
        "plan_hash": plan.hash,
        "plan": planned,
        "planned": plan.deletions,
        "archived": sum(entry["archived"] for entry in done),
        "deleted": deleted,
        "indices": done,
        "diff": {
            "before": {entry["index"]: f"{entry['count']} documents" for entry in planned},
            "after": {
                entry[
                    "index"
                ]: f"{entry['keep']} documents; {entry['delete']} go, from {entry['oldest']} to {entry['newest']}"
                for entry in planned
            },
        },
    }
    if failures:
        first = next(iter(failures.values()))
        told = "; ".join(f"{index}: {exc.message}" for index, exc in failures.items())
        details = {index: exc.as_dict() for index, exc in failures.items()}
        result["failure"] = {"code": first.code, "message": told, "details": details}
    return result
