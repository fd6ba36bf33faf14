# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Looking at a source from all sides without changing anything; what to make of it is in claims.py and diagnosis.py."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import ssl
import typing as t
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

from .._core.argspec import ArgumentSpec, common, elasticsearch
from .._core.clock import Clock, format_time, parse_duration
from .._core.elastic import Elastic, connect
from .._core.errors import AnswerError, AuthError, ConfigError, SocError
from .._core.libraries import need, orjson, requests
from .._core.module import Run
from .._core.rest import Http
from .._core.state import open_read_only
from .claims import FAIL, Reply, SetLook, assumptions, coverage, sample
from .diagnosis import NEEDED, Certificate, ElasticLook, Facts, FilesLook, JournalLook, judge, table
from .ecs import FIELDS
from .normalise import Company
from .options import vendor_options
from .profile import DataSet, Source, compile_paths, dig, records_of
from .profiles import cyberalarm, guardian360, watchguard
from .run import load_source, open_vendor
from .vendor import NOBODY, YES, address

PROFILES: dict[str, dict] = {
    "cyberalarm": cyberalarm.PROFILE,
    "guardian360": guardian360.PROFILE,
    "watchguard": watchguard.PROFILE,
}
# Records asked for at once: enough to see what is usual, and no burden.
PAGE = 25
RECENT = timedelta(days=7)
SECRETS = (
    "token_file",
    "client_secret_file",
    "api_key_file",
    "elasticsearch_api_key_file",
    "elasticsearch_password_file",
)
TEMPLATE, FIELDS_TEMPLATE = "soc-collected", "soc-ecs"


class Unhealthy(SocError):
    """Something that soc_doctor looked at cannot work."""

    code = "unhealthy"


def argument_spec() -> ArgumentSpec:
    """Options of the module soc_doctor: those of the fetch modules, as far as looking needs them."""
    own = ArgumentSpec(
        {
            "source": {"type": "str", "required": True, "choices": sorted(PROFILES)},
            "base_url": {"type": "str"},
            "api_version": {"type": "str", "choices": ["v1", "v2"], "default": "v1"},
            "accounts": {"type": "dict", "default": {}},
            "syslog_files": {"type": "list", "elements": "path", "default": ["/var/log/firebox/*.log"]},
            "sets": {"type": "list", "elements": "str", "default": []},
        }
    )
    return own.merge(vendor_options()).merge(elasticsearch()).merge(common())


def examine(run: Run) -> dict:
    """The whole run of soc_doctor. Returns the module's result; see its RETURN. Raises ConfigError.

    It asks and reads, and changes nothing, in check mode or not.
    """
    need("requests", "elasticsearch", "orjson")
    params = run.params
    source = _source(params)
    chosen = [source.data_set(name) for name in params["sets"] or sorted(source.sets)]
    asked = [data_set for data_set in chosen if not data_set.files]
    elastic = connect(params)
    companies, looks, certificates = None, [], []
    if asked:
        http = open_vendor(source, params)
        certificates.append(certificate(source.name, source.base_url, params["ca_path"], params["timeout"]))
        companies, known = ask_companies(source, http, run.clock, params["accounts"])
        looks = [ask_set(source, data_set, http, run.clock, known) for data_set in asked]
    url, authority = params["elasticsearch_url"], params["elasticsearch_ca_path"]
    certificates.append(certificate("elasticsearch", url, authority, params["elasticsearch_timeout"]))
    facts = Facts(
        now=run.clock(),
        source=source.name,
        look_back=parse_duration(params["look_back"]),
        sets=tuple(looks),
        files=tuple(FilesLook(entry.name, look_at_files(params["syslog_files"])) for entry in chosen if entry.files),
        companies=companies,
        certificates=tuple(certificates),
        elastic=ask_elastic(elastic, source.name),
        journal=read_journal(os.path.join(params["state_dir"], source.name, "journal.sqlite")),
        free=free_space(params["state_dir"]),
        modes=modes(params),
    )
    return _result(facts)


