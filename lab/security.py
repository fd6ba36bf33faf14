# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Least privilege: one API key of Elasticsearch for each duty, and one reader for each company."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.netcure.soc.plugins.module_utils._core.ids import index_name
from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write

from lab import LabError
from lab.elasticsearch import Endpoint
from lab.world import PROFILES

DUTIES: dict[str, list[str]] = {
    # `index` creates and replaces documents, and cannot delete them; `read` is for counting what is there.
    "collector": ["create_index", "index", "read", "view_index_metadata"],
    # `maintenance` is the refresh before reading: what came a moment ago counts too.
    "retention": ["read", "delete", "maintenance", "view_index_metadata"],
    "escalator": ["read", "maintenance", "view_index_metadata"],
}


def roles(slugs: Iterable[str]) -> dict[str, dict]:
    """What each key may do, as Elasticsearch's role descriptors, by the name of the key.

    A reader's indices are named in full: a pattern such as ``soc-*-acme`` would also match the company ``big-acme``.
    """
    found = {name: _role(["soc-*"], privileges) for name, privileges in DUTIES.items()}
    for slug in slugs:
        indices = [
            index_name(profile["source"], entry.get("index", name), slug)
            for profile in PROFILES.values()
            for name, entry in profile["sets"].items()
        ]
        found[f"reader-{slug}"] = _role(indices, ["read", "view_index_metadata"])
    return found


def _role(indices: list[str], privileges: list[str]) -> dict:
    return {"cluster": ["monitor"], "indices": [{"names": indices, "privileges": privileges}]}


def api_keys(endpoint: Endpoint, folder: Path, slugs: Iterable[str]) -> dict[str, Path]:
    """The file with the API key (``encoded`` form) of each role; keys that are missing or no longer work are made."""
    home = folder / "secrets"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = {name: (home / f"elasticsearch-key-{name}", role) for name, role in roles(slugs).items()}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: _ensure(endpoint, item[0], *item[1]), wanted.items()))
    return {name: path for name, (path, _role_) in wanted.items()}


def _ensure(endpoint: Endpoint, name: str, path: Path, role: dict) -> None:
    # The privileges are part of the name, so that a changed role gets a new key.
    title = f"lab-{name}-{hashlib.sha256(json.dumps(role, sort_keys=True).encode()).hexdigest()[:8]}"
    if path.exists():
        session = endpoint.session(path.read_text(encoding="ascii").strip())
        answer = session.get(f"{endpoint.url}/_security/_authenticate", timeout=30)
        if answer.status_code == 200 and answer.json().get("api_key", {}).get("name") == title:
            return
    answer = endpoint.session().post(
        f"{endpoint.url}/_security/api_key",
        params={"refresh": "true"},
        json={"name": title, "role_descriptors": {name: role}},
        timeout=30,
    )
    if answer.status_code != 200:
        raise LabError(f"Elasticsearch did not make the API key {name}: {answer.text[:300]}")
    atomic_write(str(path), answer.json()["encoded"].encode() + b"\n", 0o600)
