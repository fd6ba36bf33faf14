# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""One collecting run over the data sets of a source: fetch, journal, ship. What one set breaks does not stop the others."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from datetime import datetime, timedelta

from .._core.argspec import ArgumentSpec, common, elasticsearch
from .._core.clock import Clock, format_time, parse_duration, parse_time
from .._core.elastic import connect
from .._core.errors import ConfigError, SocError
from .._core.ids import content_digest
from .._core.libraries import need, orjson
from .._core.module import Run
from .._core.reach import Reach, nowhere
from .._core.rest import Http
from .._core.secrets import secret_option
from .._core.state import FILE_MODE, ensure_folder, lock
from .journal import Cursor, DeadLetter, Journal, plan_page
from .normalise import Malformed, normalise, wanted
from .profile import DataSet, Source, load, merge
from .ship import Shipped, ship
from .vendor import Credentials, open_http, pages, subscribed


def argument_spec(profile: dict) -> ArgumentSpec:
    """Options of a fetch module for ``profile`` (doc fragment ``fetch``)."""
    sets = sorted(profile["sets"])
    own = ArgumentSpec(
        {
            "base_url": {
                "type": "str",
                **({"default": profile["base_url"]} if profile["base_url"] else {"required": True}),
            },
            "token_file": {"type": "path", "required": True, "no_log": False},
            "api_key": {"type": "str", "no_log": True},
            "api_key_file": {"type": "path", "no_log": False},
            "ca_path": {"type": "path"},
            "timeout": {"type": "int", "default": 30},
            "sets": {"type": "list", "elements": "str", "choices": sets, "default": sets},
            "look_back": {"type": "str", "default": "40m"},
            "profile": {"type": "dict", "default": {}},
            "state_dir": {"type": "path", "default": "/var/lib/soc"},
            "log_dir": {"type": "path", "default": "/var/log/soc"},
            "ignore_set_errors": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("api_key", "api_key_file")],
    )
    return own.merge(elasticsearch()).merge(common())


@dataclasses.dataclass
class Tally:
    """What one walk through one set met. ``fetched`` = ``new`` + ``changed`` + ``known`` + ``skipped`` + ``malformed``."""

    fetched: int = 0
    new: int = 0
    changed: int = 0
    known: int = 0
    skipped: int = 0
    malformed: int = 0
    vanished: int = 0
    dead_letters: int = 0
    cursor_before: str | None = None
    cursor_after: str | None = None

    @property
    def written(self) -> int:
        """Documents that went to the journal."""
        return self.new + self.changed + self.vanished


def collect_set(
    journal: Journal,
    source: Source,
    data_set: DataSet,
    http: Http,
    clock: Clock,
    look_back: timedelta,
    tenants: frozenset[str] | None,
) -> Tally:
    """Walk once through ``data_set`` and journal it, page by page."""
    tally, walk, complete = Tally(), journal.begin_walk(data_set.name), True
    cursor = journal.cursor(data_set.name)
    tally.cursor_before = tally.cursor_after = cursor.time if cursor else None
    since = parse_time(cursor.time) - look_back if cursor else None
    unused: set[str] = set()
    for variant in data_set.variants:
        for page in pages(source, data_set, variant, http, since, tenants):
            fresh = _collect_page(journal, source, data_set, page.records, walk, clock(), tenants, tally, unused)
            if not fresh:
                # Nothing that this walk has not seen: the end, unless the vendor's own counter says that more follows.
                complete = complete and (page.final or not data_set.paging.get("last_page"))
                break
    cursor = journal.cursor(data_set.name)
    tally.cursor_after = cursor.time if cursor else None
    if data_set.kind == "snapshot" and complete:
        now = clock()
        while gone := journal.vanished(data_set.name, walk):
            journal.write_vanished(data_set.name, walk, gone, now, format_time(now))
            tally.vanished += len(gone)
    return tally


def _collect_page(
    journal: Journal,
    source: Source,
    data_set: DataSet,
    records: list,
    walk: int,
    now: datetime,
    tenants: frozenset[str] | None,
    tally: Tally,
    unused: set[str],
) -> bool:
    """Journal one page; True when it brought anything that this walk had not seen.

    ``unused`` holds what this walk met and could not or should not use: the journal does not know those records.
    """
    documents, dead, skipped, before, observed = [], [], 0, len(unused), format_time(now)
    for record in records:
        if not wanted(record, data_set, tenants):
            skipped += 1
            unused.add(content_digest(record))
            continue
        try:
            documents.append(normalise(record, source, data_set, observed, journal.slug_of))
        except Malformed as exc:
            letter = DeadLetter(
                content_digest([data_set.name, record]), data_set.name, str(exc), observed, orjson.dumps(record)
            )
            dead.append(letter)
            unused.add(letter.id)
    plan = plan_page(
        documents, journal.known({document.id for document in documents}), walk, int(now.timestamp() * 1_000_000)
    )
    latest = max(((document.time, document.vendor_id) for document in documents), default=None)
    tally.dead_letters += journal.write_page(data_set.name, walk, plan, dead, Cursor(*latest) if latest else None)
    new = sum(write.new for write in plan.writes)
    tally.fetched += len(records)
    tally.new += new
    tally.changed += len(plan.writes) - new
    tally.known += plan.unchanged
    tally.skipped += skipped
    tally.malformed += len(dead)
    return plan.fresh > 0 or len(unused) > before


