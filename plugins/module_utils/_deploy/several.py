# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Several things of one server: what one of them breaks does not stop the others, and is told at the end."""

from __future__ import annotations

import typing as t

from .._core.errors import AuthError, SocError, Unreachable

FAILED, NOT_TRIED = "failed", "not_tried"
Titled = t.TypeVar("Titled")


def each(
    things: t.Iterable[Titled], title: t.Callable[[Titled], str], settle: t.Callable[[Titled, dict], None]
) -> tuple[list[dict], dict[str, SocError]]:
    """Call ``settle(thing, entry)`` for each: (the entries that it filled in, what failed by title).

    A server that is gone or does not know us is asked no more: the rest is not tried.
    """
    entries: list[dict] = []
    failures: dict[str, SocError] = {}
    lost = False
    for thing in things:
        entry: dict = {"action": NOT_TRIED}
        entries.append(entry)
        if lost:
            continue
        try:
            settle(thing, entry)
        except SocError as exc:
            entry["action"] = FAILED
            failures[title(thing)] = exc
            lost = isinstance(exc, Unreachable) or (isinstance(exc, AuthError) and exc.details.get("status") == 401)
    return entries, failures


def failure_of(failures: t.Mapping[str, SocError]) -> dict:
    """The ``failure`` of a result, empty when nothing failed."""
    if not failures:
        return {}
    return {
        "failure": {
            "code": next(iter(failures.values())).code,
            "message": "; ".join(f"{title}: {exc.message}" for title, exc in failures.items()),
            "details": {title: exc.as_dict() for title, exc in failures.items()},
        }
    }
