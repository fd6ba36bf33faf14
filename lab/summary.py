# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the lab's figures are what the simulators know to be true. Pure: facts in, checks out."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.netcure.soc.plugins.module_utils._core.ids import index_name

from lab.world import PROFILES

# What the SOC writes about itself; no vendor sent it.
OWN = ("soc-probe",)
# Whose source a module fetches.
FETCHED = {
    "cyberalarm_fetch": "cyberalarm",
    "g360_fetch": "guardian360",
    "watchguard_fetch": "watchguard",
}
# Where documents are lines of files. The product gives each an id of its own; what a person knows is the line.
LINES = tuple(
    index_name(source, entry.get("index", name), "")
    for source, profile in PROFILES.items()
    for name, entry in profile["sets"].items()
    if entry.get("files")
)


@dataclasses.dataclass(frozen=True)
class Facts:
    """Everything that was seen after a run.

    ``indexed`` and ``archived`` hold (index, vendor id) of each vendor document, (index, line) of what is from a file.
    """

    steps: list[dict]
    truth: dict
    world: dict
    indexed: list[tuple[str, str]]
    archived: list[tuple[str, str]]
    mails: list[str]  # Message-IDs of the calls in VocalNotify's mailbox
    export_rows: set[tuple[str, ...]]
    keep: int


@dataclasses.dataclass(frozen=True)
class Check:
    """One figure: what the simulators know, and what the SOC has."""

    name: str
    true: t.Any
    seen: t.Any

    @property
    def ok(self) -> bool:
        return self.true == self.seen


def vendor_documents(hits: t.Iterable[dict]) -> list[tuple[str, str]]:
    """(index, vendor id, or the line) of those hits of Elasticsearch that came from a vendor."""
    return [(hit["_index"], identity(hit["_index"], hit["_source"])) for hit in hits if hit["_index"] not in OWN]


def identity(index: str, source: dict) -> str:
    """By what the simulators know a document: the vendor's id, or the line that it was made from."""
    return source["event"]["original" if index.startswith(LINES) else "id"]


def results(step: dict, module: str) -> list[dict]:
    """What a module returned in a step, once for each time that it ran."""
    return [result for result in step["results"] if result["module"].endswith(module)]


def tally(steps: t.Iterable[dict], name: str) -> int:
    """The sum of a figure over all data sets that the fetch modules collected in ``steps``."""
    return sum(entry[name] for step in steps for result in results(step, "_fetch") for entry in result["sets"].values())


def total(truth: dict) -> int:
    """How many documents a complete collector has."""
    return sum(
        company["count"] for sets in truth["sources"].values() for entry in sets.values() for company in entry.values()
    )


def by_set(truth: dict) -> collections.Counter:
    """How many documents there are of each (source, set)."""
    return collections.Counter(
        {
            (source, name): sum(company["count"] for company in entry.values())
            for source, sets in truth["sources"].items()
            for name, entry in sets.items()
        }
    )


def collected(step: dict) -> set[tuple[str, str]]:
    """The (source, set) that the fetch modules asked for in a step."""
    return {(FETCHED[result["module"]], name) for result in results(step, "_fetch") for name in result["sets"]}


def true_documents(truth: dict) -> set[tuple[str, str]]:
    """(index, vendor id) of every document that a complete collector has."""
    return {
        (company["index"], identity)
        for sets in truth["sources"].values()
        for entry in sets.values()
        for company in entry.values()
        for identity in company["ids"]
    }


def duplicates(facts: Facts) -> int:
    """Documents that are there more than once, in the indices and the archive together."""
    counts = collections.Counter(facts.indexed + facts.archived)
    return sum(count - 1 for count in counts.values())


def true_calls(world: dict) -> list[tuple[str, int]]:
    """(company's slug, level) of the incidents that no analyst has looked at."""
    reviewed = {identity.split("-")[1] for identity in world["reviews"] if identity.startswith("al-x")}
    incidents = enumerate(world["incidents"])
    return sorted((entry["company"], entry["level"]) for number, entry in incidents if f"x{number:03d}" not in reviewed)


def checks(facts: Facts, slugs: dict[str, str]) -> list[Check]:
    """All figures of a run, side by side. ``slugs`` gives the slug of each company's name."""
    found: list[Check] = []
    truth: collections.Counter = collections.Counter()
    before: collections.Counter = collections.Counter()
    for step in facts.steps:
        if step["truth"]:
            truth = by_set(step["truth"])
        elif results(step, "_fetch"):
            asked = collected(step)
            true = sum(truth[key] - before[key] for key in asked)
            found.append(Check(f"{step['name']}: new documents", true, tally([step], "new")))
            before.update({key: truth[key] - before[key] for key in asked})
    present, archived = set(facts.indexed), set(facts.archived)
    calls = [call for step in facts.steps for result in results(step, "escalate") for call in result["calls"]]
    pruned = [result for step in facts.steps for result in results(step, "es_prune")]
    counts = collections.Counter(index for index, _identity in true_documents(facts.truth) if ".alarm-" in index)
    excess = sum(max(0, count - facts.keep) for count in counts.values())
    reports = [result for step in facts.steps for result in results(step, "render_report")]
    return [
        *found,
        Check("documents collected", total(facts.truth), tally(facts.steps, "new")),
        Check("documents indexed or archived", len(true_documents(facts.truth)), len(present | archived)),
        Check("documents lost", 0, len(true_documents(facts.truth) - present - archived)),
        Check("documents nobody sent", 0, len((present | archived) - true_documents(facts.truth))),
        Check("duplicates", 0, duplicates(facts)),
        Check("dead letters", 0, tally(facts.steps, "dead_letters")),
        Check("documents pruned", excess, sum(result["deleted"] for result in pruned)),
        Check("documents archived before that", excess, len(facts.archived)),
        Check("calls", true_calls(facts.world), sorted((slugs[call["company"]], call["level"]) for call in calls)),
        Check("mails at VocalNotify", sorted(call["message_id"] for call in calls), sorted(facts.mails)),
        Check(
            "occurrences in the report",
            len(facts.export_rows),
            sum(result["counts"]["occurrences"] for result in reports),
        ),
    ]
