# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.argspec import ArgumentSpec, common, elasticsearch
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import (
    clock,
    format_time,
    parse_duration,
    parse_time,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import ConfigError, Locked, StateError
from ansible_collections.netcure.soc.plugins.module_utils._core.ids import (
    check_index_pattern,
    content_digest,
    document_id,
    index_name,
    slug,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.secrets import (
    excerpt,
    header_value,
    read_secret,
    redact,
    secret_option,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.state import (
    atomic_write,
    lock,
    open_database,
    open_read_only,
    transaction,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class TestClock:
    @pytest.mark.parametrize(
        "value",
        [
            "2026-11-20T12:00:00Z",
            "2026-11-20T12:00:00.000+00:00",
            "2026-11-20 12:00:00",
            "2026-11-20T13:00:00+01:00",
            1795176000,
            1795176000000,
            "1795176000",
        ],
    )
    def test_reads_what_vendors_write(self, value: object) -> None:
        assert parse_time(value) == NOON

    def test_text_without_offset_is_in_the_zone_of_the_profile(self) -> None:
        assert parse_time("2026-11-20 13:00:00", "Europe/Brussels") == NOON
        assert parse_time("2026-07-20 14:00:00", "Europe/Brussels") == datetime(2026, 7, 20, 12, tzinfo=UTC)

    @pytest.mark.parametrize("value", [None, "", "yesterday", True, {}, "2026-13-01", 1e300, float("nan")])
    def test_refuses_what_is_no_time(self, value: object) -> None:
        with pytest.raises(ValueError, match="is not a time"):
            parse_time(value)

    def test_stands_still_when_told(self) -> None:
        assert clock("2026-11-20T12:00:00Z")() == NOON
        assert abs(clock()() - datetime.now(UTC)) < timedelta(minutes=1)
        with pytest.raises(ConfigError, match="The option now is not a time"):
            clock("noon")

    def test_writes_milliseconds(self) -> None:
        assert format_time(NOON.replace(microsecond=1999)) == "2026-11-20T12:00:00.001Z"

    def test_durations(self) -> None:
        assert parse_duration("15m") == timedelta(minutes=15)
        assert parse_duration("1.5h") == timedelta(minutes=90)
        for wrong in ("", "15", "m", "15 minutes", "-15m", None):
            with pytest.raises(ConfigError, match="is not a duration"):
                parse_duration(wrong)


class TestArgumentSpec:
    def test_merge_keeps_options_and_rules_of_both(self) -> None:
        one = ArgumentSpec({"a": {}}, mutually_exclusive=[("a", "b")], required_by={"a": "b"})
        other = ArgumentSpec({"b": {}}, mutually_exclusive=[("b", "c")], required_by={"b": "c"})
        kwargs = one.merge(other).to_kwargs()
        assert kwargs["argument_spec"] == {"a": {}, "b": {}}
        assert kwargs["mutually_exclusive"] == [("a", "b"), ("b", "c")]
        assert kwargs["required_by"] == {"a": "b", "b": "c"}
        assert one.to_kwargs()["argument_spec"] == {"a": {}}

    def test_an_option_defined_twice_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="now"):
            common().merge(common())

    def test_secrets_are_marked_and_have_no_default(self) -> None:
        for name in ("elasticsearch_api_key", "elasticsearch_password"):
            option = elasticsearch().options[name]
            assert option["no_log"] is True
            assert "default" not in option


class TestIds:
    def test_an_id_is_stable_and_short(self) -> None:
        # Computed once by hand; ids that change with a release would double every document.
        assert document_id("cyberalarm", "logs", "c1", "al-1") == "053ed0b03b931b1c6086d660ca7773c0"

    def test_parts_cannot_run_into_each_other(self) -> None:
        assert document_id("a", "b", "c1", "2") != document_id("a", "b", "c", "12")
        assert document_id('a","b', "", "c", "d") != document_id("a", 'b","', "c", "d")

    def test_content_does_not_depend_on_order(self) -> None:
        assert (
            content_digest({"a": 1, "b": [2]})
            == content_digest({"b": [2], "a": 1})
            != content_digest({"a": 1, "b": [3]})
        )

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("Acme NV", "acme-nv"),
            ("Café Ünal & Zonen B.V.", "cafe-unal-zonen-b-v"),
            ("--x--", "x"),
            ("***", ""),
            ("a" * 99, "a" * 60),
        ],
    )
    def test_slug(self, name: str, expected: str) -> None:
        assert slug(name) == expected

    def test_index_names(self) -> None:
        assert index_name("guardian360", "hacker_alerts", "acme") == "soc-guardian360.hacker-alerts-acme"
        assert check_index_pattern("soc-*.alarm-*") == "soc-*.alarm-*"
        for foreign in (".kibana", "*", "logs-*", "soc-*,.security", "-soc-x"):
            with pytest.raises(ConfigError, match="refused"):
                check_index_pattern(foreign)


class TestSecrets:
    def test_reads_one_line(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("abc\n")
        assert read_secret(str(file), "token") == "abc"
        for content in ("", "two\nlines", "\ufeffabc"):
            file.write_text(content)
            with pytest.raises(ConfigError, match="on one line"):
                read_secret(str(file), "token")
        with pytest.raises(ConfigError, match="The token cannot be read from .*: No such file"):
            read_secret(str(tmp_path / "none"), "token")

    def test_an_option_is_stripped_like_a_file(self) -> None:
        assert secret_option({"key": "abc\n"}, "key", "key") == "abc"
        with pytest.raises(ConfigError) as caught:
            secret_option({"key": "abc\ndef"}, "key", "key")
        assert "abc" not in caught.value.message
        with pytest.raises(ConfigError) as caught:
            header_value("abc\u201d", "key")
        assert "abc" not in caught.value.message

    def test_an_excerpt_shows_no_half_of_a_secret(self) -> None:
        secret = "x" * 300
        assert "xxx" not in excerpt(f"token {secret} is bad", (secret,))
        assert excerpt("one\n  two\x1b[31m", ()) == "one two [31m"

    def test_redaction_leaves_no_tail(self) -> None:
        assert redact("abc and abcdef", ("abc", "abcdef", "")) == "******** and ********"


class TestState:
    def test_a_file_is_replaced_in_one_step_with_its_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        assert atomic_write(str(path), b"one", 0o640) is True
        assert atomic_write(str(path), b"one", 0o640) is False
        assert atomic_write(str(path), b"two", 0o640) is True
        assert path.read_bytes() == b"two"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
        with pytest.raises(StateError, match="cannot be written"):
            atomic_write(str(tmp_path / "none/file"), b"")

    def test_a_transaction_is_all_or_nothing(self, tmp_path: Path) -> None:
        db = open_database(str(tmp_path / "db"), "CREATE TABLE IF NOT EXISTS t (a)")
        with pytest.raises(RuntimeError), transaction(db):
            db.execute("INSERT INTO t VALUES (1)")
            raise RuntimeError
        assert db.execute("SELECT COUNT(*) FROM t").fetchone()[0] == 0
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert stat.S_IMODE((tmp_path / "db").stat().st_mode) & 0o007 == 0

    @pytest.mark.parametrize("in_use", [True, False])
    def test_reading_a_database_changes_nothing(self, tmp_path: Path, in_use: bool) -> None:
        path = tmp_path / "what? is #1.db"
        db = open_database(str(path), "CREATE TABLE t (a)")
        db.execute("INSERT INTO t VALUES (1)")
        if not in_use:
            db.close()
        before = sorted(tmp_path.iterdir())
        assert len(before) == (3 if in_use else 1)
        with contextlib.closing(open_read_only(str(path))) as reading:
            assert reading.execute("SELECT a FROM t").fetchall() == [(1,)]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reading.execute("INSERT INTO t VALUES (2)")
            assert sorted(tmp_path.iterdir()) == before
        with pytest.raises(sqlite3.Error):
            open_read_only(str(tmp_path / "none"))
        assert sorted(tmp_path.iterdir()) == before

    def test_a_damaged_database_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "db").write_bytes(b"not a database, but long enough to be looked at" * 100)
        with pytest.raises(StateError, match="cannot be opened"):
            open_database(str(tmp_path / "db"), "CREATE TABLE t (a)")

    def test_a_second_run_leaves_and_names_the_first(self, tmp_path: Path) -> None:
        path = str(tmp_path / "lock")
        with lock(path), pytest.raises(Locked, match=f"process {os.getpid()} holds"), lock(path):
            pass
        with lock(path):
            pass

    def test_the_lock_of_a_killed_run_is_free(self, tmp_path: Path) -> None:
        path = str(tmp_path / "lock")
        script = (
            "import os, signal\n"
            "from ansible_collections.netcure.soc.plugins.module_utils._core.state import lock\n"
            f"with lock({path!r}):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
        with lock(path):
            pass
