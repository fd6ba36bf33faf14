# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README of each role: what its argument spec says, and below that what people wrote. Use: python -m tests.readmes"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
MARK = "<!-- Above: made by `make readmes` from meta/argument_specs.yml. Below: written by hand. -->"


def readme(role: Path) -> str:
    """The whole text for ``role``: the generated part anew, the rest as it stands."""
    points = yaml.safe_load((role / "meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]
    parts = [f"# netcure.soc.{role.name}", ""]
    for name, point in points.items():
        if name != "main":
            parts += [f"## Tasks `{name}.yml`", ""]
        parts += [*_paragraphs(point), *_table(point.get("options", {}))]
    return "\n".join([*parts, MARK]) + "\n" + _by_hand(role / "README.md")


def _by_hand(path: Path) -> str:
    text = path.read_text("utf-8") if path.exists() else ""
    return text.split(MARK + "\n", 1)[1] if MARK in text else ""


def _paragraphs(point: dict) -> list[str]:
    told = point.get("description") or [point["short_description"] + "."]
    return [line for paragraph in _list(told) for line in (_plain(paragraph), "")]


def _table(options: dict) -> list[str]:
    if not options:
        return []
    rows = [f"| `{name}` | {_told(option)} | {_default(option)} |" for name, option in options.items()]
    return ["| variable | what it is | default |", "|---|---|---|", *rows, ""]


def _told(option: dict) -> str:
    told = " ".join(_plain(paragraph) for paragraph in _list(option["description"]))
    choices = [f"`{choice}`" for choice in option.get("choices", ())]
    parts = [f"`{name}`: {_told(entry)}" for name, entry in option.get("options", {}).items()]
    if choices:
        told += f" One of {', '.join(choices)}."
    return " ".join([told, *parts]).replace("|", "\\|")


def _default(option: dict) -> str:
    if option.get("required"):
        return "required"
    if option.get("default") in (None, ""):
        return "none"
    return f"`{option['default']}`"


def _plain(text: str) -> str:
    """Markup of Ansible's documentation, such as O(name=value), as Markdown."""
    return re.sub(r"\b[A-Z]\(([^)]+)\)", lambda found: f"`{found[1].split('#')[0]}`", text)


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


if __name__ == "__main__":
    for folder in sorted(ROLES.iterdir()):
        (folder / "README.md").write_text(readme(folder), "utf-8")
