# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collector tells of itself: probes, silence, lateness, and three ledgers compared."""

from __future__ import annotations

import math
import random
import typing as t
from datetime import UTC, datetime, timedelta, timezone

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import watch
from ansible_collections.netcure.soc.plugins.module_utils._collect.watch import SilenceRules, silent

HOUR = timedelta(hours=1)
# A Wednesday.
NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
PROVIDER = {"id": "provider", "name": "Provider", "note": "not for the document"}


class TestProbe:
    START = datetime(2026, 11, 18, 12, 0, 0, 250_000, tzinfo=UTC)

    def document(self, **facts: object) -> tuple[str, dict]:
        tally = {"fetched": 5, "new": 3, "known": 2, "cursor_after": "2026-11-18T11:59:00.000Z"}
        end = self.START + timedelta(seconds=1.5)
        return watch.probe_document("guardian360", "probes", self.START, end, tally, facts, PROVIDER)

    def test_what_a_good_run_tells(self) -> None:
        identity, body = self.document(waiting=4, newest=self.START - timedelta(seconds=60))
        assert body["@timestamp"] == body["event"]["end"] == "2026-11-18T12:00:01.750Z"
        assert body["organization"] == {"id": "provider", "name": "Provider"}
        event = body["event"]
        assert (event["kind"], event["dataset"], event["module"]) == ("metric", "soc.probe", "guardian360")
        assert (event["duration"], event["outcome"], event["start"]) == (
            1_500_000_000,
            "success",
            "2026-11-18T12:00:00.250Z",
        )
        assert body["soc"]["id"] == event["id"] == identity
        run = body["soc"]["run"]
        assert (run["fetched"], run["new"], run["known"], run["skipped"], run["waiting"]) == (5, 3, 2, 0, 4)
        assert (run["lag"], run["silent"], run["error"], run["gap"]) == (61.5, False, None, None)
        assert "cursor_after" not in run and "message" not in body

    def test_a_run_that_failed_and_a_source_that_is_silent(self) -> None:
        _id, body = self.document(error="unreachable", silent="Nothing new came.", gap=2, dup=1)
        assert body["event"]["outcome"] == "failure"
        assert body["message"] == "Nothing new came."
        run = body["soc"]["run"]
        assert (run["error"], run["silent"], run["gap"], run["dup"], run["lag"]) == ("unreachable", True, 2, 1, None)

    def test_the_id_is_that_of_source_set_and_start(self) -> None:
        def identity(source: str, data_set: str, start: datetime) -> str:
            return watch.probe_document(source, data_set, start, start + HOUR, {}, {}, PROVIDER)[0]

        base = identity("a", "b", NOW)
        assert identity("a", "b", NOW) == base
        others = [identity("c", "b", NOW), identity("a", "c", NOW), identity("a", "b", NOW + HOUR)]
        assert len({base, *others}) == 4


