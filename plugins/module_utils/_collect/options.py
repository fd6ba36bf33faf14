# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Options that all modules share which speak to a vendor."""

from __future__ import annotations

from .._core.argspec import ArgumentSpec


def vendor_options() -> ArgumentSpec:
    """How to reach a vendor, and what is known of it (doc fragment C(vendor))."""
    return ArgumentSpec(
        {
            "token_file": {"type": "path", "no_log": False},
            "client_id": {"type": "str"},
            "client_secret": {"type": "str", "no_log": True},
            "client_secret_file": {"type": "path", "no_log": False},
            "api_key": {"type": "str", "no_log": True},
            "api_key_file": {"type": "path", "no_log": False},
            "ca_path": {"type": "path"},
            "timeout": {"type": "int", "default": 30},
            "look_back": {"type": "str", "default": "40m"},
            "profile": {"type": "dict", "default": {}},
            "state_dir": {"type": "path", "default": "/var/lib/soc"},
        },
        mutually_exclusive=[
            ("api_key", "api_key_file"),
            ("token_file", "client_id"),
            ("client_secret", "client_secret_file"),
        ],
    )
