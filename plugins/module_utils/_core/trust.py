# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Whom to trust."""

from __future__ import annotations

import os

from .errors import ConfigError


def authority(path: str | None, option: str) -> str | None:
    """``path`` of a file with authorities' certificates, when it can be read; None trusts what the machine trusts.

    The libraries look at the file only when they connect, and then blame the connection. Raises ConfigError.
    """
    if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise ConfigError(
            f"The file {path} of {option} is not there or cannot be read. It holds the authority's certificate in PEM."
        )
    return path