def _source(params: dict) -> Source:
    profile = PROFILES[params["source"]]
    if params["api_version"] != "v1" and params["api_version"] not in profile.get("api", {}):
        raise ConfigError(f"{params['source']} has no api_version {params['api_version']}; leave that option out.")
    return load_source({**params, "base_url": params["base_url"] or profile["base_url"]}, profile)


def _result(facts: Facts) -> dict:
    findings = judge(facts)
    text = table(facts.source, findings)
    result: dict = {
        "changed": False,
        "findings": [
            {"check": entry.check, "what": entry.what, "verdict": entry.verdict, "sentence": entry.sentence}
            for entry in findings
        ],
        "assumptions": {look.data_set.name: assumptions(look) for look in facts.sets if look.data_set.assumed},
        "coverage": {look.data_set.name: coverage(look) for look in facts.sets},
        "table": text.splitlines(),
    }
    failing = [entry for entry in findings if entry.verdict == FAIL]
    if failing:
        told = " ".join(f"{entry.what}: {entry.sentence}" for entry in failing)
        wrong = [f"{entry.what}: {entry.check}" for entry in failing]
        return {**result, "failure": Unhealthy(told, findings=wrong).as_dict()}
    return {**result, "msg": text}


# Asking the vendor


def ask(http: Http, clock: Clock, method: str, url: str, fields: dict) -> Reply:
    """One call with ``fields`` in the query of a GET or the body of anything else. Never raises a SocError."""
    where = {"params": fields} if method == "GET" else {"body": fields}
    try:
        seen = http.look(method, url, **where)
    except SocError as exc:
        return Reply(exc.details.get("status"), exc.message)  # type: ignore[arg-type]
    try:
        answer = orjson.loads(seen.content)
    except orjson.JSONDecodeError:
        answer = None
    return Reply(seen.status, http.excerpt(seen.content), answer, seen.seconds, _skew(seen.headers.get("Date"), clock))


def _skew(date: str | None, clock: Clock) -> float | None:
    try:
        there = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    # The header counts whole seconds: on average it is half a second behind.
    return (there.replace(tzinfo=there.tzinfo or UTC) - clock()).total_seconds() + 0.5


def ask_companies(
    source: Source, http: Http, clock: Clock, accounts: dict
) -> tuple[tuple[dict, Reply] | None, tuple[Company, ...]]:
    """The first page of the list of companies, where there is one, and those on it that are collected."""
    rules = source.companies
    if not rules:
        return None, ()
    if rules.get("option"):
        return None, tuple(Company(key, key) for key in sorted(accounts))
    paging = rules.get("paging", {})
    fields = {paging["page_param"]: paging.get("first", 1)} if paging.get("page_param") else {}
    if paging.get("size_param"):
        fields[paging["size_param"]] = PAGE
    reply = ask(http, clock, "GET", source.base_url + rules["path"], fields)
    flag = compile_paths(rules["flag"]) if rules.get("flag") else None
    found = []
    for record in (records_of(reply.answer, rules["envelope"]) or []) if reply.good else []:
        identity = dig(record, compile_paths(rules["id"]))
        if isinstance(identity, (str, int)) and identity != "" and (flag is None or dig(record, flag) in YES):
            found.append(Company(str(identity), str(identity)))
    return (rules, reply), tuple(found)


