# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records that real products made go through mapping tables as a site would write them.

What comes out is held against what another pipeline made of the same records, where that is known. ``pytest -s``
prints how much of each field there is.
"""

from __future__ import annotations

import collections
import functools
import json
import typing as t

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.ecs import FIELDS
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import (
    Company,
    Document,
    Malformed,
    operation,
    wanted,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.collect.real_records import (
    CLIENT,
    DATA,
    DIRECTORY_NAME,
    EXAMPLES,
    Example,
    alike,
    fits,
    flat,
    handle,
    outcome,
    read,
    report,
    source_of,
)

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="../shared/data is missing: the records of others are kept beside the repository"
)
# What the journal's caller takes for a record that cannot be handled.
HANDLED = (Malformed, TypeError, ValueError, OverflowError, RecursionError)
each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


@each
def test_every_record_is_a_document_or_refused_with_a_reason(example: Example) -> None:
    result = outcome(example.name)
    print("\n" + report(result))
    reasons = [str(made) for made in result.made if isinstance(made, Malformed)]
    refused = {part: sum(part in reason for reason in reasons) for part in example.refused}
    assert refused == example.refused
    assert len(reasons) == sum(refused.values()), reasons


@each
def test_every_value_fits_its_field_or_is_named(example: Example) -> None:
    misfit: collections.Counter[str] = collections.Counter()
    for document in outcome(example.name).documents:
        check(document)
        misfit.update(document.source["soc"].get("rejected", ()))
    assert misfit == example.misfit


@each
def test_nothing_of_a_record_is_lost(example: Example) -> None:
    result = outcome(example.name)
    for record, made in zip(result.records, result.made):
        if isinstance(made, Document):
            kept = {key: value for key, value in record.items() if key not in result.data_set.drop}
            assert json.loads(made.source["event"]["original"]) == kept


@each
def test_different_records_are_different_documents(example: Example) -> None:
    result = outcome(example.name)
    kept = [record for record, made in zip(result.records, result.made) if isinstance(made, Document)]
    if result.data_set.id is None:
        assert len({document.id for document in result.documents}) == len({json.dumps(record) for record in kept})
    else:
        assert len({document.id for document in result.documents}) == len({made.vendor_id for made in result.documents})


@each
def test_the_fields_that_matter_are_covered(example: Example) -> None:
    result = outcome(example.name)
    found = {target: result.share(target) for target in example.floor}
    assert not {target: share for target, share in found.items() if share < example.floor[target]}
    assert result.share("@timestamp") == 1


@each
def test_values_are_those_of_another_pipeline(example: Example) -> None:
    result = outcome(example.name)
    wrong = []
    for target in result.targets:
        differs = example.differs.get(target)
        pairs = result.compared(target)
        plain = [(ours, theirs) for ours, theirs in pairs if not alike(target, ours, theirs)]
        if not differs:
            wrong += [(target, *pair) for pair in plain]
            continue
        assert plain, f"{target} does not differ: {differs.reason}"
        if differs.read:
            converted = [(ours and differs.read(ours), theirs) for ours, theirs in pairs]
            wrong += [(target, *pair) for pair in converted if not alike(target, *pair)]
    assert not wrong
    assert set(example.differs) <= set(result.targets)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "/elastic/" in e.file], ids=lambda example: example.name)
def test_there_is_something_to_compare_with(example: Example) -> None:
    result = outcome(example.name)
    compared = [target for target in result.targets if result.compared(target)]
    assert len(compared) >= 6
    # What the other pipeline could not date or drops is refused here as well; other types of log are refused on purpose.
    dropped = [theirs is None or "@timestamp" not in theirs for theirs in result.theirs]
    refused = [isinstance(made, Malformed) and "event_type" not in str(made) for made in result.made]
    assert dropped == refused


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.findings], ids=lambda example: example.name)
def test_as_many_findings_as_another_importer_counts(example: Example) -> None:
    count, fields = example.findings
    facts = json.loads((DATA / "vuln/expected_facts.json").read_text("utf-8"))
    assert count == facts["findings"][example.name]
    bodies = [flat(document.source) for document in outcome(example.name).documents]
    assert len({tuple(str(body.get(field)) for field in fields) for body in bodies}) == count
    if first := facts.get(example.name):
        known = {
            "message": first["first_title"],
            "vulnerability.severity": first["first_severity"],
            "host.name": first["first_host"],
            "server.port": first["first_port"],
        }
        assert any(known.items() <= body.items() for body in bodies)


def test_a_vendors_word_for_closed_closes_an_alarm() -> None:
    result = outcome("m365_defender.incident.test-incident")
    said = [
        record["status"] == "resolved"
        for record, made in zip(result.records, result.made)
        if isinstance(made, Document)
    ]
    assert [not document.open for document in result.documents] == said
    assert {document.tenant for document in result.documents} == {
        record["tenantId"] for record in result.records if "tenantId" in record
    }
    assert {document.source["organization"]["name"] for document in result.documents} == {DIRECTORY_NAME}


# Records that went wrong on their way.

# A hostile or broken vendor's idea of a value; JSON as such can carry it.
EDGES: list = [
    *("", " ", "\x00", "null", "N/A", "-", "0x1F", "1e999", "1_000", "\u0664\u0662", "NaN", "Infinity", "-1", "1.0"),
    *("9" * 5000, "x" * 9000, "\u00e9" * 16_000, "1" * 400 + ".5"),
    *("10.0.0.256", "::ffff:192.0.2.1", "fe80::1%eth0", "2001:db8::/32", "010.1.1.1", 167772161),
    *("2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "20261120", 1e11, -1e15),
    *(None, True, False, 0, -1, 1.5, 65536, 2**31, 2**63, -(2**63), 2**64 - 1, 1e38, -0.0, 5e-324),
    *([], {}, [[]], [None], [1, "a", None], {"$oid": "1"}, ["10.0.0.1", "10.0.0.2"], [[1]], [True]),
]
SOUND = st.one_of(
    st.sampled_from(EDGES),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
)
DEEP = functools.reduce(lambda inner, _level: [inner], range(400), [])
UNSOUND = st.one_of(
    st.just(float("nan")),
    st.just(float("inf")),
    st.integers(2**64, 2**200),
    st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3),
    st.just(DEEP),
    st.builds(pow, st.just(10), st.just(5000)),  # not as it is: hypothesis could not print it
)
QUICK = settings(
    max_examples=250, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@functools.cache
def samples() -> list[tuple]:
    """A few records of every kind with what is needed to normalise them, and the paths inside each."""
    chosen = []
    for example in EXAMPLES:
        source, data_set = source_of(example)
        for record in read(example)[:4]:
            chosen.append((record, source, data_set, example.client, list(places(record))))
    return chosen


def places(value: t.Any, here: tuple = ()) -> t.Iterator[tuple]:
    """The path of every value inside a record."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*here, key)
        yield from places(item, (*here, key))


