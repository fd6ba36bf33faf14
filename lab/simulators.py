# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The closed services, over HTTPS: CyberAlarm, Guardian360 and WatchGuard Cloud as their source profiles describe them.

Paths, envelopes and paging come from the profiles that the client uses: what is corrected there is corrected here.
Each source has a prefix of its own (``/cyberalarm``, ``/guardian360``, ``/watchguard``). Below ``/_lab`` is the control
of the lab. What its Fireboxes send to syslog is in ``firebox/firebox.log``.
Run as ``python -m lab.simulators --folder .lab``, or in a test: ``with Simulators(folder) as simulators:``.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import socket
import threading
import time
import typing as t
from pathlib import Path

import orjson
import uvicorn
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time, parse_time
from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lab.certificates import certificates
from lab.companies import COMPANIES
from lab.faults import Fault, Faults
from lab.firebox import SyslogFile
from lab.processes import end_with, listen
from lab.vendors import Secret, Vendor, html_answer, json_answer
from lab.world import PROFILES, World

# What a vendor's server gives at most, whatever is asked for.
PAGE_CAP = 500
WITH_API_KEY = ("guardian360", "watchguard")
CONTROL_HEADER = "Lab-Token"
CALLS_KEPT = 10_000


class Simulators:
    """All vendors on one port, and the control of the lab. As a context manager it serves in a thread.

    ``world``, ``faults`` and ``calls`` may be used directly by a test in the same process.
    """

    def __init__(self, folder: Path | str, world: World | None = None, page_cap: int = PAGE_CAP, port: int = 0) -> None:
        self.folder = Path(folder).resolve()
        self.state_file = self.folder / "world.json"
        if world is None and self.state_file.exists():
            world = World.load(json.loads(self.state_file.read_bytes()))
        self.world, self.faults, self.page_cap, self.port = world or World(), Faults(), page_cap, port
        self.calls: collections.deque[dict] = collections.deque(maxlen=CALLS_KEPT)
        self.control = Secret(self.folder / "secrets" / "control-token")
        self.syslog = SyslogFile(self.folder)
        self.vendors = {name: Vendor(self, profile, name in WITH_API_KEY) for name, profile in PROFILES.items()}
        self.tls = certificates(self.folder)
        routes = [route for vendor in self.vendors.values() for route in vendor.routes()]
        routes += [
            Route(f"/_lab/{what}", self._controlled(handler), methods=[method])
            for what, method, handler in (
                ("clock", "GET", self._get_clock),
                ("clock", "POST", self._set_clock),
                ("incident", "POST", self._incident),
                ("review", "POST", self._review),
                ("probe", "POST", self._probe),
                ("solve", "POST", self._solve),
                ("late", "POST", self._late),
                ("faults", "GET", self._get_faults),
                ("faults", "POST", self._add_fault),
                ("faults", "DELETE", self._clear_faults),
                ("reset", "POST", self._reset),
                ("settings", "POST", self._settings),
                ("token", "POST", self._token),
                ("truth", "GET", self._truth),
                ("calls", "GET", self._get_calls),
                ("calls", "DELETE", self._clear_calls),
            )
        ]
        self.app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})

    def url(self, source: str) -> str:
        """The base URL of a vendor; with source ``_lab`` that of the control."""
        return f"https://localhost:{self.port}/{source}"

    def endpoints(self) -> dict[str, dict]:
        """How each vendor is reached, for an inventory. Secrets are in files; none is in here."""
        found: dict[str, dict] = {}
        for name, vendor in self.vendors.items():
            found[name] = {
                "base_url": self.url(name),
                "ca_path": str(self.tls.ca),
                "token_file": str(vendor.token.path),
                "client_id": vendor.tokens.client_id,
                "client_secret_file": str(vendor.tokens.client_secret.path),
                **({"api_key_file": str(vendor.api_key.path)} if vendor.api_key else {}),
            }
        owners = [company for company in COMPANIES if company.firewall]
        names = {company: {"id": company.ids["watchguard"], "name": company.name} for company in owners}
        found["watchguard"] |= {
            "accounts": {company.ids["watchguard"]: names[company] for company in owners},
            "devices": {company.firebox[1]: names[company] for company in owners},
            "syslog_files": [str(self.syslog.path)],
        }
        return found

    def note(self, source: str, name: str, method: str, asked: dict, status: int, fault: Fault | None) -> None:
        self.calls.append(
            {
                "source": source,
                "set": name,
                "method": method,
                "asked": asked,
                "status": status,
                "fault": fault.kind if fault else None,
                "now": format_time(self.world.now),
            }
        )

    def save(self) -> None:
        atomic_write(str(self.state_file), orjson.dumps(self.world.save(), option=orjson.OPT_INDENT_2), 0o600)

    # Control.

    def _controlled(self, handler: t.Callable[[dict], object]) -> t.Callable:
        async def endpoint(request: Request) -> Response:
            if not self.control.fits(request.headers.get(CONTROL_HEADER)):
                return json_answer({"error": f"give the control token in the header {CONTROL_HEADER}"}, 401)
            body = await request.body()
            try:
                asked = {**dict(request.query_params), **(orjson.loads(body) if body else {})}
                answer = handler(asked)
            except (KeyError, ValueError, TypeError) as exc:
                return json_answer({"error": str(exc.args[0] if exc.args else exc)}, 400)
            if request.method != "GET":
                self.save()
            return json_answer(answer)

        return endpoint

    def _get_clock(self, _asked: dict) -> dict:
        return {"now": format_time(self.world.now)}

    def _set_clock(self, asked: dict) -> dict:
        if "set" in asked:
            self.world.set_clock(parse_time(asked["set"]))
        self.world.advance(float(asked.get("advance", 0)))
        self.syslog.catch_up(self.world)
        return self._get_clock(asked)

    def _incident(self, asked: dict) -> dict:
        return {"ids": self.world.raise_incident(asked["company"], asked.get("level", 1), asked.get("count", 1))}

    def _review(self, asked: dict) -> dict:
        """The alarms in ``ids``, or all open ones of level ``open_level``, at one ``company`` or everywhere."""
        if "open_level" in asked:
            return {"reviewed": len(self.world.review_open(asked["open_level"], asked.get("company")))}
        for identity in asked["ids"]:
            self.world.review(identity, **({"by": asked["by"]} if "by" in asked else {}))
        return {"reviewed": len(asked["ids"])}

    def _probe(self, asked: dict) -> dict:
        self.world.set_probe(asked["id"], asked["status"])
        return {}

    def _solve(self, asked: dict) -> dict:
        for identity in asked["ids"]:
            self.world.solve(identity)
        return {}

    def _late(self, asked: dict) -> dict:
        self.world.delay_records(asked["share"], asked["seconds"])
        return {}

    def _get_faults(self, _asked: dict) -> list:
        return self.faults.list()

    def _add_fault(self, asked: dict) -> list:
        self.faults.add(**asked)
        return self.faults.list()

    def _clear_faults(self, _asked: dict) -> list:
        self.faults.clear()
        return []

    def _reset(self, asked: dict) -> dict:
        """A new world: seed, per_day, start, now; what is not given stays."""
        old = self.world
        start = parse_time(asked["start"]) if "start" in asked else old.start
        now = parse_time(asked["now"]) if "now" in asked else old.now
        self.world = World(int(asked.get("seed", old.seed)), int(asked.get("per_day", old.per_day)), start, now)
        self.world.version = old.version + 1  # nothing that was remembered of the old one fits
        self.faults.clear()
        self.calls.clear()
        self.syslog.clear()
        self.syslog.catch_up(self.world)
        return self.world.save()

    def _settings(self, asked: dict) -> dict:
        """page_cap; heeds_company_id of Guardian360; token_lifetime in seconds. Returns all of them."""
        self.page_cap = int(asked.get("page_cap", self.page_cap))
        if "heeds_company_id" in asked:
            self.world.heed_company_id(asked["heeds_company_id"])
        tokens = [vendor.tokens for vendor in self.vendors.values()]
        for one in tokens:
            one.lifetime = float(asked.get("token_lifetime", one.lifetime))
        return {
            "page_cap": self.page_cap,
            "heeds_company_id": self.world.heeds_company_id,
            "token_lifetime": tokens[0].lifetime,
        }

    def _token(self, asked: dict) -> dict:
        """The vendor writes a new token to the file; nothing that it gave out before is worth anything any more."""
        self.vendors[asked["source"]].tokens.renew()
        return {}

    def _truth(self, asked: dict) -> dict:
        return self.world.truth(ids=str(asked.get("ids", "1")) not in ("0", "false"))

    def _get_calls(self, _asked: dict) -> list:
        return list(self.calls)

    def _clear_calls(self, _asked: dict) -> list:
        self.calls.clear()
        return []

    # Serving.

    def _listen(self) -> socket.socket:
        listener = listen(self.port)
        self.port = listener.getsockname()[1]
        return listener

    def run(self) -> None:
        """Serve in this thread until a signal comes."""
        self._server = self._make_server("warning")
        self._server.run(sockets=[self._listen()])

    def _make_server(self, log_level: str) -> uvicorn.Server:
        return uvicorn.Server(
            uvicorn.Config(
                self.app,
                ssl_certfile=str(self.tls.certificate),
                ssl_keyfile=str(self.tls.key),
                log_level=log_level,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )

    def __enter__(self) -> Simulators:
        self._server, listener = self._make_server("critical"), self._listen()
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, daemon=True, name="simulators"
        )
        self._thread.start()
        until = time.monotonic() + 10
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise RuntimeError("The simulators did not start.")
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True  # a client's open connection is no reason to wait
        self._thread.join(10)


async def _not_found(request: Request, exc: Exception) -> Response:
    return html_answer(getattr(exc, "status_code", 404), "Not Found")


def main() -> None:
    """The daemon: serves until it is told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--per-day", type=int)
    parser.add_argument("--start")
    parser.add_argument("--now")
    options = parser.parse_args()
    lab = Simulators(options.folder, port=options.port)
    given = {key: value for key in ("seed", "per_day", "start", "now") if (value := getattr(options, key)) is not None}
    if given and not lab.state_file.exists():
        lab._reset(given)
    lab.save()
    lab.syslog.catch_up(lab.world)
    atomic_write(str(lab.folder / "vendors.json"), orjson.dumps(lab.endpoints(), option=orjson.OPT_INDENT_2), 0o600)
    end_with(lab.tls.key)
    with contextlib.suppress(KeyboardInterrupt):
        lab.run()


if __name__ == "__main__":
    main()
