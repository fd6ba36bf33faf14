# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The third-party libraries that the data path stands on, imported once, inside a guard.

A target without one of them gets a sentence instead of a traceback: call C(need) before using a name from here.
Versions are those of the role C(runtime).
"""

from __future__ import annotations

import traceback

from ansible.module_utils.basic import missing_required_lib

from .errors import LibraryMissing

__all__ = ["elasticsearch", "need", "orjson", "requests", "yaml"]

MISSING: dict[str, str] = {}

try:
    import orjson
except ImportError:
    orjson = None
    MISSING["orjson"] = traceback.format_exc()

try:
    import requests
except ImportError:
    requests = None
    MISSING["requests"] = traceback.format_exc()

try:
    import elasticsearch
except ImportError:
    elasticsearch = None
    MISSING["elasticsearch"] = traceback.format_exc()

try:
    import yaml
except ImportError:
    yaml = None
    MISSING["yaml"] = traceback.format_exc()

PACKAGES = {"elasticsearch": "elasticsearch >= 8.19, < 8.20", "yaml": "PyYAML"}


def need(*names: str) -> None:
    """Raise LibraryMissing for the first of ``names`` that did not import."""
    for name in names:
        if name in MISSING:
            raise LibraryMissing(
                missing_required_lib(PACKAGES.get(name, name))
                + " The role netcure.soc.runtime installs all of them in one virtual environment.",
                traceback=MISSING[name],
            )