def ask_set(source: Source, data_set: DataSet, http: Http, clock: Clock, companies: tuple[Company, ...]) -> SetLook:
    """The first page of ``data_set``, and what its answer makes worth asking: at most a handful of small calls."""
    company = companies[0] if data_set.ask and companies else None
    if data_set.ask and not company:
        return SetLook(data_set, (Reply(None),), company_unknown=True)
    method, base = data_set.method, _base(source, data_set, companies)

    def call(fields: dict, about: str | None = company.id if company else None) -> Reply:
        url, param = address(source, data_set, about)
        return ask(http, clock, method, url, {**fields, **param})

    since = clock() - RECENT if data_set.paging.get("from") else None
    recent = {data_set.paging["from"]: format_time(since)} if since else {}
    first = tuple(call({**base, **recent, **variant}) for variant in data_set.variants)
    if since and first[0].good and not sample(SetLook(data_set, first)):
        since, first = None, tuple(call({**base, **variant}) for variant in data_set.variants)
        recent = {}
    look = SetLook(data_set, first, since)
    page = records_of(first[0].answer, data_set.envelope) if first[0].good else None
    nobody = by_id = second = asked_id = None
    if first[0].good and (data_set.ask or {}).get("param"):
        nobody = call({**base, **data_set.variants[0]}, NOBODY)
    if page:
        onward = _onward(data_set, first[0].answer, len(page))
        second = call({**base, **recent, **data_set.variants[0], **onward}) if onward else None
    ids = [dig(record, data_set.id) for record in sample(look)] if data_set.id else []
    usable = [str(key) for key in ids if isinstance(key, (str, int)) and key != ""]
    if usable and data_set.ask_again:
        asked_id, rules = usable[-1], data_set.ask_again  # the last: a page that is not filtered begins with another
        if rules["by"] == "search":
            by_id = call({**base, rules["param"]: [asked_id]})
        else:
            url = source.base_url + rules["path"].replace("{id}", quote(asked_id, safe=""))
            by_id = ask(http, clock, "GET", url, {})
    return SetLook(data_set, first, since, second, asked_id, by_id, nobody)


def _base(source: Source, data_set: DataSet, companies: tuple[Company, ...]) -> dict:
    """What every call for this set has: the profile's own body, a small page, whose records."""
    paging = data_set.paging
    fields = dict(data_set.body or {})
    size = paging.get("size_param") or ("size" if "size" in fields else None)
    if size:
        fields[size] = PAGE
    if paging.get("page_param"):
        fields[paging["page_param"]] = paging.get("first", 1)
    if paging.get("tenants") and companies and source.companies and source.companies.get("flag"):
        fields[paging["tenants"]] = [company.id for company in companies]
    return fields


def _onward(data_set: DataSet, answer: t.Any, records: int) -> dict | None:
    """The fields that ask for the second page; None where there may be none."""
    paging = data_set.paging
    if paging["style"] == "search_after":
        cursor = dig(answer, compile_paths(paging["cursor"]))
        return {paging["send"]: cursor} if cursor is not None else None
    last = dig(answer, compile_paths(paging.get("last_page") or []))
    if last > paging["first"] if isinstance(last, int) else records >= PAGE:
        return {paging["page_param"]: paging["first"] + 1}
    return None


def certificate(what: str, url: str, ca_path: str | None, timeout: float) -> Certificate:
    """Until when the certificate behind ``url`` is valid, as a client that trusts ``ca_path`` sees it."""
    place = urlsplit(url)
    try:
        context = ssl.create_default_context(cafile=ca_path or requests.certs.where())
        with (
            socket.create_connection((place.hostname or "", place.port or 443), timeout=timeout) as plain,
            context.wrap_socket(plain, server_hostname=place.hostname) as secured,
        ):
            until = (secured.getpeercert() or {})["notAfter"]
        return Certificate(what, datetime.fromtimestamp(ssl.cert_time_to_seconds(str(until)), UTC))
    except (OSError, ValueError, KeyError) as exc:
        reason = exc.verify_message if isinstance(exc, ssl.SSLCertVerificationError) else exc.__class__.__name__
        return Certificate(what, None, f"The certificate cannot be seen ({reason}).")


# Elasticsearch


