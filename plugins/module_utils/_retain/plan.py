# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Which documents go: exactly all but the newest N of each index. Pure decisions; nothing here touches anything."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import typing as t

from .._core.errors import ConfigError, Refused
from .._core.ids import check_index_pattern
from .._core.libraries import orjson


@dataclasses.dataclass(frozen=True)
class Rule:
    """How many documents the indices that match ``pattern`` keep."""

    pattern: str
    keep: int


@dataclasses.dataclass(frozen=True)
class Victim:
    """One document that goes, at exactly the version that was seen: another version stays."""

    id: str
    time: str
    seq_no: int
    primary_term: int


@dataclasses.dataclass(frozen=True)
class IndexPlan:
    """What happens to one index: of ``count`` documents the newest ``keep`` stay."""

    index: str
    count: int
    keep: int
    victims: tuple[Victim, ...]

    def describe(self) -> dict:
        """The plan of this index as plain values, for results and diffs."""
        return {
            "index": self.index,
            "count": self.count,
            "keep": self.keep,
            "delete": len(self.victims),
            "oldest": self.victims[0].time,
            "newest": self.victims[-1].time,
        }


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that one run would delete. The hash names it: check mode and the real run print the same one."""

    indices: tuple[IndexPlan, ...]

    @property
    def deletions(self) -> int:
        """Number of documents that go."""
        return sum(len(entry.victims) for entry in self.indices)

    @property
    def hash(self) -> str:
        """BLAKE2b-128 over every index name, id and version in the plan."""
        digest = hashlib.blake2b(digest_size=16)
        for entry in self.indices:
            digest.update(orjson.dumps([entry.index, [[v.id, v.seq_no, v.primary_term] for v in entry.victims]]))
        return digest.hexdigest()


def rules_of(entries: t.Iterable[dict]) -> tuple[Rule, ...]:
    """Rules from the module's option. Raises ConfigError for a pattern or number that could delete too much."""
    rules = []
    for entry in entries:
        if entry["keep"] < 1:
            raise ConfigError(
                f"The rule for {entry['pattern']} keeps {entry['keep']} documents; it must keep at least 1."
            )
        pattern = check_index_pattern(entry["pattern"])
        if "*" in pattern and "." not in pattern:
            raise ConfigError(
                f"The pattern {pattern} would also match the indices that the SOC keeps for itself. Collected ones have a dot: soc-*.*-*"
            )
        rules.append(Rule(pattern, entry["keep"]))
    if not rules:
        raise ConfigError("There is no rule, so there is nothing to prune; give at least one in rules.")
    return tuple(rules)


def excess(counts: t.Mapping[str, int], rules: t.Sequence[Rule]) -> list[tuple[str, int, int]]:
    """The indices that hold more than they keep: (index, count, keep), by name. The first rule that matches counts."""
    over = []
    for index, count in sorted(counts.items()):
        rule = next((rule for rule in rules if fnmatch.fnmatchcase(index, rule.pattern)), None)
        if rule and count > rule.keep:
            over.append((index, count, rule.keep))
    return over


def check_limits(over: t.Iterable[tuple[str, int, int]], max_deletions: int) -> None:
    """Raises Refused when more goes than a site expects of one run: a typo, or a clock gone wrong.

    ``over`` is what excess() returned.
    """
    planned = {index: count - keep for index, count, keep in over}
    if sum(planned.values()) > max_deletions:
        raise Refused(
            f"The plan would delete {sum(planned.values())} documents, more than max_deletions ({max_deletions}); nothing"
            " was done. Look at the numbers in failure.details, and raise max_deletions if they are right.",
            planned=planned,
        )
