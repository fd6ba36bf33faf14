# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail: a real SMTP server (aiosmtpd) and a real IMAP server (pymap), with VocalNotify behind them.

What is sent to ``<list>@vocalnotify.example`` ends up in the folder ``vocalnotify``; that is VocalNotify's own mailbox.
It telephones once for each Message-ID. Everything else, such as the mails by which people pause their calls,
ends up in ``INBOX``, the mailbox of the SOC. SMTP is STARTTLS with a login, IMAP is TLS from the first byte.
Run as ``python -m lab.mail --folder .lab``, or in a test: ``with MailServers(folder) as mail:``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import email
import email.policy
import fcntl
import imaplib
import json
import logging
import signal
import socket
import ssl
import threading
import typing as t
from argparse import Namespace
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write
from proxyprotocol.reader import ProxyProtocolReader
from pymap.backend.maildir import Config, Identity, Login
from pymap.imap import IMAPServer
from pymap.user import Passwords, UserMetadata
from pysasl.hashing import BuiltinHash

from lab.certificates import certificates
from lab.processes import end_with, listen
from lab.vendors import Secret

USER = "soc"
DOMAIN = "vocalnotify.example"
CALLS, INBOX = "vocalnotify", "INBOX"
FAULTS = {
    "refuse": "451: not now",
    "drop": "the mail is taken, and the connection ends before the answer",
}


@dataclasses.dataclass(frozen=True)
class Mail:
    """A mail as it lies in a mailbox."""

    message_id: str
    sender: str
    to: str
    subject: str
    body: str


class Mailbox:
    """The mailboxes, read over IMAP."""

    def __init__(self, port: int, password: str, context: ssl.SSLContext) -> None:
        self._port, self._password, self._context = port, password, context

    @contextlib.contextmanager
    def open(self, folder: str) -> t.Iterator[imaplib.IMAP4_SSL]:
        with imaplib.IMAP4_SSL("localhost", self._port, ssl_context=self._context, timeout=30) as imap:
            imap.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            imap.login(USER, self._password)
            _check(imap.select(folder))
            yield imap

    def append(self, folder: str, content: bytes) -> None:
        with self.open(folder) as imap:
            _check(imap.append(folder, None, None, content))

    def mails(self, folder: str = CALLS) -> list[Mail]:
        """Every mail in a folder, in the order of arrival."""
        with self.open(folder) as imap:
            numbers = _check(imap.search(None, "ALL"))[0].decode().replace(" ", ",")
            parts = _check(imap.fetch(numbers, "(BODY.PEEK[])")) if numbers else []
        return [_mail(part[1]) for part in parts if isinstance(part, tuple)]

    def calls(self) -> list[Mail]:
        """What VocalNotify telephoned about: the first mail of each Message-ID."""
        first: dict[str, Mail] = {}
        for mail in self.mails(CALLS):
            first.setdefault(mail.message_id, mail)
        return list(first.values())

    def clear(self, folder: str = CALLS) -> None:
        """Delete every mail in a folder."""
        with self.open(folder) as imap:
            if _check(imap.search(None, "ALL"))[0]:
                _check(imap.store("1:*", "+FLAGS", r"(\Deleted)"))
                _check(imap.expunge())


def _check(answer: tuple[str, list]) -> list:
    if answer[0] != "OK":
        raise OSError(f"IMAP: {answer[1]!r}")
    return answer[1]


def _mail(content: bytes) -> Mail:
    message = email.message_from_bytes(content, policy=email.policy.default)
    part = message.get_body(("plain", "html"))
    text = part.get_content() if part else ""
    headers = (str(message[name] or "") for name in ("Message-ID", "From", "To", "Subject"))
    return Mail(*headers, text)


