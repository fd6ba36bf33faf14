# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The roster: who can be called, in which order, from a YAML file that people write."""

from __future__ import annotations

import re
import typing as t
from datetime import datetime

from .._core.clock import format_time, parse_time
from .._core.errors import InputError
from .._core.libraries import need, yaml
from .mail import ADDRESS
from .policy import Contact, Roster

FIELDS = ("name", "list", "from", "until")
# The local part of an address (RFC 5321), narrowed to what names of lists are made of.
LIST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def read(path: str, mail_domain: str | None, now: datetime) -> Roster:
    """The roster in the YAML file ``path``, with somebody on duty at ``now``.

    The file holds ``contacts``: a list, in the order of escalation, of ``name``, ``list`` (a VocalNotify list: its
    name, which stands for an address in ``mail_domain``, or a whole address) and, where somebody is not always on
    duty, ``from`` (included) and ``until`` (not), in ISO 8601 with a zone. Raises InputError, saying what is wrong
    and where.
    """
    need("yaml")
    try:
        with open(path, encoding="utf-8") as handle:
            content = yaml.safe_load(handle)
    except OSError as exc:
        raise InputError(
            f"The roster {path} cannot be read: {exc.strerror}. Put it there, readable by the SOC user."
        ) from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"The roster {path} is not UTF-8 text: {exc}.") from exc
    except (yaml.YAMLError, ValueError) as exc:
        raise InputError(f"The roster {path} is not YAML: {' '.join(str(exc).split())}.") from exc
    try:
        roster = parse(content, mail_domain)
    except ValueError as exc:
        raise InputError(f"The roster {path} is refused: {exc}.") from exc
    if roster.on_duty(now) is None:
        raise InputError(
            f"The roster {path} has nobody on duty at {format_time(now)}. Add a contact, or widen a from and until."
        )
    return roster


def parse(content: object, mail_domain: str | None) -> Roster:
    """The roster that the decoded YAML describes. Raises ValueError with what is wrong and where."""
    if not isinstance(content, dict) or set(content) != {"contacts"}:
        raise ValueError("it must hold one key, contacts, and nothing else")
    entries = content["contacts"]
    if not isinstance(entries, list) or not entries:
        raise ValueError("contacts must be a list with at least one contact: nobody could be called")
    return Roster(tuple(_contact(entry, f"contacts[{number}]", mail_domain) for number, entry in enumerate(entries)))


def _contact(entry: object, where: str, mail_domain: str | None) -> Contact:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must have a name and a list")
    unknown = [str(key) for key in entry if key not in FIELDS]
    if unknown:
        raise ValueError(f"{where} has the unknown key {', '.join(unknown)}; known are {', '.join(FIELDS)}")
    for field in ("name", "list"):
        if not isinstance(entry.get(field), str) or not entry[field].strip():
            raise ValueError(f"{where}.{field} must be text")
    address = entry["list"].strip()
    if "@" not in address:
        if not LIST.fullmatch(address):
            raise ValueError(f"{where}.list {address[:60]!r} is not the name of a list")
        if not mail_domain:
            raise ValueError(f"{where}.list {address!r} is not a whole address, and the option mail_domain is not set")
        address = f"{address}@{mail_domain}"
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"{where}.list {address[:80]!r} is not an e-mail address")
    start, end = _time(entry, "from", where), _time(entry, "until", where)
    if start and end and end <= start:
        raise ValueError(f"{where}.until is not after its from")
    return Contact(entry["name"].strip(), address, start, end)


def _time(entry: dict, field: str, where: str) -> datetime | None:
    value = entry.get(field)
    if value is None:
        return None
    try:
        # YAML turns an unquoted time into a datetime by itself.
        parsed = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise ValueError(
            f"{where}.{field} must be a time with a zone, such as 2026-11-20T18:00:00+01:00, not {str(value)[:60]!r}"
        )
    return parse_time(parsed.isoformat())


def dump(roster: Roster) -> list[dict[str, t.Any]]:
    """The roster as plain JSON values, for the last good copy."""
    return [
        {
            "name": contact.name,
            "address": contact.address,
            "from": contact.start and format_time(contact.start),
            "until": contact.end and format_time(contact.end),
        }
        for contact in roster.contacts
    ]


def load(copy: list[dict[str, t.Any]]) -> Roster:
    """The roster of a last good copy."""
    return Roster(
        tuple(
            Contact(
                entry["name"],
                entry["address"],
                entry["from"] and parse_time(entry["from"]),
                entry["until"] and parse_time(entry["until"]),
            )
            for entry in copy
        )
    )
