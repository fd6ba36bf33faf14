# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Time as a parameter. Nothing else in the collection asks the operating system what time it is."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from .errors import ConfigError

Clock = t.Callable[[], datetime]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def clock(now: str | None = None) -> Clock:
    """A clock that stands still at ``now`` (ISO 8601), or the machine's own clock when ``now`` is not given."""
    if now is None:
        return lambda: datetime.now(UTC)
    try:
        instant = parse_time(now)
    except ValueError as exc:
        raise ConfigError(f"The option now is not a time: {exc}. Give ISO 8601, such as 2026-11-20T09:14:00Z.") from exc
    return lambda: instant


def parse_time(value: object, zone: str = "UTC") -> datetime:
    """Read a vendor's time as an aware UTC datetime.

    Takes ISO 8601 text (a space instead of the T is fine), or the time since 1970 in seconds, milliseconds (a number of
    100,000,000,000 or more: as seconds that would be the year 5138), microseconds or nanoseconds (three and six digits
    more). Text without an offset is in ``zone``; of eight digits it is a date.
    Raises ValueError for anything else.
    """
    if isinstance(value, bool) or value is None or value == "":
        raise ValueError(f"{value!r} is not a time")
    is_date = isinstance(value, str) and len(value) == 8 and value.isdecimal()
    try:
        number = None if is_date else float(value)
    except (TypeError, ValueError):
        number = None
    except OverflowError as exc:
        raise ValueError("the number is too large for a time") from exc
    try:
        if number is not None:
            if not abs(number) < 1e20:
                raise ValueError
            while abs(number) >= 1e11:
                number /= 1000
            return datetime.fromtimestamp(number, UTC)
        parsed = datetime.fromisoformat(str(value).strip())
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=ZoneInfo(zone))
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise ValueError(f"{str(value)[:60]!r} is not a time") from exc


def format_time(instant: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, the one form in which times are stored and compared."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_duration(text: str) -> timedelta:
    """``90s``, ``15m``, ``40m``, ``24h``, ``7d`` or ``2w`` as a timedelta. Raises ConfigError."""
    try:
        seconds = float(text[:-1]) * UNITS[text[-1]]
        if seconds < 0:
            raise ValueError
        return timedelta(seconds=seconds)
    except (KeyError, ValueError, IndexError, TypeError, OverflowError) as exc:
        raise ConfigError(f"{text!r} is not a duration: write a number and one of s, m, h, d, w, such as 15m.") from exc
