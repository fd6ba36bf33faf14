# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""watchguard_fetch: files that a syslog server writes, the simulated cloud, and a real Elasticsearch."""

from __future__ import annotations

import collections
import gzip
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time

from tests.conftest import Search, run_here, run_module, true_ids


class WatchGuard:
    """The module with the options of the lab."""

    def __init__(self, vendors: t.Any, search: Search, folder: Path) -> None:
        self.vendors, self.log = vendors, vendors.syslog
        self.log.catch_up(vendors.world)
        options = dict(vendors.endpoints()["watchguard"])
        del options["token_file"]  # the real vendor gives tokens to clients only
        self.options = {
            **options,
            "state_dir": str(folder / "state"),
            "log_dir": str(folder / "log"),
            "archive_dir": str(folder / "archive"),
            "profile": {"retry": {"backoff": 0.01, "longest": 1}},
            **search.options("collector"),
        }

    def run(self, *flags: str, ansible: bool = False, **options: t.Any) -> t.Any:
        """One run, in this process or through Ansible."""
        options = {**self.options, "now": format_time(self.vendors.world.now), **options}
        return (run_module if ansible else run_here)("watchguard_fetch", options, *flags)

    def later(self, hours: float = 1) -> None:
        """Time goes by, and the Fireboxes log."""
        self.vendors.world.advance(hours * 3600)
        self.log.catch_up(self.vendors.world)

    def written(self) -> collections.Counter:
        """Every line on disk."""
        lines: collections.Counter = collections.Counter()
        for path in self.log.home.glob("firebox.log*"):
            text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            lines.update(text.decode().splitlines())
        return lines


@pytest.fixture
def watchguard(vendors: t.Any, search: Search, tmp_path: Path) -> WatchGuard:
    return WatchGuard(vendors, search, tmp_path)


def indexed(search: Search) -> collections.Counter:
    """Every line in Elasticsearch."""
    return collections.Counter(
        hit["_source"]["event"]["original"] for hit in search.documents("soc-watchguard.firebox-*")
    )


def test_check_collect_rotate_and_again(watchguard: WatchGuard, search: Search, tmp_path: Path) -> None:
    rehearsed = watchguard.run("--check", "--diff", ansible=True)
    assert rehearsed.changed and not rehearsed.failed, rehearsed.output
    assert not (tmp_path / "state").exists() and not search.documents()

    first = watchguard.run("--diff", ansible=True)
    assert first.changed and first.sets == rehearsed.sets, first.output
    assert indexed(search) == watchguard.written() and first.dead_letters == 0
    assert first.assumed == ["incidents"]
    assert watchguard.run(ansible=True).changed is False

    watchguard.later()
    watchguard.log.put_aside()
    rotated = watchguard.log.path.with_name("firebox.log.1")
    watchguard.later()
    rotated.with_name("firebox.log.1.gz").write_bytes(gzip.compress(rotated.read_bytes()))
    rotated.unlink()
    second = watchguard.run(sets=["firebox"])
    assert not second.failed and second.dead_letters == 0, second.output
    assert indexed(search) == watchguard.written()
    assert second.sets["firebox"]["known"] == 0


def test_documents_say_what_happened_and_whose_it_is(watchguard: WatchGuard, search: Search) -> None:
    watchguard.run(sets=["firebox"])
    serials = {serial: company["id"] for serial, company in watchguard.options["devices"].items()}
    bodies = [hit["_source"] for hit in search.documents("soc-watchguard.firebox-*")]
    for body in bodies:
        assert serials[body["observer"]["serial_number"]] == body["organization"]["id"]
        assert body["event"]["code"] in body["event"]["original"]
        assert (body["event"]["kind"] == "alert") == ("level" in body["soc"])
        assert "rejected" not in body["soc"]
    denied = [body for body in bodies if body["event"].get("action") == "deny"]
    assert denied and all({"source", "destination", "network"} <= body.keys() for body in denied)


def test_the_set_of_files_needs_no_account(watchguard: WatchGuard, search: Search) -> None:
    for name in ("client_id", "client_secret_file", "api_key_file", "accounts"):
        del watchguard.options[name]
    done = watchguard.run(sets=["firebox"], ansible=True)
    assert not done.failed and indexed(search) == watchguard.written(), done.output


def test_a_device_that_nobody_knows_waits_until_somebody_does(watchguard: WatchGuard, search: Search) -> None:
    devices = dict(watchguard.options["devices"])
    stranger, owner = devices.popitem()
    first = watchguard.run(sets=["firebox"], devices=devices)
    strange = sum(count for line, count in watchguard.written().items() if stranger in line)
    assert strange and first.dead_letters == strange and not first.failed
    assert sum(indexed(search).values()) == sum(watchguard.written().values()) - strange
    assert watchguard.run(sets=["firebox"], devices=devices).dead_letters == 0
    watchguard.run(sets=["firebox"], devices={**devices, stranger: owner})
    assert indexed(search) == watchguard.written()


def test_lines_that_are_gone_are_told_once(watchguard: WatchGuard, search: Search) -> None:
    watchguard.run(sets=["firebox"])
    before = watchguard.written()
    watchguard.log.path.write_text("no line of a firewall\n")
    lost = watchguard.run(sets=["firebox"])
    assert lost.dead_letters == 2 and not lost.failed, lost.output
    assert watchguard.run(sets=["firebox"]).dead_letters == 0
    assert indexed(search) == before


def test_files_that_cannot_be_found_fail_the_set_and_not_the_others(watchguard: WatchGuard, search: Search) -> None:
    done = watchguard.run(syslog_files=[str(watchguard.log.path), "/nowhere/*.log"])
    assert done.failed and done.failure["code"] == "state_unusable", done.output
    assert "No file matches /nowhere/*.log" in done.msg
    assert indexed(search) == watchguard.written()
    assert search.documents("soc-watchguard.incident-*")


def test_incidents_of_every_account_once_and_closed_where_they_were_closed(
    watchguard: WatchGuard, search: Search
) -> None:
    def incidents() -> dict[str, dict]:
        return {hit["_source"]["event"]["id"]: hit["_source"] for hit in search.documents("soc-watchguard.incident-*")}

    done = watchguard.run(sets=["incidents"], ansible=True)
    assert not done.failed, done.output
    assert set(incidents()) == {
        identity for _index, identity in true_ids(watchguard.vendors, "watchguard", "incidents")
    }
    watchguard.vendors.world.review(sorted(incidents())[0])
    again = watchguard.run(sets=["incidents"])
    assert again.sets["incidents"]["changed"] == 1, again.output
    assert [body["soc"]["reviewed"] for _key, body in sorted(incidents().items())].index(True) == 0
