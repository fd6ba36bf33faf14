# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import clock
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import ConfigError, StateError
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run
from ansible_collections.netcure.soc.plugins.module_utils._deploy.keystore import (
    Memory,
    Plan,
    apply,
    argument_spec,
    digest,
    matches,
    plan,
    wanted_of,
)


def decide(present: set | None, **values: object) -> Plan:
    options = {"wanted": {"a": "1", "b": "2"}, "remove": [], "purge": False, "managed": {"a", "old"}, **values}
    same = options.pop("same", lambda _name: True)
    return plan(present=present, same=same, **options)


class TestPlan:
    def test_each_step(self) -> None:
        assert decide(None) == Plan(create=True, add=("a", "b"))
        assert decide({"a"}) == Plan(add=("b",))
        assert decide({"a", "b", "seed"}) == Plan() and not decide({"a", "b", "seed"}).changes
        assert decide({"a", "b"}, same=lambda name: name == "a") == Plan(update=("b",))
        assert decide({"a", "b", "c"}, remove=["c", "d"]) == Plan(remove=("c",))

    def test_purge_takes_only_what_was_put_there(self) -> None:
        assert decide({"a", "b", "old", "seed"}) == Plan()
        assert decide({"a", "b", "old", "seed"}, purge=True) == Plan(remove=("old",))


class TestDigests:
    def test_it_matches_its_value_alone(self) -> None:
        told = digest("value")
        assert matches("value", told) and not matches("other", told) and told != digest("value")
        for text in ("", "scrypt$zz$x", "md5$00$00", told[:-1]):
            assert not matches("value", text)

    @pytest.mark.parametrize(
        "content", [None, b"", b"[]", b"{}", b"\xff", b'{"keystore": "x", "names": 1, "digests": {}}']
    )
    def test_a_damaged_file_is_no_memory(self, content: bytes | None) -> None:
        assert Memory.of(content) == Memory()

    def test_it_survives(self) -> None:
        memory = Memory("sum", frozenset(["a", "b"]), {"a": digest("1")})
        assert Memory.of(memory.content()) == memory


