# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mail: what a voice reads out, and what a vendor's text cannot do to it."""

from __future__ import annotations

import email
import re
import ssl
from datetime import UTC, datetime
from email.policy import default
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    Unreachable,
)
from ansible_collections.netcure.soc.plugins.module_utils._escalate import mail
from ansible_collections.netcure.soc.plugins.module_utils._escalate.policy import Incident
from hypothesis import given, settings
from hypothesis import strategies as st

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TEMPLATES = mail.Templates(
    "[{list}] {severity} {company} {title} #{ref}",
    "Security alert level {level} for {company}. {title}. Reference {ref}. Press 1 to acknowledge.",
)


def message(title: str = "ET TROJAN beacon", company: str = "Acme NV", templates: mail.Templates = TEMPLATES):
    incident = Incident("0" * 27 + "1e240", 1, "c1", company, "k", title, NOON, "called")
    return mail.compose(
        incident,
        templates,
        sender="soc@soc.example",
        address="oncall-an@call.example",
        message_id=f"<{incident.id}-call-1@soc.example>",
        created=NOON,
    )


def body(title: str, company: str = "Acme NV") -> str:
    return message(title, company).get_content().rstrip("\r\n")


def test_the_whole_mail() -> None:
    assert message().as_bytes().decode().replace("\r\n", "\n") == (
        "From: soc@soc.example\n"
        "To: oncall-an@call.example\n"
        "Subject: [oncall-an] Critical Acme NV ET TROJAN beacon #123456\n"
        "Date: Fri, 20 Nov 2026 12:00:00 +0000\n"
        "Message-ID: <0000000000000000000000000001e240-call-1@soc.example>\n"
        "X-SOC-Correlation-Id: 00000000-0000-0000-0000-00000001e240\n"
        "Auto-Submitted: auto-generated\n"
        'Content-Type: text/plain; charset="utf-8"\n'
        "Content-Transfer-Encoding: quoted-printable\n"
        "MIME-Version: 1.0\n"
        "\n"
        "Security alert level 1 for Acme NV. ET TROJAN beacon. Reference 123456. Press=\n"
        " 1 to acknowledge.\n"
    )


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("from 10.0.0.5", "from 10 dot 0 dot 0 dot 5"),
        ("from 10.0.0.5:443.", "from 10 dot 0 dot 0 dot 5:443."),
        ("from 10[.]0[.]0[.]5", "from 10 dot 0 dot 0 dot 5"),
        ("from １０．０．０．５", "from 10 dot 0 dot 0 dot 5"),
        ("see https://evil.example/a?b=c now", "see evil dot example now"),
        ("see hxxps://user:pw@evil.example:8080/x", "see evil dot example:8080"),
        ("www.evil.example/path", "www dot evil dot example/path"),
        ("at fe80::1, twice", "at fe80 colon colon 1, twice"),
        ("at 2001:db8::7: gone", "at 2001 colon db8 colon colon 7: gone"),
        ("at 09:14:03", "at 09:14:03"),
        ("End. Next.", "End. Next."),
        ("Zo\u200bne \u202eabc", "Zone abc"),
        ("a\r\nBcc: x\u2028y\x00z", "a Bcc: x y z"),
        ("half \ud800 pair", "half pair"),
        ("{ref} {0} {title.__class__} %s", "{ref} {0} {title.__class__} %s"),
        ("Ĳzer café 北京", "IJzer café 北京"),
    ],
)
def test_what_a_voice_reads(text: str, spoken: str) -> None:
    assert body(text) == f"Security alert level 1 for Acme NV. {spoken}. Reference 123456. Press 1 to acknowledge."


def test_a_vendor_cannot_add_headers_or_parts() -> None:
    evil = "x\r\nBcc: boss@call.example\r\n\r\nPress 9 to pay"
    parsed = email.message_from_bytes(message(evil, evil).as_bytes(), policy=default)
    assert parsed["Bcc"] is None and not parsed.is_multipart()
    assert parsed["Subject"] == (
        "[oncall-an] Critical x Bcc: boss@call dot example Press 9 to pay x Bcc: boss@call dot example Press 9 to pay #123456"
    )
    assert len(parsed.get_content().splitlines()) == 1


PIECES = st.sampled_from(["10.0.0.5", "http://", "x.y", ".", "::", "[.]", "\r\n", "\u202e", "{ref}", "a" * 200, " "])
VENDOR_TEXT = st.lists(PIECES | st.characters(exclude_categories=()), max_size=30).map("".join)


@settings(max_examples=200, derandomize=True)
@given(VENDOR_TEXT, VENDOR_TEXT)
def test_any_text_of_a_vendor(title: str, company: str) -> None:
    made = message(title, company)
    parsed = email.message_from_bytes(made.as_bytes(), policy=default)
    assert sorted(parsed.keys()) == sorted(made.keys()) and len(parsed.keys()) == 10
    assert len(parsed.get_content()) <= mail.BODY_LENGTH
    text = parsed.get_content().replace("\r\n", "\n")
    assert "\n" not in text[:-1]
    assert text.endswith("Reference 123456. Press 1 to acknowledge.\n")
    assert not re.search(r"\w\.\w|\w://\w", text.replace("_", " "))


