# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""From a vendor's record to the one shape that everything after it reads: Elastic Common Schema, with a tenant."""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.clock import format_time, parse_time
from .._core.ids import content_digest, document_id, index_name
from .._core.libraries import orjson
from .profile import DataSet, Source, dig

TRUE = (True, 1, "1", "true", "True", "yes", "reviewed", "acknowledged")


class Malformed(Exception):
    """A record that cannot be identified or normalised; the text is the reason kept with the dead letter."""


@dataclasses.dataclass(frozen=True)
class Document:
    """One record in its final shape. ``source`` is what Elasticsearch will hold; ``digest`` its identity of content."""

    id: str
    index: str
    kind: str
    time: str
    vendor_id: str
    digest: str
    source: dict


def _flag(value: object) -> bool:
    return value in TRUE


# Targets whose type vendors disagree on. Everything else passes as it came; the mapping has the last word.
CONVERT: dict[tuple[str, ...], t.Callable[[t.Any], t.Any]] = {
    ("soc", "reviewed"): _flag,
    ("soc", "level"): int,
    ("soc", "count"): int,
    ("source", "port"): int,
    ("destination", "port"): int,
    ("event", "id"): str,
    ("rule", "id"): str,
}


def normalise(
    record: t.Any, source: Source, data_set: DataSet, observed: str, slug_of: t.Callable[[str, str], str]
) -> Document:
    """One record as a Document. ``observed`` is the present time as format_time() writes it.

    ``slug_of(tenant id, name)`` gives the company's part of the index name.

    Raises Malformed: a record without id, tenant or usable time is never guessed at.
    """
    if not isinstance(record, dict):
        raise Malformed("it is not an object")
    vendor_id = dig(record, data_set.id)
    if not isinstance(vendor_id, (str, int)) or vendor_id == "":
        # A number of more than 64 bits arrives as a float, and two of them may look alike.
        raise Malformed("it has no id that can be used")
    tenant_id, tenant_name = dig(record, data_set.tenant_id), dig(record, data_set.tenant_name)
    if (
        not isinstance(tenant_id, (str, int))
        or tenant_id == ""
        or not isinstance(tenant_name, str)
        or not tenant_name.strip()
    ):
        raise Malformed("it names no company")
    try:
        time = format_time(parse_time(dig(record, data_set.time), data_set.zone))
    except ValueError as exc:
        raise Malformed(f"its time is unusable: {exc}") from exc
    for field in data_set.only:
        if record.get(field) is None:
            raise Malformed(f"it has no {field}")
    tenant_id, vendor_id = str(tenant_id), str(vendor_id)
    kept = _without(record, data_set.drop)
    identity = document_id(source.name, data_set.name, tenant_id, vendor_id)
    body: dict = {
        "@timestamp": time,
        "organization": {"id": tenant_id, "name": tenant_name},
        "event": {
            "id": vendor_id,
            "module": source.name,
            "dataset": f"{source.name}.{data_set.index}",
            "ingested": observed,
            "original": orjson.dumps(kept).decode(),
        },
        "soc": {"id": identity, "set": data_set.name},
    }
    for target, value in data_set.constants:
        _put(body, target, value)
    for target, paths in data_set.fields:
        value = dig(record, paths)
        if value is None:
            continue
        if target in CONVERT:
            try:
                value = CONVERT[target](value)
            except (TypeError, ValueError) as exc:
                raise Malformed(f"{'.'.join(target)} cannot be {str(value)[:60]!r}") from exc
        _put(body, target, value)
    digest = content_digest(_without(kept, data_set.volatile))
    if data_set.kind == "snapshot":
        body["soc"]["present"] = True
    index = index_name(source.name, data_set.index, slug_of(tenant_id, tenant_name))
    return Document(identity, index, data_set.kind, time, vendor_id, digest, body)


def wanted(record: t.Any, data_set: DataSet, tenants: frozenset[str] | None) -> bool:
    """False for what is not to be collected: other levels, companies without a subscription."""
    if not isinstance(record, dict):
        return True
    if tenants is not None:
        tenant = dig(record, data_set.tenant_id)
        if tenant is not None and str(tenant) not in tenants:
            return False
    # A record that lacks the field is let through, to be a dead letter: silence would hide it.
    return all(record.get(field) is None or str(record[field]) in allowed for field, allowed in data_set.only.items())


def operation(document: Document, version: int) -> bytes:
    """The two lines that go to the bulk API, and that the journal keeps.

    An event is created once. State is replaced under an external version, so that an older state that is sent
    again, in whatever order, never replaces a newer one.
    """
    target = {"_index": document.index, "_id": document.id}
    if document.kind == "event":
        action: dict = {"create": target}
    else:
        action = {"index": {**target, "version": version, "version_type": "external"}}
    return b"%s\n%s\n" % (orjson.dumps(action), orjson.dumps(document.source))


def _put(body: dict, target: tuple[str, ...], value: t.Any) -> None:
    for key in target[:-1]:
        body = body.setdefault(key, {})
    body[target[-1]] = value


def _without(record: dict, keys: frozenset[str]) -> dict:
    return record if keys.isdisjoint(record) else {key: value for key, value in record.items() if key not in keys}
