# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""From the journal to Elasticsearch. The journal's bytes are the bulk bytes: nothing is read or written twice."""

from __future__ import annotations

import dataclasses

from .._core.clock import Clock, format_time
from .._core.elastic import Elastic, split_operations
from .._core.errors import AnswerError, AuthError, Unreachable
from .._core.ids import content_digest
from .._core.libraries import orjson
from .._core.reach import Reach, nowhere
from .journal import Batch, DeadLetter, Journal
from .watch import PROBE_INDEX

NOTE = b'{"create":{"_index":"%s"' % PROBE_INDEX.encode()
# What is wrong with a document itself, whenever it is sent.
HOPELESS = (
    "document_parsing_exception",
    "illegal_argument_exception",
    "mapper_parsing_exception",
    "strict_dynamic_mapping_exception",
)


@dataclasses.dataclass
class Shipped:
    """Operations by what became of them: written, already there, impossible."""

    indexed: int = 0
    already: int = 0
    refused: int = 0


def ship(journal: Journal, elastic: Elastic, clock: Clock, reach: Reach = nowhere) -> Shipped:
    """Send what is not acknowledged yet, oldest first, and mark it.

    Sending twice is harmless (``create`` and external versions), so a crash anywhere in here costs nothing. Raises
    Unreachable or AuthError and leaves the rest for the next run.
    """
    total = Shipped()
    for batch in journal.batches():
        reach("before_bulk")
        outcome = elastic.bulk(batch.payload)
        reach("bulk_ok_reply_lost")
        refused = _refused(batch, outcome.statuses, outcome.reasons, clock)
        journal.mark_shipped(batch, refused)
        statuses = _of_vendors(batch.payload, outcome.statuses)
        total.refused += len(refused)
        total.indexed += statuses.count(200) + statuses.count(201)
        total.already += statuses.count(409)
    return total


def _of_vendors(payload: bytes, statuses: list[int]) -> list[int]:
    """``statuses`` without those of documents that the SOC makes of itself: they are not what was collected."""
    if NOTE not in payload:
        return statuses
    lines = split_operations(payload)
    return [status for line, status in zip(lines, statuses) if not line.startswith(NOTE)]


def _refused(batch: Batch, statuses: list[int], reasons: dict[int, str], clock: Clock) -> list[DeadLetter]:
    """Dead letters for the operations that can never succeed. Any other refusal stops the shipping."""
    refused, operations = [], None
    for position, status in enumerate(statuses):
        if status in (200, 201, 409):
            continue
        reason = reasons.get(position, f"status {status}")
        unfit(status, reason, "What waits is sent by the next run.")
        operations = operations or split_operations(batch.payload)
        action, source = operations[position].splitlines()
        target = next(iter(orjson.loads(action).values()))
        data_set = orjson.loads(source)["soc"]["set"]
        letter_id = content_digest([target["_id"], target.get("version")])
        refused.append(DeadLetter(letter_id, data_set, f"Elasticsearch: {reason}", format_time(clock()), source))
    return refused


def unfit(status: int, reason: str, later: str) -> None:
    """Return when Elasticsearch can never take the document itself.

    It also answers 400 to what only goes wrong now, such as a cluster that has no room for another index: only the
    kinds in HOPELESS are about the document. Raises AuthError and AnswerError where somebody must do something first,
    Unreachable otherwise; ``later`` is the sentence that says what becomes of the document then.
    """
    if status in (401, 403):
        raise AuthError(
            f"Elasticsearch does not let this identity write: {reason}. It needs create_index and index on soc-*."
        )
    if status == 404:
        raise AnswerError(
            f"Elasticsearch has no place for a document: {reason}. Deploy the index templates with site.yml."
        )
    if status != 400:
        raise Unreachable(f"Elasticsearch did not take a document (status {status}): {reason}. {later}")
    if not reason.startswith(HOPELESS) or "write index" in reason:
        raise AnswerError(f"Elasticsearch takes no documents now: {reason}. {later}")