def test_the_title_gives_way_when_the_text_is_too_long() -> None:
    text = body("9.9." * 150)
    assert text.endswith("Reference 123456. Press 1 to acknowledge.")
    assert len(message("x" * 900)["Subject"]) <= mail.SUBJECT_LENGTH


def test_a_template_of_several_lines_keeps_them() -> None:
    assert message(templates=mail.Templates("s", "One\nTwo {ref}")).get_content().splitlines() == ["One", "Two 123456"]


@pytest.mark.parametrize(
    "template", ["{nobody}", "{title.__class__}", "{title[0]}", "{title!r}", "{title:>9}", "{", "{}", "{0}"]
)
def test_a_bad_template_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match="subject_template"):
        mail.Templates(template, "text")
    with pytest.raises(ConfigError, match="body_template"):
        mail.Templates("text", template)


class Sink:
    """A mail server's memory, with an answer to give to the next mails."""

    def __init__(self) -> None:
        self.mails: list[tuple] = []
        self.answer = "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 no such list"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.answer == "hang up":
            self.mails.append((session.ssl is not None, envelope))
            server.transport.abort()
            return "250 OK"
        if self.answer.startswith("2"):
            self.mails.append((session.ssl is not None, envelope))
        return self.answer


class AnyPort(Controller):
    """A controller that lets the system choose the port."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def log_in(server, session, envelope, mechanism, data):
    return AuthResult(handled=False, success=(data.login, data.password) == (b"soc", b"s3cret-word"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_path(authority: trustme.CA, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def start(authority: trustme.CA):
    """Start a mail server, with STARTTLS unless told otherwise; its sink and its port."""
    running = []

    def begin(name: str = "localhost", tls: str = "starttls") -> tuple[Sink, int]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        sink = Sink()
        options: dict = {}
        if tls == "starttls":
            options = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": log_in}
        elif tls == "tls":
            options = {"ssl_context": context, "auth_require_tls": False, "authenticator": log_in}
        controller = AnyPort(sink, hostname="127.0.0.1", port=0, **options)
        controller.start()
        running.append(controller)
        return sink, controller.port

    yield begin
    for controller in running:
        controller.stop()


def server(port: int, ca_path: str, **more: object) -> mail.Server:
    values = {"security": "starttls", "username": "soc", "password": "s3cret-word", "timeout": 5}
    return mail.Server("localhost", port, ca_path=ca_path, **{**values, **more})


def test_a_mail_over_starttls(start, ca_path: str) -> None:
    sink, port = start()
    server(port, ca_path).send(message("café in 10.0.0.5"))
    ((encrypted, envelope),) = sink.mails
    assert encrypted and envelope.mail_from == "soc@soc.example" and envelope.rcpt_tos == ["oncall-an@call.example"]
    received = email.message_from_bytes(envelope.content, policy=default)
    assert received["Message-ID"] == message()["Message-ID"]
    assert "café in 10 dot 0 dot 0 dot 5" in received.get_content()


def test_a_mail_over_tls_from_the_start(start, ca_path: str) -> None:
    sink, port = start(tls="tls")
    server(port, ca_path, security="tls", username=None, password=None).send(message())
    assert len(sink.mails) == 1


def test_a_server_without_tls_gets_nothing(start, ca_path: str) -> None:
    sink, port = start(tls="none")
    with pytest.raises(Unreachable, match="only sent over TLS"):
        server(port, ca_path).send(message())
    with pytest.raises(Unreachable, match="no TLS that is trusted"):
        server(port, ca_path, security="tls").send(message())
    assert not sink.mails


def test_a_certificate_that_is_not_trusted_gets_nothing(start, ca_path: str, tmp_path: Path) -> None:
    sink, port = start()
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with pytest.raises(Unreachable, match="smtp_ca_path"):
        server(port, str(other)).send(message())
    sink, port = start("elsewhere.example")
    with pytest.raises(Unreachable, match="smtp_ca_path"):
        server(port, ca_path).send(message())
    with pytest.raises(ConfigError, match="smtp_ca_path"):
        server(port, str(tmp_path / "none.pem")).send(message())
    assert not sink.mails


def test_a_wrong_password(start, ca_path: str) -> None:
    sink, port = start()
    with pytest.raises(AuthError, match="refused the user or password") as caught:
        server(port, ca_path, password="wrong-word").send(message())
    assert "wrong-word" not in caught.value.message and not sink.mails


def test_refusals_and_an_unknown_outcome(start, ca_path: str) -> None:
    sink, port = start()
    sink.answer = "554 no thanks s3cret-word"
    with pytest.raises(AnswerError, match="554 no thanks") as caught:
        server(port, ca_path).send(message())
    assert "s3cret-word" not in caught.value.message
    incident = Incident("1" * 32, 1, "c1", "Acme", "k", "t", NOON, "called")
    refused = mail.compose(
        incident, TEMPLATES, sender="soc@soc.example", address="nobody@call.example", message_id="<m@x>", created=NOON
    )
    with pytest.raises(AnswerError, match="550 no such list"):
        server(port, ca_path).send(refused)
    sink.answer = "hang up"
    with pytest.raises(Unreachable, match="broke off") as unknown:
        server(port, ca_path).send(message())
    assert unknown.value.details == {"outcome": "unknown"}


def test_nobody_listens(ca_path: str) -> None:
    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        server(1, ca_path).send(message())
    assert "outcome" not in caught.value.details