def key(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def steady(
    per_hour: int, days: float, until: datetime = NOW, only: t.Callable[[datetime], bool] = lambda _hour: True
) -> dict[datetime, int]:
    hours = (until - HOUR * n for n in range(1, int(days * 24) + 1))
    return {key(hour): per_hour for hour in hours if only(hour)}


class TestSilence:
    def test_the_alarm_comes_when_seven_records_are_missing(self) -> None:
        counts = steady(2, 7)
        newest = NOW - timedelta(minutes=1)
        assert silent(counts, newest, newest + 3.4 * HOUR) is None  # 6.8 to be expected
        found = silent(counts, newest, newest + 3.5 * HOUR)
        assert found and found.since == newest
        assert found.expected == pytest.approx(7.0)
        assert (
            "2026-11-18 11:59 UTC" in found.sentence and "3.5 hours" in found.sentence and "7 records" in found.sentence
        )

    def test_records_that_keep_coming_raise_none(self) -> None:
        assert silent(steady(200, 7), NOW - timedelta(minutes=1), NOW) is None
        assert silent(steady(200, 7), NOW, NOW) is None
        assert silent(steady(200, 7), NOW + HOUR, NOW) is None
        assert silent({}, None, NOW, SilenceRules(silent_after=HOUR)) is None

    def test_two_days_of_history_are_needed(self) -> None:
        newest = NOW - timedelta(minutes=1)
        assert silent(steady(50, 1.9), newest, newest + 5 * HOUR) is None
        assert silent(steady(50, 2.1), newest, newest + 5 * HOUR)

    def test_a_quiet_night_is_no_silence(self) -> None:
        counts = steady(40, 7, only=lambda hour: 7 <= hour.hour < 19)
        evening = datetime(2026, 11, 17, 18, 59, tzinfo=UTC)
        assert silent(counts, evening, evening + 12 * HOUR) is None
        assert silent(counts, evening, evening + 13 * HOUR)

    def test_a_quiet_weekend_is_no_silence(self) -> None:
        friday = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
        counts = steady(40, 14, friday, only=lambda hour: hour.weekday() < 5)
        assert silent(counts, friday, friday + 47 * HOUR) is None
        assert silent(counts, friday, friday + 49 * HOUR)

    def test_a_first_weekend_is_not_judged(self) -> None:
        friday = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
        assert silent(steady(40, 4, friday.replace(minute=0)), friday, friday + 40 * HOUR) is None

    def test_a_storm_does_not_teach_that_storms_are_usual(self) -> None:
        counts = steady(1, 7)
        counts[key(NOW - 23 * HOUR)] = 50_000  # yesterday between 13 and 14 o'clock
        newest = NOW + timedelta(minutes=30)
        assert silent(counts, newest, newest + 2 * HOUR) is None

    def test_a_rare_source_is_judged_by_the_whole_stretch(self) -> None:
        counts = {key(NOW - HOUR * n): 1 for n in range(1, 168, 6)}  # four a day
        newest = NOW - HOUR
        assert silent(counts, newest, newest + timedelta(days=1.4)) is None
        assert silent(counts, newest, newest + timedelta(days=2)).expected == pytest.approx(8, abs=0.5)

    def test_what_is_older_than_a_week_does_not_count(self) -> None:
        counts = {**steady(500, 14), **steady(1, 7)}
        assert silent(counts, NOW - timedelta(minutes=1), NOW + 5 * HOUR) is None

    def test_the_limit_of_a_person_counts_whatever_the_rate(self) -> None:
        rules = SilenceRules(silent_after=timedelta(hours=2))
        assert silent({}, NOW, NOW + 2 * HOUR, rules) is None
        found = silent({}, NOW, NOW + 2.5 * HOUR, rules)
        assert found and "at most 2 hours is allowed" in found.sentence
        # And it takes nothing away from the rate.
        assert silent(steady(100, 7), NOW, NOW + HOUR, rules)

    def test_hours_are_those_of_utc_in_whatever_zone_the_times_come(self) -> None:
        brussels = timezone(HOUR)
        newest = NOW - timedelta(minutes=1)
        assert silent(steady(2, 7), newest.astimezone(brussels), (newest + 4 * HOUR).astimezone(brussels)) == silent(
            steady(2, 7), newest, newest + 4 * HOUR
        )

    def test_a_source_of_pure_chance_hardly_ever_alarms(self) -> None:
        rng = random.Random(7)
        start, times, at = NOW - timedelta(days=8), [], 0.0
        while at < 60 * 24:  # two months, three an hour
            at += rng.expovariate(3)
            times.append(start + HOUR * at)
        counts: dict[datetime, int] = {}
        alarms = 0
        for before, after in zip(times, times[1:]):
            counts[key(before)] = counts.get(key(before), 0) + 1
            if after - before > HOUR:
                alarms += silent(counts, before, after) is not None
        assert alarms / len(times) < 0.003


@pytest.mark.parametrize(
    ("span", "words"),
    [(45, "45 seconds"), (119, "119 seconds"), (720, "12 minutes"), (19800, "5.5 hours"), (259200, "3 days")],
)
def test_a_duration_in_words(span: float, words: str) -> None:
    assert watch.duration(timedelta(seconds=span)) == words


class TestLookBack:
    def test_lateness_is_the_distance_behind_the_cursor(self) -> None:
        assert watch.lateness(NOW, None) is None
        assert watch.lateness(NOW, NOW - HOUR) == 0
        assert watch.lateness(NOW - HOUR, NOW) == 3600

    @pytest.mark.parametrize(
        ("seconds", "bucket"), [(-5, 0), (0, 0), (1, 0), (1.5, 1), (2, 1), (3, 2), (1024, 10), (1025, 11)]
    )
    def test_buckets_are_powers_of_two(self, seconds: float, bucket: int) -> None:
        assert watch.lag_bucket(seconds) == bucket

    def test_a_percentile_is_within_its_bucket(self) -> None:
        assert watch.percentile({}, 0.999) is None
        assert watch.percentile({0: 10}, 0.5) == pytest.approx(0.5)
        assert watch.percentile({0: 999, 11: 1}, 0.999) == pytest.approx(1.0)
        assert watch.percentile({0: 990, 11: 10}, 0.999) == pytest.approx(1024 + 0.9 * 1024)
        assert watch.percentile({11: 100, 0: 0}, 1) == 2048

    def test_a_percentile_of_many_is_near_the_true_one(self) -> None:
        rng = random.Random(3)
        lags = sorted(rng.expovariate(1 / 300) for _again in range(20_000))
        buckets: dict[int, int] = {}
        for lag in lags:
            buckets[watch.lag_bucket(lag)] = buckets.get(watch.lag_bucket(lag), 0) + 1
        true = lags[math.ceil(0.999 * len(lags)) - 1]
        assert watch.percentile(buckets, 0.999) == pytest.approx(true, rel=0.5)

    def test_a_look_back_below_twice_the_lateness_is_told(self) -> None:
        late = {0: 4900, 11: 100}  # two in a hundred come 17 to 34 minutes late
        advice = watch.look_back_advice(late, timedelta(minutes=40))
        assert advice and "33.3 minutes late" in advice and "look-back is 40 minutes" in advice
        assert "Set look_back to 67m." in advice
        assert watch.look_back_advice(late, timedelta(minutes=67)) is None

    def test_a_few_records_say_nothing(self) -> None:
        assert watch.look_back_advice({11: 999}, timedelta(minutes=1)) is None
        assert watch.look_back_advice({11: 1000}, timedelta(minutes=1))


class TestReconcile:
    ONE, TWO = NOW - 2 * HOUR, NOW - HOUR

    def test_three_equal_ledgers(self) -> None:
        ids = {self.ONE: ["a", "b"], self.TWO: ["c"]}
        rows = watch.reconcile(ids, ids, {self.ONE: 2, self.TWO: 1})
        assert [row.hour for row in rows] == [self.ONE, self.TWO]
        assert not any(row.differs for row in rows)
        total = watch.totals(rows)
        assert (total.vendor, total.journal, total.index, total.gap, total.dup) == (3, 3, 3, 0, 0)

    def test_one_too_few_and_one_too_many_are_two_faults(self) -> None:
        (row,) = watch.reconcile({self.ONE: ["a", "b"]}, {self.ONE: ["b", "x"]}, {self.ONE: 3})
        assert (row.vendor, row.journal, row.missing, row.gap, row.dup) == (2, 2, ("a",), 1, 1)

    def test_what_the_index_lacks_is_a_gap(self) -> None:
        (row,) = watch.reconcile({self.ONE: ["a", "b"]}, {self.ONE: ["a", "b"]}, {})
        assert (row.index, row.gap, row.dup) == (0, 2, 0)

    def test_what_only_the_index_has_is_a_duplicate(self) -> None:
        (row,) = watch.reconcile({}, {}, {self.ONE: 2})
        assert (row.hour, row.gap, row.dup) == (self.ONE, 0, 2)

    def test_an_index_that_was_not_asked_lacks_nothing(self) -> None:
        rows = watch.reconcile({self.ONE: ["a"]}, {self.ONE: ["a"]}, None)
        assert (rows[0].index, rows[0].gap, watch.totals(rows).index) == (None, 0, None)
        assert watch.table(rows).splitlines()[-1].split() == ["total", "1", "1", "-", "0", "0"]

    def test_dead_letters_and_other_levels_are_excused(self) -> None:
        (row,) = watch.reconcile({self.ONE: ["a", "dead"]}, {self.ONE: ["a"]}, {self.ONE: 1}, excused={"dead"})
        assert not row.differs

    def test_a_record_whose_time_was_corrected_is_there(self) -> None:
        rows = watch.reconcile({self.TWO: ["a"]}, {self.ONE: ["a"]}, {self.ONE: 1})
        assert not any(row.differs for row in rows)

    def test_what_the_vendor_has_forgotten_is_no_fault(self) -> None:
        (row,) = watch.reconcile({}, {self.ONE: ["a"]}, {self.ONE: 1})
        assert not row.differs

    def test_the_table_shows_the_hours_that_differ(self) -> None:
        ids = {self.ONE: ["a", "b"], self.TWO: ["c"]}
        lines = watch.table(watch.reconcile(ids, {self.ONE: ["a", "b"]}, {self.ONE: 2})).splitlines()
        assert len(lines) == 3 and len({len(line) for line in lines}) == 1
        assert lines[1].split() == ["2026-11-18", "11:00", "1", "0", "0", "1", "0"]
        assert lines[2].split() == ["total", "3", "2", "2", "1", "0"]
