# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The hook by which a crash test ends a process at the very point where that would be worst."""

from __future__ import annotations

import typing as t


class Reach(t.Protocol):
    """Called with the name of a point whenever the work comes past it. Only tests give one that does anything."""

    def __call__(self, point: str) -> None: ...


def nowhere(point: str) -> None:
    """The product's own Reach: go on."""