@pytest.mark.parametrize(
    ("entries", "remove", "told"),
    [
        ({"a b": "x"}, [], "is no name"),
        ({"-f": "x"}, [], "is no name"),
        ({"a": ""}, [], "value of a must be one line"),
        ({"a": None}, [], "value of a must be one line"),
        ({"a": "x\ny"}, [], "value of a must be one line"),
        ({"a": ["x"]}, [], "value of a must be one line"),
        ({"a": "x"}, ["a"], "both in entries and in remove"),
        ({}, ["--help"], "is no name"),
    ],
)
def test_what_cannot_work_is_refused(entries: dict, remove: list, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        wanted_of(entries, remove)


def test_values_are_text() -> None:
    assert wanted_of({"a": 1, "b": True}, []) == {"a": "1", "b": "true"}


TOOL = """#!/bin/sh
# Keeps entries as lines NAME=VALUE, and notes how it was called.
echo "$*" >> "$ES_PATH_CONF/calls"
store=$ES_PATH_CONF/elasticsearch.keystore
case $1 in
create) echo seed=x > "$store" ;;
list) sed 's/=.*//' "$store" ;;
show) grep "^$2=" "$store" | sed 's/^[^=]*=//' | tr -d '\\n' ;;
add) shift 3; for name; do read -r value; sed -i "/^$name=/d" "$store"; echo "$name=$value" >> "$store"; done ;;
remove) shift; for name; do sed -i "/^$name=/d" "$store"; done ;;
*) echo "the value $1 is wrong" >&2; exit 78 ;;
esac
"""


class Node:
    """A node with a tool that is quicker than the real one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder / "config", folder / "home"
        self.folder.mkdir()
        (self.home / "bin").mkdir(parents=True)
        self.tool(TOOL)

    def tool(self, text: str) -> None:
        program = self.home / "bin/elasticsearch-keystore"
        program.write_text(text)
        program.chmod(0o755)

    def run(self, check_mode: bool = False, **options: object) -> dict:
        (self.folder / "calls").write_text("")
        params = {name: option.get("default") for name, option in argument_spec().options.items()}
        params |= {"home": str(self.home), "config_dir": str(self.folder), "owner": None, "group": None, **options}
        return apply(Run(params, check_mode, clock(), "", print))

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    @property
    def store(self) -> Path:
        return self.folder / "elasticsearch.keystore"

    @property
    def memory(self) -> Path:
        return self.folder / "elasticsearch.keystore.digests"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


class TestApply:
    def test_on_a_clean_host(self, node: Node) -> None:
        check = node.run(check_mode=True, entries={"a": "v1", "b": "v2"})
        assert check["changed"] and check["pending"] and not node.calls and not node.store.exists()
        done = node.run(entries={"a": "v1", "b": "v2"})
        assert done["created"] and done["added"] == check["added"] == ["a", "b"] and not done["pending"]
        assert node.calls == ["create", "add -x -f a b", "list"]
        assert node.store.stat().st_mode & 0o777 == 0o660 and node.memory.stat().st_mode & 0o777 == 0o600
        assert "v1" not in node.memory.read_text()

    def test_what_is_right_starts_nothing(self, node: Node) -> None:
        node.run(entries={"a": "v1"})
        assert not node.run(entries={"a": "v1"})["changed"] and not node.calls
        assert not node.run(entries={"a": "v1"}, remove=["gone"], purge=True)["changed"] and not node.calls

    def test_a_changed_value_is_one_change(self, node: Node) -> None:
        node.run(entries={"a": "v1"})
        assert node.run(check_mode=True, entries={"a": "v2"})["updated"] == ["a"]
        assert node.run(entries={"a": "v2"})["updated"] == ["a"] and node.calls == ["add -x -f a"]
        assert not node.run(entries={"a": "v2"})["changed"]

    def test_what_somebody_took_or_changed_is_put_back(self, node: Node) -> None:
        node.run(entries={"a": "v1", "b": "v2", "c": "v3"})
        node.store.write_text("seed=x\nb=other\nc=v3\n")
        check = node.run(check_mode=True, entries={"a": "v1", "b": "v2", "c": "v3"})
        done = node.run(entries={"a": "v1", "b": "v2", "c": "v3"})
        assert (done["added"], done["updated"]) == (["a"], ["b"]) == (check["added"], check["updated"])
        assert not node.run(entries={"a": "v1", "b": "v2", "c": "v3"})["changed"]

    def test_a_keystore_that_was_there_is_read(self, node: Node) -> None:
        node.store.write_text("seed=x\na=v1\n")
        node.store.chmod(0o660)
        assert not node.run(entries={"a": "v1"})["changed"]
        assert node.calls == ["list", "show a"]
        assert not node.run(entries={"a": "v1"})["changed"] and not node.calls

    def test_removing(self, node: Node) -> None:
        node.run(entries={"a": "v1", "b": "v2", "c": "v3"})
        assert node.run(entries={"a": "v1"}, remove=["b"])["removed"] == ["b"]
        assert not node.run(entries={"a": "v1"}, remove=["b"])["changed"]
        assert node.run(entries={"a": "v1"}, purge=True)["removed"] == ["c"]
        assert node.store.read_text() == "seed=x\na=v1\n"

    def test_the_mode_is_corrected(self, node: Node) -> None:
        node.run(entries={"a": "v1"})
        node.store.chmod(0o644)
        assert node.run(check_mode=True, entries={"a": "v1"})["pending"]
        assert node.run(entries={"a": "v1"})["changed"] and node.store.stat().st_mode & 0o777 == 0o660
        assert not node.calls

    def test_a_lost_or_open_memory_is_written_anew(self, node: Node) -> None:
        node.run(entries={"a": "v1"})
        node.memory.chmod(0o644)
        node.run(entries={"a": "v1"})
        assert node.memory.stat().st_mode & 0o777 == 0o600
        node.memory.unlink()
        assert not node.run(entries={"a": "v1"})["changed"]
        memory = Memory.of(node.memory.read_bytes())
        assert memory.checksum == hashlib.sha256(node.store.read_bytes()).hexdigest() and memory.names == {"seed", "a"}

    def test_what_the_tool_says_shows_no_value(self, node: Node) -> None:
        node.tool('#!/bin/sh\necho "cannot take my-value" >&2; exit 78\n')
        with pytest.raises(StateError, match=r"create failed: cannot take \*\*\*") as caught:
            node.run(entries={"a": "my-value"})
        assert "my-value" not in caught.value.message

    def test_a_host_without_elasticsearch(self, node: Node) -> None:
        with pytest.raises(ConfigError, match="give in home where"):
            node.run(entries={"a": "v1"}, home="/nowhere")
        with pytest.raises(ConfigError, match="There is no group nobody-has-this"):
            node.run(entries={"a": "v1"}, group="nobody-has-this")
        assert not node.store.exists()
        assert node.run(check_mode=True, entries={"a": "v1"}, home="/nowhere", group="nobody-has-this")["changed"]
