# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""What kinds of objects Elasticsearch keeps, and when what is there is what is wanted. Pure decisions."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from urllib.parse import quote

from .._core.errors import ConfigError

# What an object has though nobody asked for it: a key that is missing, here or there, counts as this. Else as null.
DEFAULTS: dict[str, object] = {
    "allow_custom_routing": False,
    "allow_restricted_indices": False,
    "allow_write_after_shrink": False,
    "applications": [],
    "cluster": [],
    "composed_of": [],
    "delete_searchable_snapshot": True,
    "enabled": True,
    "except": [],
    "exclude": {},
    "force_merge_index": True,
    "hidden": False,
    "include": {},
    "indices": [],
    "metadata": {},
    "min_age": "0ms",
    "require": {},
    "run_as": [],
    "wait_timeout": "1d",
}
# What the server notes of an object for itself, at its top.
NOTED = frozenset(
    "created_date created_date_millis modified_date modified_date_millis transient_metadata username uuid".split()
)
RESERVED = "_reserved"


@dataclasses.dataclass(frozen=True)
class Kind:
    """How one kind of object is asked for, and where the answer holds it."""

    path: str
    inside: t.Callable[[dict, str], dict | None]
    # Where in it settings are, which Elasticsearch takes flat or nested and gives back as text.
    settings: tuple[str, ...] | None = None
    prefix: str = ""
    # What an Elasticsearch without this kind lacks.
    lacking: str = ""


def _by_name(answer: dict, name: str) -> dict | None:
    return answer.get(name)


def _listed(plural: str, singular: str) -> t.Callable[[dict, str], dict | None]:
    return lambda answer, name: next((e[singular] for e in answer.get(plural, ()) if e["name"] == name), None)


def _policy(answer: dict, name: str) -> dict | None:
    return answer[name].get("policy") if name in answer else None


def _lifecycle(answer: dict, name: str) -> dict | None:
    return {"policy": answer[name].get("policy")} if name in answer else None


TEMPLATE = {"settings": ("template", "settings"), "prefix": "index."}
KINDS: dict[str, Kind] = {
    "cluster_settings": Kind("/_cluster/settings", lambda answer, _name: answer.get("persistent", {}), ()),
    "component_template": Kind(
        "/_component_template/", _listed("component_templates", "component_template"), **TEMPLATE
    ),
    "index_template": Kind("/_index_template/", _listed("index_templates", "index_template"), **TEMPLATE),
    "ilm_policy": Kind("/_ilm/policy/", _lifecycle, lacking="index lifecycle management (ILM)"),
    "slm_policy": Kind("/_slm/policy/", _policy, lacking="snapshot lifecycle management (SLM)"),
    "snapshot_repository": Kind("/_snapshot/", _by_name, ("settings",)),
    "role": Kind("/_security/role/", _by_name, lacking="security (xpack.security.enabled)"),
    "user": Kind("/_security/user/", _by_name, lacking="security (xpack.security.enabled)"),
    "role_mapping": Kind("/_security/role_mapping/", _by_name, lacking="security (xpack.security.enabled)"),
    "ingest_pipeline": Kind("/_ingest/pipeline/", _by_name, lacking="the ingest processors that it asks for"),
}


@dataclasses.dataclass(frozen=True)
class Difference:
    """One value that is not as wanted; None is one that is not there."""

    path: str
    found: object
    wanted: object


def address(kind: str, name: str) -> str:
    """The path of the API under which the object is."""
    path = KINDS[kind].path
    return path + quote(name, safe="") if path.endswith("/") else path


def check_name(kind: str, name: str) -> None:
    """Raises ConfigError for a name that Elasticsearch would take for more than one object, or for another path."""
    wrong = not name or not name.isprintable() or name != name.strip() or name in (".", "..") or name[0] in "_-+"
    if wrong or set(name) & set('*,?/\\"<>|#:'):
        raise ConfigError(
            f"{name!r} is no name for {kind}: begin with a letter, and leave out spaces around it and"
            ' the characters * , ? / \\ " < > | # :'
        )


def flat(settings: t.Mapping, prefix: str = "") -> dict[str, object]:
    """Settings as dotted names."""
    found: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def normal(kind: str, body: dict) -> dict:
    """``body`` in the one form in which two of its kind are compared."""
    where, prefix = KINDS[kind].settings, KINDS[kind].prefix
    if where is None:
        return body
    return _normal_settings(body, where, prefix)


def _normal_settings(body: dict, where: tuple[str, ...], prefix: str) -> dict:
    if where:
        inner = body.get(where[0])
        return {**body, where[0]: _normal_settings(inner, where[1:], prefix)} if isinstance(inner, dict) else body
    return {name if name.startswith(prefix) else prefix + name: value for name, value in flat(body).items()}


def compare(kind: str, wanted: dict, found: dict) -> list[Difference]:
    """In what ``found`` is not what ``wanted`` makes it.

    A PUT replaces the whole object, so what is there and not wanted is a difference too, unless the server adds it by
    itself. Cluster settings are the exception: they belong to many.
    """
    wanted, found = normal(kind, wanted), normal(kind, found)
    if kind == "cluster_settings":
        found = {name: found.get(name) for name in wanted}
    return differences(wanted, {key: value for key, value in found.items() if key not in NOTED or key in wanted})


def differences(wanted: object, found: object, path: str = "") -> list[Difference]:
    """The places in which two values differ; numbers and booleans are compared as text, lists in their order."""
    if isinstance(wanted, dict) and isinstance(found, str):
        found = _parsed(found)  # the query of a role comes back as the text that it was
    if isinstance(wanted, dict) and isinstance(found, dict):
        told: list[Difference] = []
        for key in dict.fromkeys([*wanted, *found]):
            one, other = (_default(key) if side.get(key) is None else side[key] for side in (wanted, found))
            told += differences(one, other, f"{path}.{key}" if path else key)
        return told
    if isinstance(wanted, list) != isinstance(found, list) and not isinstance(
        wanted if isinstance(found, list) else found, dict | None
    ):
        # One value and a list of one are the same to Elasticsearch.
        wanted, found = (side if isinstance(side, list) else [side] for side in (wanted, found))
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            told for place, pair in enumerate(zip(wanted, found)) for told in differences(*pair, f"{path}[{place}]")
        ]
    return [] if _text(wanted) == _text(found) else [Difference(path, found, wanted)]


def _default(key: str) -> object:
    return DEFAULTS.get(key)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value
