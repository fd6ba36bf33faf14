# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""One collecting run over the data sets of a source: fetch, journal, ship, seal. What one set breaks does not stop the others."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import time
import typing as t
from datetime import UTC, datetime, timedelta

from .._core.argspec import ArgumentSpec, common, elasticsearch
from .._core.clock import format_time, parse_duration, parse_time
from .._core.elastic import Elastic, connect
from .._core.errors import AuthError, ConfigError, InternalError, SocError
from .._core.libraries import need, orjson
from .._core.module import Run
from .._core.reach import Reach, nowhere
from .._core.rest import Http
from .._core.state import lock
from . import errorlog, watch
from .archive import COLLECTED, seal, sealed_numbers, sealed_path
from .auth import open_credentials
from .journal import Journal, WalkState
from .normalise import Company
from .options import vendor_options
from .profile import DataSet, Source, load, merge
from .progress import ProgressLog
from .reconcile import count
from .ship import Shipped, ship
from .vendor import Directory, directory, open_http
from .walk import Rules, Walked, collect_set, quiet

# Timers are not exact: a set is due a little before its time.
SLACK = timedelta(seconds=30)
DAILY = timedelta(hours=24)
# Seconds in which Elasticsearch makes searchable what it has taken: an index is refreshed every second.
REFRESH = (1.5, 3.0)
PROVIDER = {"id": "provider", "name": "Provider"}


def argument_spec(profile: dict) -> ArgumentSpec:
    """Options of a fetch module for ``profile`` (doc fragments ``fetch`` and ``vendor``)."""
    sets = sorted(profile["sets"])
    options: dict[str, dict] = {
        "base_url": {
            "type": "str",
            **({"default": profile["base_url"]} if profile["base_url"] else {"required": True}),
        },
        "sets": {"type": "list", "elements": "str", "choices": sets, "default": sets},
        "only_due": {"type": "bool", "default": False},
        "ask_again_for": {"type": "str", "default": "30d"},
        "since": {"type": "str"},
        "companies": {"type": "list", "elements": "str", "default": []},
        "backfill_slice": {"type": "str", "default": "2m"},
        "reconcile": {"type": "str"},
        "provider": {"type": "dict", "default": PROVIDER},
        "log_dir": {"type": "path", "default": "/var/log/soc"},
        "archive_dir": {"type": "path", "default": "/srv/soc/archive"},
        "seal_after": {"type": "str", "default": "24h"},
        "ignore_set_errors": {"type": "bool", "default": False},
    }
    if profile.get("api"):
        options["api_version"] = {"type": "str", "choices": ["v1", *sorted(profile["api"])], "default": "v1"}
    if (profile.get("companies") or {}).get("option"):
        options["accounts"] = {"type": "dict", "default": {}}
    if any(entry.get("files") for entry in profile["sets"].values()):
        options["syslog_files"] = {"type": "list", "elements": "path", "default": ["/var/log/firebox/*.log"]}
        options["devices"] = {"type": "dict", "default": {}}
    return ArgumentSpec(options).merge(vendor_options()).merge(elasticsearch()).merge(common())


def load_source(params: dict, profile: dict) -> Source:
    """The source that a module's options make of ``profile``. Raises ConfigError."""
    version = profile.get("api", {}).get(params.get("api_version"), {})
    return load(merge(merge(merge(profile, version), {"base_url": params["base_url"]}), params["profile"]))


def open_vendor(source: Source, params: dict) -> Http:
    """The vendor's API with the credentials that the options name. Raises ConfigError."""

    def bare(secrets: t.Callable[[], tuple[str, ...]]) -> Http:
        return open_http(source, None, params["ca_path"], params["timeout"], secrets)

    credentials = open_credentials(source.auth, source.api_key_header, params, bare, source.base_url)
    return open_http(source, credentials, params["ca_path"], params["timeout"])


@dataclasses.dataclass
class Visit:
    """What became of one set in this run."""

    data_set: DataSet
    started: datetime
    ended: datetime
    walked: Walked | None = None
    failure: SocError | None = None
    gap: int | None = None
    dup: int | None = None
    silence: watch.Silence | None = None

    @property
    def failures(self) -> dict[str, SocError]:
        """What went wrong, by set, or by set and company."""
        if self.failure:
            return {self.data_set.name: self.failure}
        companies = self.walked.failures if self.walked else {}
        return {f"{self.data_set.name} of {company}": exc for company, exc in companies.items()}


