# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Building blocks of argument specs: one object that modules merge from parts."""

from __future__ import annotations

import typing as t


class ArgumentSpec:
    """What C(AnsibleModule) needs to know of a module's options, mergeable."""

    LISTS = ("mutually_exclusive", "required_together", "required_one_of", "required_if")

    def __init__(self, options: dict[str, dict], **rules: t.Any) -> None:
        self.options = dict(options)
        self.rules: dict[str, list] = {name: list(rules.pop(name, ())) for name in self.LISTS}
        self.required_by: dict[str, t.Any] = dict(rules.pop("required_by", {}))
        if rules:
            raise TypeError(f"unknown rules: {', '.join(sorted(rules))}")

    def merge(self, other: ArgumentSpec) -> ArgumentSpec:
        """A new spec with the options and rules of both; the same option in both is a programming error."""
        twice = self.options.keys() & other.options.keys()
        if twice:
            raise ValueError(f"options defined twice: {', '.join(sorted(twice))}")
        merged = ArgumentSpec({**self.options, **other.options}, required_by={**self.required_by, **other.required_by})
        merged.rules = {name: self.rules[name] + other.rules[name] for name in self.LISTS}
        return merged

    def to_kwargs(self) -> dict:
        """Keyword arguments for C(AnsibleModule)."""
        return {"argument_spec": self.options, "required_by": self.required_by, **self.rules}


def common() -> ArgumentSpec:
    """Options of every module of the collection (doc fragment C(common))."""
    return ArgumentSpec({"now": {"type": "str"}})


def elasticsearch() -> ArgumentSpec:
    """How to reach Elasticsearch (doc fragment C(elasticsearch))."""
    return ArgumentSpec(
        {
            "elasticsearch_url": {"type": "str", "required": True},
            "elasticsearch_ca_path": {"type": "path"},
            "elasticsearch_api_key": {"type": "str", "no_log": True},
            "elasticsearch_api_key_file": {"type": "path", "no_log": False},
            "elasticsearch_username": {"type": "str"},
            "elasticsearch_password": {"type": "str", "no_log": True},
            "elasticsearch_password_file": {"type": "path", "no_log": False},
            "elasticsearch_timeout": {"type": "int", "default": 60},
            "elasticsearch_compress": {"type": "bool", "default": False},
        },
        mutually_exclusive=[
            ("elasticsearch_api_key", "elasticsearch_api_key_file", "elasticsearch_username"),
            ("elasticsearch_password", "elasticsearch_password_file"),
        ],
        required_one_of=[("elasticsearch_api_key", "elasticsearch_api_key_file", "elasticsearch_username")],
        required_by={
            "elasticsearch_password": "elasticsearch_username",
            "elasticsearch_password_file": "elasticsearch_username",
        },
    )
