# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of docs/architecture.md that a machine can check."""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from pathlib import Path

import pytest
import yaml

from tests.readmes import readme

ROOT = Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins/module_utils"
MODULES = sorted((ROOT / "plugins/modules").glob("*.py"))
PACKAGE = "ansible_collections.netcure.soc.plugins.module_utils."
MAX_MODULE_LINES = 60


def rooms_imported(path: Path) -> set[str]:
    """The rooms of module_utils that the file imports, by relative or absolute name."""
    rooms = set()
    here = path.relative_to(UTILS).parts if path.is_relative_to(UTILS) else ()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level]
            names = [PACKAGE + ".".join([*base, node.module or alias.name]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        rooms |= {name.removeprefix(PACKAGE).split(".")[0] for name in names if name.startswith(PACKAGE)}
    return rooms


@pytest.mark.parametrize("path", sorted(UTILS.rglob("*.py")), ids=lambda path: str(path.relative_to(UTILS)))
def test_a_room_imports_only_itself_and_the_core(path: Path) -> None:
    room = path.relative_to(UTILS).parts[0]
    assert rooms_imported(path) <= ({"_core"} if room == "_core" else {"_core", room})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_one_room_beside_the_core(path: Path) -> None:
    assert len(rooms_imported(path) - {"_core"}) == 1


def test_the_import_rule_sees_every_way_to_import(tmp_path: Path) -> None:
    for source in (f"from {PACKAGE}_retain.plan import Plan", f"import {PACKAGE}_retain.plan"):
        file = tmp_path / "module.py"
        file.write_text(source)
        assert rooms_imported(file) == {"_retain"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_file_holds_no_logic(path: Path) -> None:
    source = path.read_text("utf-8")
    documented: set[int] = set()
    for node in ast.parse(source).body:
        names = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
        if {"DOCUMENTATION", "EXAMPLES", "RETURN"} & set(names):
            documented |= set(range(node.lineno, node.end_lineno + 1))
    ignored = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in ignored:
            code |= set(range(token.start[0], token.end[0] + 1))
    assert len(code - documented) <= MAX_MODULE_LINES


def test_every_module_is_in_the_action_group() -> None:
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text("utf-8"))["action_groups"]
    assert groups["soc"] == [path.stem for path in MODULES]
    for group in ("elasticsearch", "elasticsearch_admin"):
        sharing = [path.stem for path in MODULES if f"netcure.soc.{group}\n" in path.read_text("utf-8")]
        assert groups[group] == sharing


ROLES = sorted((ROOT / "roles").iterdir())


def options_of(role: Path) -> dict[str, dict]:
    """The options of every entry point of ``role``."""
    points = yaml.safe_load((role / "meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]
    return {name: option for point in points.values() for name, option in point["options"].items()}


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_argument_specs_of_roles_equal_their_defaults(role: Path) -> None:
    options = options_of(role)
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text("utf-8"))
    computed = {name for name, value in defaults.items() if "{{" in str(value)}
    assert not computed or role.name == "_common", "a specification cannot hold what is computed: see vars/main.yml"
    stated = {name: entry["default"] for name, entry in options.items() if "default" in entry}
    assert stated == {name: value for name, value in defaults.items() if name not in computed}
    assert all(entry.get("required") for name, entry in options.items() if name not in defaults)


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_the_readme_of_a_role_is_made_from_its_specification(role: Path) -> None:
    assert (role / "README.md").read_text("utf-8") == readme(role), "run make readmes"


def test_every_variable_of_the_playbooks_is_documented() -> None:
    guide = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("deploying.md", "operating.md"))
    pattern = re.compile(r"\b(?:collect|prune|replay|escalate|report|guardian360|cyberalarm|watchguard)_[a-z0-9_]+")
    internal = {"collect_failed", "collect_outcome", "escalate_not_refreshed", "escalate_refreshed"}
    used = set()
    for path in (ROOT / "playbooks").glob("*.yml"):
        text = re.sub(r"^ *netcure\.soc\..*$", "", path.read_text("utf-8"), flags=re.MULTILINE)
        used |= set(pattern.findall(text)) - internal
    endings = tuple(re.findall(r"`(_[a-z0-9_]+)`", guide))
    assert not [name for name in sorted(used) if f"`{name}`" not in guide and not name.endswith(endings)]


def test_no_secret_has_a_default() -> None:
    for role in (ROOT / "roles").iterdir():
        defaults = yaml.safe_load((role / "defaults/main.yml").read_text("utf-8"))
        secret = re.compile("(passphrase|password|secret|token|key|users)s?$")
        # A list of names is none.
        assert not [
            name for name, value in defaults.items() if value and secret.search(name) and not isinstance(value, list)
        ]


def test_the_execution_environment_needs_what_the_runtime_needs() -> None:
    def requirements(path: str) -> list[str]:
        return [line for line in (ROOT / path).read_text("utf-8").splitlines() if line and not line.startswith("#")]

    # An execution environment brings its own ansible-core.
    needed = [line for line in requirements("requirements/runtime.in") if not line.startswith("ansible-core")]
    assert requirements("meta/ee-requirements.txt") == needed
    packages = requirements("meta/ee-bindep.txt")
    assert packages == requirements("bindep.txt")
    role = yaml.safe_load((ROOT / "roles/runtime/defaults/main.yml").read_text("utf-8"))["runtime_packages"]
    assert {line.split()[0] for line in packages if "dpkg" in line} <= set(role)


class Specified(Exception):
    """What a module gives to AnsibleModule."""


def specified(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """The argument spec that the module ``name`` starts with."""

    def start(argument_spec: dict, **_rules: object) -> None:
        raise Specified(argument_spec)

    module = importlib.import_module(f"ansible_collections.netcure.soc.plugins.modules.{name}")
    monkeypatch.setattr(module, "AnsibleModule", start)
    with pytest.raises(Specified) as caught:
        module.main()
    return caught.value.args[0]


def documented(path: Path) -> dict[str, dict]:
    """The options that the module in ``path`` documents, itself and by its fragments. No fragment has one of another's."""
    module = importlib.import_module(f"ansible_collections.netcure.soc.plugins.modules.{path.stem}")
    told = yaml.safe_load(module.DOCUMENTATION)
    options = dict(told.get("options") or {})
    for fragment in told["extends_documentation_fragment"]:
        name, _dot, part = fragment.removeprefix("netcure.soc.").partition(".")
        parts = importlib.import_module(
            f"ansible_collections.netcure.soc.plugins.doc_fragments.{name}"
        ).ModuleDocFragment
        more = yaml.safe_load(getattr(parts, (part or "documentation").upper())).get("options") or {}
        assert not options.keys() & more.keys()
        options |= more
    return options


def told_of(entry: dict, nested: str) -> dict:
    """What documentation and argument spec both say of one option."""
    facts = {key: entry[key] for key in ("elements", "choices", "default") if entry.get(key) is not None}
    facts |= {"type": entry.get("type", "str"), "required": bool(entry.get("required"))}
    return facts | {"options": {name: told_of(inner, nested) for name, inner in (entry.get(nested) or {}).items()}}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_options_of_a_module_are_those_that_it_documents(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {name: told_of(entry, "options") for name, entry in specified(path.stem, monkeypatch).items()}
    assert spec == {name: told_of(entry, "suboptions") for name, entry in documented(path).items()}