GONE = object()


def altered(record: t.Any, path: tuple, value: t.Any) -> t.Any:
    """A copy of a record with another value at the path, or without one (GONE), as far as the path leads anywhere."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(record, dict) and (rest == () or key in record):
        copied: t.Any = dict(record)
    elif isinstance(record, list) and isinstance(key, int) and -len(record) <= key < len(record):
        copied = list(record)
    else:
        return record
    if value is GONE and not rest:
        copied.pop(key, None) if isinstance(copied, dict) else copied.pop(key)
    else:
        copied[key] = altered(record[key] if rest else None, rest, value)
    return copied


def check(document: Document) -> None:
    """Assert that Elasticsearch would take the document, and every field of it."""
    action, body = (json.loads(line) for line in operation(document, 1).splitlines())
    assert next(iter(action.values()))["_id"] == document.id
    assert body == document.source
    assert not {
        target: value for target, value in flat(body).items() if target not in FIELDS or not fits(target, value)
    }


@given(data=st.data())
@QUICK
def test_a_broken_record_breaks_nothing(data: st.DataObject) -> None:
    record, source, data_set, client, paths = data.draw(st.sampled_from(samples()))
    mapped = [path for field in data_set.fields for path in field.paths]
    important = [
        *(data_set.id or ()),
        *(data_set.time or ()),
        *(data_set.tenant_id or ()),
        *(data_set.tenant_name or ()),
    ]
    for _turn in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(paths) | st.sampled_from(mapped) | st.sampled_from(important or mapped))
        record = altered(record, path, data.draw(SOUND | UNSOUND | st.just(GONE)))
    try:
        document = handle(record, source, data_set, client) if wanted(record, data_set, None) else None
    except HANDLED as exc:
        assert str(exc)
    else:
        if document:
            check(document)


@functools.cache
def spoilt() -> list[tuple[str, t.Any, Document, Document]]:
    """One record of every table with one mapped value replaced by each of EDGES: field, value, before, after."""
    made = []
    for example in {json.dumps(example.option): example for example in EXAMPLES}.values():
        source, data_set = source_of(example)
        result = outcome(example.name)
        record, before = next(pair for pair in zip(result.records, result.made) if isinstance(pair[1], Document))
        rules = (data_set.id, data_set.time, data_set.tenant_id, data_set.tenant_name)
        needed = {path for paths in rules for path in paths or ()}
        for field in data_set.fields:
            if not field.paths or needed & set(field.paths):
                continue
            for value in EDGES:
                broken = altered(record, field.paths[0], value)
                made.append((".".join(field.target), value, before, handle(broken, source, data_set, example.client)))
    return made


def test_a_value_that_does_not_fit_never_loses_the_alarm() -> None:
    for target, value, before, after in spoilt():
        assert (after.time, after.tenant, after.index) == (before.time, before.tenant, before.index)
        named = target in after.source["soc"].get("rejected", ())
        assert named == any(reason.startswith(f"{target} ") for reason in after.rejected)
        assert not (named and target in flat(after.source)), (target, value)


def test_what_is_kept_of_a_bad_value_fits() -> None:
    for _target, _value, _before, after in spoilt():
        check(after)


def identity(**fields: t.Any) -> dict:
    """A finding of which only what identifies it is of interest."""
    return {"Result ID": "r1", "Timestamp": "2026-11-20T00:00:00Z", **fields}


LONG = "\u00e9" * 20_000  # more bytes than a term may have


@pytest.mark.parametrize(
    ("record", "client"),
    [
        pytest.param(identity(CVSS=1e39), None, id="float of more than 32 bits"),
        pytest.param(identity(**{"Result ID": LONG}), None, id="long id"),
        pytest.param(identity(), Company(LONG, "Acme NV"), id="long company id"),
        pytest.param(identity(), Company("c1", LONG), id="long company name"),
    ],
)
def test_nothing_is_sent_that_elasticsearch_refuses(record: dict, client: Company | None) -> None:
    source, data_set = source_of(next(example for example in EXAMPLES if "openvas" in example.file))
    if client:  # as the record would say it
        record = {**record, "company": {"data": {"id": client.id, "name": client.name}}}
    try:
        check(handle(record, source, data_set, None if client else CLIENT))
    except Malformed:
        pass


def test_a_flag_is_no_id() -> None:
    source, data_set = source_of(next(example for example in EXAMPLES if "openvas" in example.file))
    with pytest.raises(Malformed, match="no id"):
        handle(identity(**{"Result ID": True}), source, data_set, CLIENT)


@pytest.mark.parametrize(
    "value",
    ["active", "RESOLVED ", 0, {}, {"resolved": True}, [], [False], ["active"]],
    ids=repr,
)
def test_only_a_yes_closes_an_alarm(value: t.Any) -> None:
    example = next(example for example in EXAMPLES if "m365" in example.file)
    source, data_set = source_of(example)
    document = handle({**outcome(example.name).records[0], "status": value}, source, data_set, None)
    assert document.open is True


@pytest.mark.parametrize("record", [None, [], "text", 7, True, {}, {"": ""}, [{}]], ids=repr)
def test_what_is_no_record_is_refused(record: t.Any) -> None:
    for _record, source, data_set, client, _paths in samples():
        if data_set.time is not None or not isinstance(record, dict):
            with pytest.raises(Malformed, match="it is not|it has no|it names no|its time"):
                handle(record, source, data_set, client)
