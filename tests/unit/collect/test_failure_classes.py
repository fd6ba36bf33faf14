# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The eight ways in which collectors of logs lose and double records, seen in the wild; each with the proof that it is none of ours.

Whole runs of a fetch module, against the vendor and the index of the crash tests, without processes and without HTTP.
"""

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import journal, run
from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import BulkOutcome
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import StateError
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run

from tests.crash.fakes import PROFILE, Index, Vendor

NOON = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())
MINUTE, HOUR, DAY = 60, 3600, 86400


class Site:
    """A vendor, an index, and a collector that comes by whenever it is asked to."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.vendor, self.index = Vendor(NOON, page_size=3, odd=False), Index()
        self.asked: list[dict] = []
        self.sent = 0
        self.journal = folder / "state/crash/journal.sqlite"
        (folder / "token").write_text("token")
        spec = run.argument_spec(PROFILE)
        self._params = {name: option.get("default") for name, option in spec.options.items()} | {
            "token_file": str(folder / "token"),
            **{name: str(folder / name.partition("_")[0]) for name in ("state_dir", "log_dir", "archive_dir")},
        }
        patch.setattr(run, "open_http", lambda *_arguments, **_options: self)
        patch.setattr(run, "connect", lambda _params: self)

    def json(
        self, method: str, url: str, *, params: t.Any = None, body: t.Any = None, repeatable: t.Any = None
    ) -> t.Any:
        """As Http.json()."""
        asked = {**(params or {}), **(body or {})}
        self.asked.append(asked)
        return self.vendor.answer(url.removeprefix(PROFILE["base_url"]), params or {}, body or {})[1]

    def excerpt(self, text: str) -> str:
        """As Http.excerpt()."""
        return text

    def bulk(self, payload: bytes) -> BulkOutcome:
        """As Elastic.bulk()."""
        items = [next(iter(item.values())) for item in self.index.bulk(payload)["items"]]
        self.sent += sum(b'"soc-crash.' in line for line in payload.splitlines()[::2])
        reasons = {place: item["error"]["type"] for place, item in enumerate(items) if "error" in item}
        return BulkOutcome([item["status"] for item in items], reasons)

    def arrive(self, name: str, ago: int = 0, late: int = 0, shape: str = "good", tenant: str = "c1") -> t.Any:
        """Something that happened ``ago`` seconds ago, which the vendor shows ``late`` seconds from now."""
        return self.vendor.add(name, self.vendor.now - ago, self.vendor.now + late, tenant, shape)

    def collect(self, name: str, **options: t.Any) -> dict:
        """One run; its result."""
        now = datetime.fromtimestamp(self.vendor.now, UTC)
        params = {**self._params, "sets": [name], **options}
        result = run.fetch(Run(params, False, lambda: now, "", lambda _text: None), PROFILE)
        assert "failure" not in result, result["failure"]
        return result

    def messages(self) -> list[str]:
        """What the documents of the index say, in order."""
        return sorted(
            body["message"] for (index, _id), (_version, body) in self.index.documents.items() if index != "soc-probe"
        )

    def letters(self) -> list[str]:
        """Why records could not be used."""
        with journal.Journal(str(self.journal.parent)) as opened:
            return [row["reason"] for row in opened._query("SELECT reason FROM dead_letter ORDER BY id")]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


# 1. The cursor is lost at a restart, and the whole catalogue is walked again.


def test_class_1_a_restart_goes_on_from_the_cursor(site: Site) -> None:
    for day in range(9):
        site.arrive("flows", ago=day * DAY)
    assert site.collect("flows")["sets"]["flows"]["fetched"] == 9
    site.asked.clear()
    site.vendor.now += 5 * MINUTE
    tally = site.collect("flows")["sets"]["flows"]  # each run opens everything anew
    assert (tally["fetched"], tally["known"]) == (1, 1)
    assert {asked["from"] for asked in site.asked if "from" in asked} == {"2026-11-20T11:20:00.000Z"}


def test_class_1_state_that_cannot_be_read_is_told_and_not_begun_anew(site: Site) -> None:
    site.arrive("flows")
    site.collect("flows")
    for leftover in site.journal.parent.glob("journal.sqlite-*"):
        leftover.unlink()
    site.journal.write_bytes(b"\0" * 4096)
    with pytest.raises(StateError):
        site.collect("flows")


# 2. The key is too narrow: what shares it is taken for a copy, and lost in silence.


def test_class_2_key_too_narrow_loses_nothing(site: Site) -> None:
    first, other = site.arrive("flows"), site.arrive("flows", ago=1, shape="clash")
    assert (other.id, other.tenant) == (first.id, first.tenant)
    result = site.collect("flows")
    assert (site.messages(), result["dead_letters"]) == ([other.text], 1)
    assert "another event has its id" in site.letters()[0]
    assert site.collect("flows")["dead_letters"] == 0


def test_class_2_companies_may_use_the_same_ids(site: Site) -> None:
    first, other = site.arrive("flows"), site.arrive("flows", ago=1, shape="twin")
    assert other.id == first.id
    site.collect("flows")
    assert site.messages() == sorted([first.text, other.text])
    assert len({index for index, _id in site.index.documents if index.startswith("soc-crash")}) == 2


