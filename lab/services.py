# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All services of the lab together: started when they do not run, found again when they do, stopped one by one."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import imaplib
import json
import os
import smtplib
import sys
import time
import typing as t
from pathlib import Path

import requests
from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write, lock

from lab import LabError
from lab.certificates import certificates
from lab.companies import COMPANIES
from lab.elasticsearch import Elasticsearch, Endpoint
from lab.mail import DOMAIN, USER, Mailbox
from lab.processes import Process, free_port, spawn, tail
from lab.security import api_keys
from lab.simulators import CONTROL_HEADER

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Lab:
    """Where everything is. Secrets are in files; none is in here."""

    folder: Path
    endpoints: dict
    started: dict[str, float]  # seconds that each service took; 0 for one that ran already

    @property
    def elasticsearch(self) -> Endpoint:
        """The superuser's way in, for the lab's own checks: the product uses the API keys."""
        entry = self.endpoints["elasticsearch"]
        return Endpoint(entry["url"], Path(entry["ca_path"]), entry["username"], Path(entry["password_file"]))

    @property
    def mailbox(self) -> Mailbox:
        entry = self.endpoints["imap"]
        password = Path(entry["password_file"]).read_text(encoding="ascii").strip()
        return Mailbox(entry["port"], password, certificates(self.folder).client_context())

    def control(self, method: str, what: str, **asked: object) -> t.Any:
        """One call of the control of the simulators, such as ``control("POST", "clock", advance=300)``."""
        entry = self.endpoints["control"]
        token = Path(entry["token_file"]).read_text(encoding="ascii").strip()
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method,
                f"{entry['url']}/{what}",
                params=asked if method == "GET" else None,
                json=None if method == "GET" else asked,
                headers={CONTROL_HEADER: token},
                verify=entry["ca_path"],
                timeout=300,
            )
        if not answer.ok:
            raise LabError(f"The lab did not take {what}: {answer.json().get('error', answer.text)}")
        return answer.json()


def up(folder: Path | str, quick: bool = True, **world: object) -> Lab:
    """Start what does not run, and return when all of it answers.

    ``quick``: see lab.elasticsearch.Elasticsearch; benchmarks say False.
    ``world``: seed, per_day, start, now of a new world (see lab.world.World); a world that exists goes on as it is.
    """
    folder = Path(folder).resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock(str(folder / "lock")):
        certificates(folder)
        # Elasticsearch takes ten seconds and more; the others come up in its shadow.
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            search = pool.submit(_timed, _start_elasticsearch, folder, quick)
            vendors = pool.submit(_timed, _start_simulators, folder, world)
            mail = pool.submit(_timed, _start_mail, folder)
            parts = [future.result() for future in (search, vendors, mail)]
        endpoints = {key: entry for part, _seconds in parts for key, entry in part.items()}
        started = {name: seconds for name, (_part, seconds) in zip(("elasticsearch", "simulators", "mail"), parts)}
        endpoints["companies"] = {
            company.slug: {"name": company.name, "subscribed": company.subscribed} for company in COMPANIES
        }
        atomic_write(str(folder / "lab.json"), json.dumps(endpoints, indent=2, ensure_ascii=False).encode(), 0o600)
        return Lab(folder, endpoints, started)


def find(folder: Path | str) -> Lab:
    """The lab as it was last started, without starting anything. Raises LabError when there is none."""
    folder = Path(folder).resolve()
    try:
        return Lab(folder, json.loads((folder / "lab.json").read_bytes()), {})
    except OSError:
        raise LabError(f"There is no lab in {folder}; start it with: make lab") from None


def down(folder: Path | str, remove: bool = False) -> list[str]:
    """End our own processes and say which they were. With ``remove`` Elasticsearch's folder goes as well."""
    folder = Path(folder).resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # also for what is left of a lab that was deleted
    with lock(str(folder / "lock")):
        stopped = []
        for name in ("mail", "simulators"):
            path = _state(folder, name)
            process = Process.load(path)
            if process:
                process.stop()
                stopped.append(name)
        search = Elasticsearch(folder)
        if search.running:
            search.stop()
            stopped.append("elasticsearch")
        if remove:
            search.remove()
        return stopped