def fetch(run: Run, profile: dict, reach: Reach = nowhere) -> dict:
    """The whole run of a fetch module. Returns the module's result; see the RETURN of the modules."""
    need("requests", "elasticsearch", "orjson")
    params = run.params
    source = load_source(params, profile)
    chosen = [source.data_set(name) for name in params["sets"]]
    rules = _rules(run, source)
    seal_after = parse_duration(params["seal_after"])
    http = None if all(data_set.files for data_set in chosen) else open_vendor(source, params)
    elastic = connect(params)
    folder, archive = os.path.join(params["state_dir"], source.name), os.path.join(params["archive_dir"], COLLECTED)
    with contextlib.ExitStack() as stack:
        if not run.check_mode:
            stack.enter_context(lock(os.path.join(folder, "lock")))
        journal = stack.enter_context(
            Journal(
                folder,
                sealed=lambda number: sealed_path(archive, source.name, number),
                archived=max(sealed_numbers(archive, source.name), default=0),
                companies=os.path.join(archive, source.name, "companies.json"),
                rehearsal=run.check_mode,
                reach=reach,
            )
        )
        now = run.clock()
        journal.turn_segment(now, seal_after)
        if params["only_due"]:
            chosen = [data_set for data_set in chosen if is_due(journal.last_walk(data_set.name), data_set, now)]
        visits = _visit_all(run, journal, source, chosen, http, rules)
        failures = {what: exc for visit in visits for what, exc in visit.failures.items()}
        shipped, sealed = Shipped(), 0
        if not run.check_mode:
            try:
                shipped = ship(journal, elastic, run.clock, reach)
            except SocError as exc:
                failures["elasticsearch"] = exc
            _watch(run, journal, elastic if "elasticsearch" not in failures else None, source, visits, rules, failures)
            try:
                for number, path in journal.sealable():
                    seal(path, archive, source.name, number, format_time(run.clock()), reach)
                    journal.mark_sealed(number)
                    sealed += 1
            except SocError as exc:
                failures["archive"] = exc
            _log_errors(run, source.name, failures)
        return _result(run, source, visits, failures, shipped, sealed, journal)


def is_due(last: WalkState, data_set: DataSet, now: datetime) -> bool:
    """Whether a set is to be collected now: its last complete walk began its interval ago, or there was none. Pure."""
    return last.completed is None or not parse_time(last.completed) <= now < (
        parse_time(last.completed) + data_set.every - SLACK
    )


def _rules(run: Run, source: Source) -> Rules:
    params = run.params
    try:
        since = parse_time(params["since"]) if params["since"] else None
    except ValueError as exc:
        raise ConfigError(f"The option since is not a time: {exc}. Give ISO 8601, such as 2026-01-01.") from exc
    return Rules(
        look_back=parse_duration(params["look_back"]),
        directory=Directory({}, None),
        provider=_company("provider", "provider", params["provider"]),
        ask_again_for=parse_duration(params["ask_again_for"]),
        syslog_files=tuple(params.get("syslog_files") or ()),
        devices={key: _company("devices", key, entry) for key, entry in (params.get("devices") or {}).items()},
        since=since,
        backfill_slice=parse_duration(params["backfill_slice"]),
        reconcile=parse_duration(params["reconcile"]) if params["reconcile"] else None,
        progress=quiet if run.check_mode else ProgressLog(params["log_dir"], source.name, run.clock),
    )


def _company(option: str, key: str, entry: t.Any) -> Company:
    if not isinstance(entry, dict) or not entry.get("id") or not entry.get("name"):
        raise ConfigError(
            f"The option {option} has no id and name for {key}; give both, as in {{id: c1, name: Acme NV}}."
        )
    return Company(str(entry["id"]), str(entry["name"]))


def _companies(wanted: list[str], found: Directory) -> frozenset[str] | None:
    """The ids of the companies that a backfill is restricted to."""
    if not wanted:
        return None
    ids = {key for key, name in found.names.items() if key in wanted or name in wanted}
    lost = set(wanted) - ids - {found.names[key] for key in ids}
    if lost and found.names:
        raise ConfigError(f"The vendor lists no company {', '.join(sorted(lost))}; correct the option companies.")
    return frozenset(ids or wanted)


