# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from lab.summary import LINES, identity, vendor_documents
from lab.world import World


def hit(index: str, identity: str, original: str = "{}") -> dict:
    return {"_index": index, "_source": {"event": {"id": identity, "original": original}}}


def test_what_the_soc_writes_about_itself_does_not_count() -> None:
    hits = [hit("soc-cyberalarm.alarm-acme", "a"), hit("soc-probe", "p")]
    assert vendor_documents(hits) == [("soc-cyberalarm.alarm-acme", "a")]


def test_what_is_from_a_file_is_known_by_its_line() -> None:
    (prefix,) = LINES
    (index,) = {entry["index"] for entry in lines_of(World()).values() if entry["slug"] == "gemeente-oostdijk"}
    assert index.startswith(prefix)
    assert identity(index, hit(index, "hash", "<142>Nov")["_source"]) == "<142>Nov"
    assert identity("soc-cyberalarm.alarm-acme", hit("", "a")["_source"]) == "a"


def lines_of(world: World) -> dict:
    """The entries of the truth whose ids are lines."""
    sets = world.truth()["sources"]["watchguard"]
    (found,) = [
        entry for entry in sets.values() if all(line.startswith("<") for e in entry.values() for line in e["ids"])
    ]
    return found