def _timed(work: t.Callable, *arguments: object) -> tuple[dict, float]:
    began = time.monotonic()
    part = work(*arguments)
    return part, round(time.monotonic() - began, 2)


def _start_elasticsearch(folder: Path, quick: bool) -> dict:
    endpoint = Elasticsearch(folder, quick).start()
    keys = api_keys(endpoint, folder, [company.slug for company in COMPANIES])
    return {
        "elasticsearch": {
            "url": endpoint.url,
            "ca_path": str(endpoint.ca_path),
            "username": endpoint.username,
            "password_file": str(endpoint.password_file),
            "api_key_files": {name: str(path) for name, path in keys.items()},
        }
    }


def _start_simulators(folder: Path, world: dict) -> dict:
    secrets, ca = folder / "secrets", str(certificates(folder).ca)
    ports = _ports(folder, "simulators", "port")
    given = [word for key, value in world.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    control = {
        "url": f"https://localhost:{ports['port']}/_lab",
        "ca_path": ca,
        "token_file": str(secrets / "control-token"),
    }
    endpoints = {"control": control}
    lab = Lab(folder, endpoints, {})
    _ensure(folder, "simulators", ports, given, lambda: lab.control("GET", "clock"))
    return endpoints


def _start_mail(folder: Path) -> dict:
    ports = _ports(folder, "mail", "smtp_port", "imap_port")
    shared = {
        "host": "localhost",
        "ca_path": str(certificates(folder).ca),
        "username": USER,
        "password_file": str(folder / "secrets" / "mail-password"),
    }
    endpoints = {
        "smtp": {**shared, "port": ports["smtp_port"], "security": "starttls", "domain": DOMAIN},
        "imap": {**shared, "port": ports["imap_port"], "security": "tls"},
    }

    def probe() -> None:
        smtplib.SMTP("localhost", ports["smtp_port"], local_hostname="localhost", timeout=5).quit()
        Lab(folder, endpoints, {}).mailbox.mails("INBOX")

    _ensure(folder, "mail", ports, [], probe)
    return endpoints


def _state(folder: Path, name: str) -> Path:
    return folder / f"{name}.process.json"


def _ports(folder: Path, name: str, *wanted: str) -> dict[str, int]:
    """The ports of a service: those that it has, or had, or new ones."""
    path = folder / f"{name}.ports.json"
    try:
        old = json.loads(path.read_bytes())
    except (OSError, ValueError):
        old = {}
    if Process.load(_state(folder, name)) and set(old) == set(wanted):
        return old
    ports: dict[str, int] = {}
    for key in wanted:
        ports[key] = free_port(old.get(key), ports.values())
    atomic_write(str(path), json.dumps(ports).encode(), 0o600)
    return ports


def _ensure(folder: Path, name: str, ports: dict[str, int], given: list[str], probe: t.Callable[[], object]) -> None:
    """Start ``python -m lab.<name>`` unless it runs, and wait until ``probe`` raises nothing."""
    state, log = _state(folder, name), folder / "log" / f"{name}.log"
    process = Process.load(state)
    if process is None:
        options = [word for key, port in ports.items() for word in (f"--{key.replace('_', '-')}", str(port))]
        command = [sys.executable, "-m", f"lab.{name}", "--folder", str(folder), *options, *given]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = spawn(command, log, ROOT, environment)
        process.save(state)
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            probe()
            return
        except (OSError, LabError, imaplib.IMAP4.error, smtplib.SMTPException) as exc:
            reason = exc
        if not process.running:
            raise LabError(f"The service {name} ended while starting; {log} ends with:\n{tail(log)}")
        if time.monotonic() > until:
            raise LabError(f"The service {name} does not answer: {reason}\n{log} ends with:\n{tail(log)}")
        time.sleep(0.05)