class MailFaults:
    """What goes wrong at the next mails: a queue in a file, so that another process can fill it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "mail-faults.json"

    def add(self, kind: str, count: int = 1, after: int = 0) -> None:
        """After ``after`` mails that go well, ``count`` go as FAULTS says of ``kind``."""
        if kind not in FAULTS:
            raise ValueError(f"There is no fault {kind!r}; there are: {', '.join(FAULTS)}.")
        with self._queue() as queue:
            queue.extend([None] * after + [kind] * count)

    def clear(self) -> None:
        with self._queue() as queue:
            queue.clear()

    def strike(self) -> str | None:
        with self._queue() as queue:
            return queue.pop(0) if queue else None

    @contextlib.contextmanager
    def _queue(self) -> t.Iterator[list]:
        with open(self._path.with_suffix(".lock"), "a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            queue = json.loads(self._path.read_bytes()) if self._path.exists() else []
            yield queue
            atomic_write(str(self._path), json.dumps(queue).encode(), 0o600)


class _Handler:
    """Delivers what SMTP accepted."""

    def __init__(self, servers: MailServers) -> None:
        self._servers = servers

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        fault = await asyncio.to_thread(self._servers.faults.strike)
        if fault == "refuse":
            return "451 4.3.2 Not now, try again later"
        for_calls = any(address.lower().endswith("@" + DOMAIN) for address in envelope.rcpt_tos)
        content = envelope.original_content or b""
        await asyncio.to_thread(self._servers.mailbox().append, CALLS if for_calls else INBOX, content)
        if fault == "drop":
            server.transport.abort()
        return "250 2.0.0 OK"


class _Config(Config):
    # Without this pymap asks the resolver for the machine's name at every connection, which may take seconds.
    greeting = b"Server ready localhost"


class MailServers:
    """Both servers. As a context manager they serve in a thread."""

    def __init__(self, folder: Path | str, smtp_port: int = 0, imap_port: int = 0) -> None:
        self.folder = Path(folder).resolve()
        self.tls = certificates(self.folder)
        self.password = Secret(self.folder / "secrets" / "mail-password")
        self.faults = MailFaults(self.folder)
        self.smtp_port, self.imap_port = smtp_port, imap_port
        self.username = USER

    def mailbox(self) -> Mailbox:
        return Mailbox(self.imap_port, self.password.value, self.tls.client_context())

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        imap, smtp = listen(self.imap_port), listen(self.smtp_port)
        self.imap_port, self.smtp_port = imap.getsockname()[1], smtp.getsockname()[1]
        await self._start_imap(stack, imap)
        for folder in (CALLS, INBOX):
            await asyncio.to_thread(self._make_folder, folder)
        loop = asyncio.get_running_loop()
        handler = _Handler(self)

        def protocol() -> SMTP:
            return SMTP(
                handler,
                hostname="localhost",
                tls_context=self.tls.server_context(),
                require_starttls=True,
                auth_required=True,
                authenticator=self._authenticate,
                loop=loop,
            )

        await stack.enter_async_context(await loop.create_server(protocol, sock=smtp))

    async def _start_imap(self, stack: contextlib.AsyncExitStack, listener: socket.socket) -> None:
        home = self.folder / "mail"
        home.mkdir(mode=0o700, exist_ok=True)
        arguments = Namespace(
            base_dir=str(home), layout="++", colon=None, concurrency=None, host=None, port=0, debug=False,
            cert=None, key=None, tls=False, proxy_protocol=None, passlib_cfg=None,
        )  # fmt: skip
        # The password is random and long: a slow hash would only cost a tenth of a second at each login.
        config = _Config.from_args(arguments, hash_context=BuiltinHash(rounds=1000))
        config.apply_context()
        login = Login(config)
        identity = Identity(config, login.tokens, USER, None, {"admin"})
        hashed = await Passwords(config).hash_password(self.password.value)
        await identity.set(UserMetadata(config, USER, password=hashed))
        serve = ProxyProtocolReader(config.proxy_protocol).get_callback(IMAPServer(login, config))
        # TLS from the first byte: pymap itself only knows STARTTLS.
        server = await asyncio.start_server(serve, sock=listener, ssl=self.tls.server_context())
        await stack.enter_async_context(server)

    def _make_folder(self, folder: str) -> None:
        with self.mailbox().open(INBOX) as imap:
            if not any(part and folder.encode() in part for part in _check(imap.list())):
                _check(imap.create(folder))

    def _authenticate(self, _server: SMTP, _session: object, _envelope: object, _how: str, data: object) -> AuthResult:
        right = isinstance(data, LoginPassword) and data.login == USER.encode()
        return AuthResult(success=right and self.password.fits(data.password.decode("utf-8", "replace")), handled=False)

    async def serve(self, stop: asyncio.Event, ready: t.Callable[[], object] = lambda: None) -> None:
        """Serve until ``stop`` is set."""
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            ready()
            await stop.wait()

    def __enter__(self) -> MailServers:
        started = threading.Event()
        self._failure: BaseException | None = None

        async def run() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await self.serve(self._stop, started.set)

        def work() -> None:
            try:
                asyncio.run(run())
            except BaseException as exc:
                self._failure = exc
            finally:
                started.set()

        self._thread = threading.Thread(target=work, daemon=True, name="mail")
        self._thread.start()
        started.wait(30)
        if self._failure:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


def main() -> None:
    """The daemon: serves until it is told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--smtp-port", type=int, default=0)
    parser.add_argument("--imap-port", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd warns of its own deprecation at every login
    servers = MailServers(options.folder, options.smtp_port, options.imap_port)
    end_with(servers.tls.key)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await servers.serve(stop)

    asyncio.run(run())


if __name__ == "__main__":
    main()
