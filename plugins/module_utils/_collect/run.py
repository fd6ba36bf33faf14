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
from datetime import timedelta

from .._core.argspec import ArgumentSpec, common, elasticsearch
from .._core.clock import Clock, format_time, parse_duration
from .._core.elastic import connect
from .._core.errors import ConfigError, InternalError, SocError, StateError
from .._core.libraries import need
from .._core.module import Run
from .._core.reach import Reach, nowhere
from .._core.rest import Http
from .._core.secrets import secret_option
from .._core.state import FILE_MODE, ensure_folder, lock
from .journal import Journal
from .profile import DataSet, Source, load, merge
from .ship import Shipped, ship
from .vendor import Credentials, open_http, subscribed
from .walk import Tally, collect_set


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
            _log_errors(run, source.name, failures)
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
        except Exception as exc:  # whatever it is, it must not stop the other sets and the shipping
            failures[data_set.name] = InternalError.of(exc)
    return tallies, failures


def _log_errors(run: Run, source: str, failures: dict[str, SocError]) -> None:
    if not failures:
        return
    path = os.path.join(run.params["log_dir"], f"{source}.error.log")
    lines = [f"{format_time(run.clock())} {what}: {exc.code}: {exc.message}\n" for what, exc in failures.items()]
    try:
        ensure_folder(run.params["log_dir"])
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE), "a", encoding="utf-8") as handle:
            handle.writelines(lines)
    except (OSError, StateError) as exc:  # the errors themselves are told all the same
        run.warn(f"The log {path} cannot be written: {exc}")


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
        "changed": bool(written or dead or shipped.indexed or (run.check_mode and journal.waiting())),
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