def _visit_all(
    run: Run, journal: Journal, source: Source, chosen: list[DataSet], http: Http | None, rules: Rules
) -> list[Visit]:
    """Walk through the sets, several at once where the vendor allows."""
    found, problem = Directory({}, None), None
    accounts = {key: _company("accounts", key, entry) for key, entry in (run.params.get("accounts") or {}).items()}
    if not accounts and (source.companies or {}).get("option") and any(data_set.ask for data_set in chosen):
        raise ConfigError(
            "The option accounts is empty: say which accounts are to be asked about, or leave their set out of sets."
        )
    named = run.params["companies"]
    if http and source.companies and (named or any(_needs_directory(source, data_set) for data_set in chosen)):
        try:
            found = directory(source, http, accounts)
            rules = dataclasses.replace(rules, directory=found, companies=_companies(named, found))
        except SocError as exc:
            problem = exc
            rules = dataclasses.replace(rules, backfill=not named)

    def visit(data_set: DataSet) -> Visit:
        # Without the list of companies nobody may be collected, and nobody is.
        if problem and _needs_directory(source, data_set):
            return Visit(data_set, run.clock(), run.clock(), failure=problem)
        return _visit(run, journal, source, data_set, http, rules)

    if source.at_once == 1 or len(chosen) < 2:
        return [visit(data_set) for data_set in chosen]
    with concurrent.futures.ThreadPoolExecutor(source.at_once) as pool:
        return list(pool.map(visit, chosen))


def _needs_directory(source: Source, data_set: DataSet) -> bool:
    by_name = data_set.tenant_id is not None and data_set.tenant_name is None
    return not data_set.files and bool((source.companies or {}).get("flag") or data_set.ask or by_name)


def _visit(run: Run, journal: Journal, source: Source, data_set: DataSet, http: Http | None, rules: Rules) -> Visit:
    started = run.clock()
    last = journal.last_walk(data_set.name).reconciled
    if data_set.files or data_set.kind == "snapshot" or (last and started - parse_time(last) < DAILY - SLACK):
        rules = dataclasses.replace(rules, reconcile=None)
    try:
        walked, failure = collect_set(journal, source, data_set, http, run.clock, rules), None
    except SocError as exc:
        walked, failure = None, exc
    except Exception as exc:  # whatever it is, it must not stop the other sets and the shipping
        walked, failure = None, InternalError.of(exc)
    return Visit(data_set, started, run.clock(), walked, failure)


def _watch(
    run: Run,
    journal: Journal,
    elastic: Elastic | None,
    source: Source,
    visits: list[Visit],
    rules: Rules,
    failures: dict[str, SocError],
) -> None:
    """Judge what this run and those before it show, and write it down as documents of ``soc-probe``."""
    now = run.clock()
    notes = []
    waiting = journal.waiting()
    for visit in visits:
        name = visit.data_set.name
        if visit.walked and visit.walked.offered is not None and rules.reconcile:
            _reconcile(run, journal, elastic, source, visit, now - rules.reconcile)
        if visit.walked and not visit.walked.whole and not visit.failures:
            run.warn(
                f"The list {name} of {source.name} repeated itself before its end. It is asked for again at the next run; if"
                " that goes on, ask soc_doctor."
            )
        visit.silence = _silence(journal, visit.data_set, now)
        if visit.silence:
            run.warn(f"{source.name} {name}: {visit.silence.sentence}")
        advice = watch.look_back_advice(journal.lags(name), rules.look_back)
        if advice:
            run.warn(f"{source.name} {name}: {advice}")
        cursor = journal.cursor(name)
        problem = next(iter(visit.failures.values()), None)
        facts = {
            "waiting": waiting,
            "newest": parse_time(cursor.time) if cursor else None,
            "gap": visit.gap,
            "dup": visit.dup,
            "silent": visit.silence.sentence if visit.silence else None,
            "error": problem.code if problem else None,
        }
        tally = dataclasses.asdict(visit.walked.tally) if visit.walked else {}
        tenant = {"id": rules.provider.id, "name": rules.provider.name}
        key, body = watch.probe_document(source.name, name, visit.started, visit.ended, tally, facts, tenant)
        action = {"create": {"_index": watch.PROBE_INDEX, "_id": key}}
        notes.append(b"%s\n%s\n" % (orjson.dumps(action), orjson.dumps(body)))
    try:
        journal.write_notes(notes)
        if elastic and notes:
            ship(journal, elastic, run.clock)
    except SocError as exc:
        failures.setdefault("elasticsearch", exc)