def fetch(run: Run, profile: dict, reach: Reach = nowhere) -> dict:
    """The whole run of a fetch module. Returns the module's result; see the RETURN of the modules."""
    need("requests", "elasticsearch", "orjson")
    params = run.params
    source = load(merge(merge(profile, {"base_url": params["base_url"]}), params["profile"]))
    chosen = [_known_set(source, name) for name in params["sets"]]
    look_back = parse_duration(params["look_back"])
    credentials = Credentials(
        params["token_file"], secret_option(params, "api_key", "API key of the vendor"), source.api_key_header
    )
    http = open_http(source, credentials, params["ca_path"], params["timeout"])
    elastic = connect(params)
    folder = os.path.join(params["state_dir"], source.name)
    with contextlib.ExitStack() as stack:
        if not run.check_mode:
            stack.enter_context(lock(os.path.join(folder, "lock")))
        journal = stack.enter_context(Journal(folder, rehearsal=run.check_mode, reach=reach))
        tallies, failures = _collect_sets(journal, source, chosen, http, run.clock, look_back)
        shipped = Shipped()
        if not run.check_mode:
            try:
                shipped = ship(journal, elastic, run.clock, reach)
            except SocError as exc:
                failures["elasticsearch"] = exc
            _log_errors(params["log_dir"], source.name, failures, run.clock)
        return _result(run, source, tallies, failures, shipped, journal)


def _known_set(source: Source, name: str) -> DataSet:
    if name not in source.sets:
        raise ConfigError(f"{source.name} has no set {name}; it has {', '.join(sorted(source.sets))}.")
    return source.sets[name]


def _collect_sets(
    journal: Journal, source: Source, chosen: list[DataSet], http: Http, clock: Clock, look_back: timedelta
) -> tuple[dict[str, Tally], dict[str, SocError]]:
    tallies: dict[str, Tally] = {}
    failures: dict[str, SocError] = {}
    try:
        tenants = subscribed(source, http)
    except SocError as exc:
        # Without the list of subscriptions nobody may be collected, and nobody is.
        return {}, {data_set.name: exc for data_set in chosen}
    for data_set in chosen:
        try:
            tallies[data_set.name] = collect_set(journal, source, data_set, http, clock, look_back, tenants)
        except SocError as exc:
            failures[data_set.name] = exc
    return tallies, failures


def _log_errors(log_dir: str, source: str, failures: dict[str, SocError], clock: Clock) -> None:
    if not failures:
        return
    lines = [f"{format_time(clock())} {what}: {exc.code}: {exc.message}\n" for what, exc in failures.items()]
    descriptor = os.open(
        os.path.join(ensure_folder(log_dir), f"{source}.error.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE
    )
    with os.fdopen(descriptor, "a", encoding="utf-8") as handle:
        handle.writelines(lines)


def _result(
    run: Run,
    source: Source,
    tallies: dict[str, Tally],
    failures: dict[str, SocError],
    shipped: Shipped,
    journal: Journal,
) -> dict:
    counts = {name: dataclasses.asdict(tally) for name, tally in tallies.items()}
    written = sum(tally.written for tally in tallies.values())
    dead = sum(tally.dead_letters for tally in tallies.values()) + shipped.refused
    result: dict = {
        "changed": bool(written or dead or shipped.indexed),
        "sets": counts,
        "collected": written,
        "indexed": shipped.indexed,
        "already_indexed": shipped.already,
        "waiting": journal.waiting(),
        "dead_letters": dead,
        "assumed": sorted(name for name in tallies if source.sets[name].assumed),
        "diff": {
            "before": {name: {"cursor": entry["cursor_before"]} for name, entry in counts.items()},
            "after": {
                name: {"cursor": entry["cursor_after"]}
                | {key: entry[key] for key in ("new", "changed", "vanished", "dead_letters") if entry[key]}
                for name, entry in counts.items()
            },
        },
    }
    if dead:
        run.warn(
            f"{dead} records of {source.name} could not be used; they are kept with the reason in the table dead_letter of its journal."
        )
    if failures:
        told = "; ".join(f"{name}: {exc.message}" for name, exc in failures.items())
        if run.params["ignore_set_errors"]:
            run.warn(told)
        else:
            worst = next(iter(failures.values()))
            result["failure"] = {
                "code": worst.code,
                "message": f"{source.name}: {told}"
                + (f" ({result['waiting']} documents are safe in the journal.)" if result["waiting"] else ""),
                "details": {name: exc.as_dict() for name, exc in failures.items()},
            }
    return result