def test_class_2_a_record_without_its_key_is_kept_and_told(site: Site) -> None:
    for _record in range(2):
        site.arrive("flows", shape="no_id")
    assert (site.collect("flows")["dead_letters"], site.messages()) == (2, [])
    assert site.letters() == ["it has no id that can be used"] * 2


def test_class_2_without_ids_the_content_tells_records_of_one_moment_apart(site: Site) -> None:
    texts = [site.arrive("flows").text for _record in range(4)]
    by_content = {"sets": {"flows": {"id": "@hash"}}}
    site.collect("flows", profile=by_content)
    assert site.messages() == sorted(texts)


# 3. There is no key: every poll brings a copy.


@pytest.mark.parametrize("identity", ["id", "@hash"])
def test_class_3_collecting_again_makes_no_copies(site: Site, identity: str) -> None:
    for _record in range(4):
        site.arrive("flows")
    for _poll in range(4):
        site.collect("flows", profile={"sets": {"flows": {"id": identity}}})
        site.vendor.now += 5 * MINUTE
    assert len(site.messages()) == 4
    assert site.sent == 4


def test_class_3_what_always_moves_is_no_part_of_the_content(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.arrive("flows")
    body = site.vendor._body
    monkeypatch.setattr(site.vendor, "_body", lambda record: {**body(record), "age": site.vendor.now - record.time})
    for _poll in range(3):
        site.collect("flows", profile={"sets": {"flows": {"id": "@hash", "volatile": ["age"]}}})
        site.vendor.now += 5 * MINUTE
    assert len(site.messages()) == 1


# 4. The vendor shows records late, behind the cursor.


@pytest.mark.parametrize(("look_back", "found"), [("40m", True), ("0s", False)], ids=["look-back", "none: lost"])
def test_class_4_late_records_need_the_look_back(site: Site, look_back: str, found: bool) -> None:
    late = site.arrive("flows", ago=5 * MINUTE, late=25 * MINUTE)
    site.arrive("flows")
    site.collect("flows", look_back=look_back)
    assert late.text not in site.messages()
    site.vendor.now += HOUR
    site.collect("flows", look_back=look_back)
    assert (late.text in site.messages()) == found


# 5. The look-back was taken out again, because it brought copies.


def test_class_5_the_look_back_brings_no_copies(site: Site) -> None:
    texts = [site.arrive("flows", ago=ago * MINUTE).text for ago in range(12)]
    for _poll in range(6):
        tally = site.collect("flows")["sets"]["flows"]
        site.vendor.now += 5 * MINUTE
    assert (tally["fetched"], tally["known"]) == (12, 12)
    assert (site.messages(), site.sent) == (sorted(texts), 12)
    assert not site.index.rewritten


# 6. The same id in two indices, because the index follows from the time of writing.


def test_class_6_a_document_has_one_home_for_life(site: Site) -> None:
    record = site.arrive("issues")
    for name in ("Acme NV", "Acme Group", "..."):
        site.vendor.names["c1"] = name
        record.reviewed = not record.reviewed
        site.collect("issues")
        site.vendor.now += 31 * DAY
    assert [index for index, _id in site.index.documents if index != "soc-probe"] == ["soc-crash.issues-acme-nv"]


# 7. A document does not fit the mapping, is refused, and takes others with it or is lost.


def test_class_7_a_document_that_is_refused_is_kept_and_the_others_go_on(site: Site) -> None:
    texts = [site.arrive("flows").text, site.arrive("flows", shape="poison").text, site.arrive("flows").text]
    result = site.collect("flows")
    assert (result["waiting"], result["dead_letters"]) == (0, 1)
    assert site.messages() == sorted([texts[0], texts[2]])
    assert site.letters() == ["Elasticsearch: document_parsing_exception"]
    assert site.collect("flows")["dead_letters"] == 0


def test_class_7_a_value_that_does_not_fit_costs_the_value_alone(site: Site) -> None:
    record = site.arrive("flows", shape="misfit")
    assert site.collect("flows")["dead_letters"] == 1
    ((_version, body),) = [found for (index, _id), found in site.index.documents.items() if index != "soc-probe"]
    assert (body["message"], body["soc"]["rejected"]) == (record.text, ["source.ip"])
    assert json.loads(body["event"]["original"])["src_ip"] == "not an address"


# 8. A source goes silent, and nobody notices.


def test_class_8_a_source_that_falls_silent_is_told(site: Site) -> None:
    for hour in range(9 * 24):
        site.arrive("flows", ago=hour * HOUR)
    assert site.collect("flows")["silent"] == {}
    site.vendor.now += 2 * HOUR
    assert site.collect("flows")["silent"] == {}
    site.vendor.now += timedelta(days=1).total_seconds()
    sentence = site.collect("flows")["silent"]["flows"]
    assert sentence.startswith("Nothing new came since 2026-11-20 12:00 UTC, for ")
    probe = [body for (index, _id), (_version, body) in site.index.documents.items() if index == "soc-probe"][-1]
    assert (probe["soc"]["run"]["silent"], probe["message"]) == (True, sentence)