def _silence(journal: Journal, data_set: DataSet, now: datetime) -> watch.Silence | None:
    cursor = journal.cursor(data_set.name)
    newest = cursor.time if cursor else journal.last_walk(data_set.name).first
    if data_set.kind == "snapshot" or not newest:
        return None
    rules = watch.SilenceRules(at_least=2 * data_set.every, silent_after=data_set.silent_after)
    since = format_time(parse_time(newest) - timedelta(days=rules.days + 1))
    counts = {
        datetime.fromisoformat(f"{hour}:00").replace(tzinfo=UTC): records
        for hour, records in journal.hours(data_set.name, since).items()
    }
    return watch.silent(counts, parse_time(newest), now, rules)


def _reconcile(
    run: Run, journal: Journal, elastic: Elastic | None, source: Source, visit: Visit, since: datetime
) -> None:
    """Count the full hours since ``since``: at the vendor, in the journal, in the index."""
    walked = t.cast(Walked, visit.walked)
    offered = t.cast(dict, walked.offered)
    until = visit.started - timedelta(hours=1)
    for wait in (0.0, *REFRESH):
        time.sleep(wait)  # what was sent a moment ago may not be searchable yet
        try:
            rows = count(journal, None if journal.waiting() else elastic, source, visit.data_set, offered, since, until)
        except AuthError as exc:
            run.warn(f"The index cannot be counted: {exc.message} Give the collector's key the privilege read.")
            rows = count(journal, None, source, visit.data_set, offered, since, until)
        except SocError as exc:
            run.warn(f"The index cannot be counted: {exc.message}")
            rows = count(journal, None, source, visit.data_set, offered, since, until)
        total = watch.totals(rows)
        if not (total.gap or total.dup):
            break
    # What this walk found, and the walks before it should have found, was a gap until now.
    visit.gap, visit.dup = total.gap + walked.missed, total.dup
    if visit.gap or visit.dup:
        run.warn(f"{source.name} {visit.data_set.name} does not add up:\n{watch.table(rows)}")


def tell(failures: t.Mapping[str, SocError]) -> str:
    """What went wrong, for a person: of many failures of one kind the first says enough. Pure."""
    kinds: dict[str, list[str]] = {}
    for what, exc in failures.items():
        kinds.setdefault(exc.code, []).append(what)
    parts = []
    for names in kinds.values():
        shown = names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]
        parts.append(f"{', '.join(shown)}: {failures[names[0]].message}")
    return "; ".join(parts)


def _log_errors(run: Run, source: str, failures: dict[str, SocError]) -> None:
    now = format_time(run.clock())
    lines = [f"{now} {what}: {exc.code}: {exc.message}" for what, exc in failures.items()]
    problem = errorlog.write(run.params["log_dir"], source, lines)
    if problem:
        run.warn(problem)


def _result(
    run: Run,
    source: Source,
    visits: list[Visit],
    failures: dict[str, SocError],
    shipped: Shipped,
    sealed: int,
    journal: Journal,
) -> dict:
    tallies = {visit.data_set.name: visit.walked.tally for visit in visits if visit.walked}
    counts = {name: dataclasses.asdict(tally) for name, tally in tallies.items()}
    written = sum(tally.written for tally in tallies.values())
    dead = sum(tally.dead_letters for tally in tallies.values()) + shipped.refused
    result: dict = {
        "changed": bool(written or dead or sealed or shipped.indexed or (run.check_mode and journal.waiting())),
        "sets": counts,
        "collected": written,
        "indexed": shipped.indexed,
        "already_indexed": shipped.already,
        "waiting": journal.waiting(),
        "dead_letters": dead,
        "sealed": sealed,
        "silent": {visit.data_set.name: visit.silence.sentence for visit in visits if visit.silence},
        "reconciled": {
            visit.data_set.name: {"gap": visit.gap, "dup": visit.dup} for visit in visits if visit.gap is not None
        },
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
            f"{dead} records or values of {source.name} could not be used; they are kept with the reason in the table dead_letter of its journal."
        )
    if failures:
        told = tell(failures)
        if run.params["ignore_set_errors"]:
            run.warn(told)
        else:
            worst = next(iter(failures.values()))
            result["failure"] = {
                "code": worst.code,
                "message": f"{source.name}: {told}"
                + (f" ({result['waiting']} documents are safe in the journal.)" if result["waiting"] else ""),
                "details": {what: exc.as_dict() for what, exc in failures.items()},
            }
    return result