def ask_elastic(elastic: Elastic, source: str) -> ElasticLook:
    """What the collector's identity finds in Elasticsearch. Never raises a SocError."""
    try:
        names = [f"soc-{source}.*", "soc-probe"]
        answer = elastic.call("security.has_privileges", index=[{"names": names, "privileges": [*NEEDED, "delete"]}])
    except SocError as exc:
        return ElasticLook(error=exc.message)
    granted = list(answer["index"].values())
    may = {name: all(entry[name] for entry in granted) for name in NEEDED}
    may["delete"] = any(entry["delete"] for entry in granted)
    status = None
    with contextlib.suppress(SocError):
        status = elastic.call("cluster.health")["status"]
    return ElasticLook(None, status, may, *_templates(elastic))


def _templates(elastic: Elastic) -> tuple[bool | None, tuple[str, ...] | None]:
    """Whether the index template is there (None: we may not know), and which fields its mapping has otherwise."""
    try:
        elastic.call("indices.get_index_template", name=TEMPLATE)
        found = elastic.call("cluster.get_component_template", name=FIELDS_TEMPLATE)["component_templates"][0]
    except AnswerError as exc:
        return (False, None) if exc.details.get("status") == 404 else (None, None)
    except (AuthError, SocError):
        return None, None
    mapping = found["component_template"]["template"].get("mappings", {}).get("properties", {})
    present = dict(_flat(mapping))
    return True, tuple(name for name, kind in FIELDS.items() if present.get(name) != kind)


def _flat(properties: dict, before: str = "") -> t.Iterator[tuple[str, str]]:
    for name, entry in properties.items():
        if "properties" in entry:
            yield from _flat(entry["properties"], f"{before}{name}.")
        else:
            yield before + name, entry.get("type", "")


# This machine


def read_journal(path: str) -> JournalLook | str | None:
    """What the journal's database at ``path`` tells; None when there is none, a sentence when it cannot be read."""
    if not os.path.exists(path):
        return None
    try:
        with contextlib.closing(open_read_only(path)) as database:
            lags: dict[str, dict[int, int]] = {}
            for name, bucket, records in database.execute("SELECT data_set, bucket, records FROM lag"):
                lags.setdefault(name, {})[bucket] = records
            return JournalLook(
                waiting=database.execute("SELECT COALESCE(SUM(records), 0) FROM page WHERE shipped = 0").fetchone()[0],
                dead=tuple(
                    database.execute(
                        "SELECT data_set, reason, COUNT(*) FROM dead_letter GROUP BY data_set, reason"
                        " ORDER BY COUNT(*) DESC, data_set, reason"
                    )
                ),
                walks=dict(database.execute("SELECT data_set, completed FROM walk")),
                lags=lags,
            )
    except sqlite3.Error as exc:
        return f"The journal {path} cannot be read: {exc}. Check who owns it, or restore it from a backup."


def look_at_files(patterns: list[str]) -> tuple[tuple[str, bool, datetime], ...]:
    """The files that ``patterns`` name: path, whether this user may read it, when it was last written to."""
    paths: set[Path] = set()
    for pattern in patterns:
        whole = Path(pattern).expanduser().absolute()
        paths.update(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))
    found = []
    for path in sorted(paths):
        with contextlib.suppress(OSError):  # rotated away in this moment
            told = path.stat()
            found.append((str(path), os.access(path, os.R_OK), datetime.fromtimestamp(told.st_mtime, UTC)))
    return tuple(found)


def free_space(folder: str) -> int | None:
    """Bytes that the state may still take: where ``folder`` is, or will be."""
    place = os.path.abspath(folder)
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    try:
        told = os.statvfs(place)
    except OSError:
        return None
    return told.f_bavail * told.f_frsize


def modes(params: dict) -> dict[str, int]:
    """The file modes of the secrets that are in files."""
    found = {}
    for name in SECRETS:
        path = os.path.expanduser(params.get(name) or "")
        if path:
            with contextlib.suppress(OSError):
                found[path] = os.stat(path).st_mode & 0o7777
    return found
