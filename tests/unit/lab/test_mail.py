# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import smtplib
import typing as t
from email.message import EmailMessage

import pytest

from lab.mail import INBOX, MailServers


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> t.Iterator[MailServers]:
    with MailServers(tmp_path_factory.mktemp("lab")) as servers:
        yield servers


@pytest.fixture
def servers(shared: MailServers) -> MailServers:
    shared.mailbox().clear()
    shared.mailbox().clear(INBOX)
    shared.faults.clear()
    return shared


def send(servers: MailServers, message_id: str, to: str = "piket@vocalnotify.example", password: str = "") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Message-ID"] = "soc@soc.example", to, message_id
    message["Subject"] = "[piket] high Müller & Zonen"
    message.set_content("Security alert for Müller.\n")
    with smtplib.SMTP("localhost", servers.smtp_port, local_hostname="localhost", timeout=5) as smtp:
        smtp.starttls(context=servers.tls.client_context())
        smtp.login(servers.username, password or servers.password.value)
        smtp.send_message(message)


def test_a_mail_becomes_one_call_however_often_it_comes(servers: MailServers) -> None:
    for message_id in ("<1@soc.example>", "<1@soc.example>", "<2@soc.example>"):
        send(servers, message_id)
    assert len(servers.mailbox().mails()) == 3
    calls = servers.mailbox().calls()
    assert [call.message_id for call in calls] == ["<1@soc.example>", "<2@soc.example>"]
    assert calls[0].to == "piket@vocalnotify.example"
    assert calls[0].subject == "[piket] high Müller & Zonen"
    assert calls[0].body.strip() == "Security alert for Müller."


def test_mail_for_the_soc_is_no_call(servers: MailServers) -> None:
    send(servers, "<p@soc.example>", to="pause@soc.example")
    assert servers.mailbox().calls() == []
    assert [mail.to for mail in servers.mailbox().mails(INBOX)] == ["pause@soc.example"]


def test_refused_mail_is_not_delivered_and_dropped_mail_is(servers: MailServers) -> None:
    servers.faults.add("refuse")
    servers.faults.add("drop", after=1)
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(servers, "<r@soc.example>")
    assert refusal.value.smtp_code == 451
    assert servers.mailbox().calls() == []
    send(servers, "<ok@soc.example>")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(servers, "<d@soc.example>")
    assert [call.message_id for call in servers.mailbox().calls()] == ["<ok@soc.example>", "<d@soc.example>"]


def test_nobody_sends_without_tls_and_password(servers: MailServers) -> None:
    with smtplib.SMTP("localhost", servers.smtp_port, local_hostname="localhost", timeout=5) as smtp:
        smtp.ehlo()
        assert smtp.docmd("MAIL FROM:<soc@soc.example>") == (530, b"Must issue a STARTTLS command first")
        smtp.starttls(context=servers.tls.client_context())
        smtp.ehlo()
        assert smtp.docmd("MAIL FROM:<soc@soc.example>")[0] == 530
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send(servers, "<x@soc.example>", password="wrong")


def test_mail_survives_a_restart(tmp_path) -> None:
    with MailServers(tmp_path) as servers:
        send(servers, "<1@soc.example>")
    with MailServers(tmp_path) as servers:
        assert [call.message_id for call in servers.mailbox().calls()] == ["<1@soc.example>"]
