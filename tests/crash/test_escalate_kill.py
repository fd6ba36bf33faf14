# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The escalation is killed (SIGKILL) at every named point, with a real mail server beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

POINTS = ["before_intent_commit", "after_intent_commit", "before_send", "after_mail_before_log", "after_log"]
ALARMS = 3
SEEN, DUE = "2026-11-20T12:00:00Z", "2026-11-20T12:15:00Z"


class Elastic:
    """Three alarms of three hosts, whatever is asked."""

    def hits(self, index: str, **query: object) -> list[dict]:
        return [
            {
                "_id": f"a{number}",
                "_source": {
                    "@timestamp": SEEN,
                    "organization": {"id": "c1", "name": "Acme NV"},
                    "soc": {"id": f"a{number}", "level": 1, "reviewed": False},
                    "rule": {"id": "r", "name": "beacon"},
                    "source": {"ip": f"10.0.0.{number}"},
                },
            }
            for number in range(ALARMS)
        ]


def escalate_once(params: dict, now: str, point: str, after: int) -> None:
    """One run of the module's work, which ends itself when it has passed ``point`` ``after`` times."""
    from ansible_collections.netcure.soc.plugins.module_utils._core.clock import clock
    from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run
    from ansible_collections.netcure.soc.plugins.module_utils._escalate.run import escalate

    passed = []

    def reach(here: str) -> None:
        passed.append(here)
        if passed.count(point) > after:
            os.kill(os.getpid(), signal.SIGKILL)

    result = escalate(Run(params, False, clock(now), "", lambda text: None), Elastic(), reach=reach)
    assert "failure" not in result, result["failure"]


def serve() -> None:
    """Fork a process for each run that is asked for on standard input, and answer with how it ended."""
    import ansible_collections.netcure.soc.plugins.module_utils._escalate.run  # noqa: F401  (once, not in every child)

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            escalate_once(*json.loads(line))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


@pytest.fixture(scope="module")
def run():
    """Run the escalation in a process of its own; how it ended."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def ask(params: dict, now: str, point: str = "", after: int = 0) -> int:
            server.stdin.write(json.dumps([params, now, point, after]) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        yield ask
        server.stdin.close()


@pytest.fixture
def mails():
    """A mail server that keeps the Message-ID of what it accepted; its port, and its authority."""
    import trustme
    from aiosmtpd.controller import Controller

    class AnyPort(Controller):
        def _trigger_server(self) -> None:
            self.port = self.server.sockets[0].getsockname()[1]
            super()._trigger_server()

    class Sink:
        def __init__(self) -> None:
            self.ids: list[str] = []

        async def handle_DATA(self, server, session, envelope):
            self.ids += re.findall(rb"^Message-ID: (\S+)", envelope.content, re.MULTILINE)
            return "250 OK"

    authority, sink = trustme.CA(), Sink()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    controller = AnyPort(sink, hostname="127.0.0.1", port=0, tls_context=context, require_starttls=True)
    controller.start()
    yield sink, controller.port, authority
    controller.stop()


@pytest.mark.parametrize(
    ("point", "after"),
    [(point, after) for point in POINTS for after in range(1 if point.endswith("commit") else ALARMS)],
)
def test_killed_while_calling(mails, run, tmp_path: Path, point: str, after: int) -> None:
    from ansible_collections.netcure.soc.plugins.module_utils._escalate.run import argument_spec

    sink, port, authority = mails
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "roster.yml").write_text("contacts: [{name: An, list: an@call.example}]")
    params = {name: option.get("default") for name, option in argument_spec().options.items()} | {
        "roster": str(tmp_path / "roster.yml"),
        "state_dir": str(tmp_path / "state"),
        "mail_from": "soc@soc.example",
        "smtp_host": "localhost",
        "smtp_port": port,
        "smtp_ca_path": str(tmp_path / "ca.pem"),
    }
    assert run(params, SEEN) == 0
    assert run(params, DUE, point, after) == -signal.SIGKILL
    assert run(params, DUE) == 0
    assert run(params, DUE) == 0
    twice = len(sink.ids) - len(set(sink.ids))
    assert len(set(sink.ids)) == ALARMS
    assert twice == (point == "after_mail_before_log"), "only a lost note makes a mail go twice, as the same mail"


if __name__ == "__main__":
    serve()
