# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The mail that makes VocalNotify telephone: text that a voice can read, sent over verified TLS."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import smtplib
import ssl
import string
import typing as t
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from .._core.errors import AnswerError, AuthError, ConfigError, SocError, Unreachable
from .._core.secrets import redact
from .policy import SEVERITY, Incident

# The assumed contract of VocalNotify: at most 600 characters of text.
BODY_LENGTH = 600
SUBJECT_LENGTH = 200
COMPANY_LENGTH = 80
PLACEHOLDERS = ("list", "level", "company", "title", "ref", "severity")
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")

_URL = re.compile(r"[a-z][a-z0-9+.-]*://([^\s/?#]*)\S*?(?=[.,;:!?]*(?:\s|$))", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f:.]{3,}", re.IGNORECASE)


@dataclass(frozen=True)
class Templates:
    """The site's own words around an alarm. Placeholders are those of PLACEHOLDERS, in braces, and nothing else."""

    subject: str
    body: str

    def __post_init__(self) -> None:
        for name, template in (("subject_template", self.subject), ("body_template", self.body)):
            try:
                parts = list(string.Formatter().parse(template))
            except ValueError as exc:
                raise ConfigError(f"{name} is not a template: {exc}.") from exc
            for _literal, field, spec, conversion in parts:
                if field is not None and (field not in PLACEHOLDERS or spec or conversion):
                    raise ConfigError(
                        f"{name} has {{{field}}}; known are {', '.join(PLACEHOLDERS)}, each in plain braces."
                    )


def compose(
    incident: Incident, templates: Templates, *, sender: str, address: str, message_id: str, created: datetime
) -> EmailMessage:
    """The mail that asks to telephone ``address`` about ``incident``: the same bytes however often it is made.

    One part, plain text, no longer than BODY_LENGTH, without anything that looks like an address of the network.
    What a vendor wrote is only ever filled in: it cannot add headers, lines or placeholders.
    """
    values = {
        "list": address.partition("@")[0],
        "level": str(incident.level),
        "company": plain(incident.tenant_name[:BODY_LENGTH])[:COMPANY_LENGTH],
        "title": plain(incident.title[:BODY_LENGTH]),
        "ref": incident.ref,
        "severity": SEVERITY[incident.level],
    }
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = address
    message["Subject"] = " ".join(_fill(templates.subject, values, SUBJECT_LENGTH).split())
    message["Date"] = format_datetime(created)
    message["Message-ID"] = message_id
    message["X-SOC-Correlation-Id"] = str(uuid.UUID(hex=incident.id))
    message["Auto-Submitted"] = "auto-generated"
    # The line end after the text counts too.
    message.set_content(_fill(templates.body, values, BODY_LENGTH - 2), cte="quoted-printable")
    return message


def plain(text: str) -> str:
    """Untrusted text as one line: compatibility forms made ordinary, control and invisible characters gone."""
    text = unicodedata.normalize("NFKC", " ".join(text.split()))
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in text if not _invisible(c)).split())


def _invisible(character: str) -> bool:
    # Format characters turn text around or hide in it; surrogates cannot be encoded; the rest has no sound.
    return unicodedata.category(character) in ("Cf", "Cs", "Co", "Cn")


def speakable(text: str) -> str:
    """``text`` without URLs, host names and addresses in raw form: their dots and colons become words.

    A URL is cut down to its host.
    """
    text = re.sub(r"\[([.:])\]", r"\1", text)
    text = _URL.sub(lambda match: match[1].rpartition("@")[2], text)
    text = _HEX.sub(_spell_ipv6, text)
    return re.sub(r"(?<=[^\W_])\.(?=[^\W_])", " dot ", text)


def _spell_ipv6(match: re.Match) -> str:
    for token in (match[0].rstrip("."), match[0].rstrip(".:")):
        try:
            ipaddress.IPv6Address(token)
        except ValueError:
            continue
        return " ".join(token.replace(":", " colon ").split()) + match[0][len(token) :]
    return match[0]


def _fill(template: str, values: dict[str, str], limit: int) -> str:
    """The template with its values, made speakable, cut to ``limit`` by shortening the title first."""
    values = dict(values)
    while True:
        text = "".join(
            literal + (values[field] if field else "") for literal, field, _s, _c in string.Formatter().parse(template)
        )
        text = "\n".join(speakable(line) for line in text.splitlines())
        excess = len(text) - limit
        if excess <= 0 or not values["title"]:
            return text[:limit]
        values["title"] = values["title"][: -min(excess, len(values["title"]))].rstrip()


@dataclass(frozen=True)
class Server:
    """The mail server. ``security`` is ``starttls`` or ``tls``; there is no connection without TLS."""

    host: str
    port: int
    security: str
    ca_path: str | None = None
    username: str | None = None
    password: str | None = None
    timeout: float = 30

    def send(self, message: EmailMessage) -> None:
        """Return once the server has accepted ``message`` for its only recipient.

        Raises AnswerError (this mail was refused), AuthError or Unreachable (nothing was handed over), or Unreachable
        with ``outcome`` "unknown" in its details: the connection broke before the server had answered.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_path)
        except OSError as exc:
            raise ConfigError(f"smtp_ca_path {self.ca_path} is not a usable certificate file: {exc}.") from None
        try:
            smtp = self._connect(message["From"].partition("@")[2], context)
        except ssl.SSLError as exc:
            raise self._error(
                Unreachable, f"has no TLS that is trusted ({exc}): give the authority's certificate as smtp_ca_path"
            ) from None
        except smtplib.SMTPNotSupportedError as exc:
            raise self._error(Unreachable, f"lacks what is needed ({exc}): mail is only sent over TLS") from None
        except smtplib.SMTPAuthenticationError as exc:
            raise self._error(AuthError, f"refused the user or password ({_answer(exc)})") from None
        except OSError as exc:
            raise self._error(Unreachable, f"cannot be reached ({_answer(exc)})") from None
        try:
            smtp.send_message(message)
        except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused, smtplib.SMTPNotSupportedError) as exc:
            raise self._error(AnswerError, f"refused this mail ({_answer(exc)})") from None
        except OSError as exc:
            raise self._error(
                Unreachable, f"broke off before it said whether it took the mail ({_answer(exc)})", outcome="unknown"
            ) from None
        else:
            # The answer is in: what the goodbye meets cannot change it.
            with contextlib.suppress(OSError):
                smtp.quit()
        finally:
            smtp.close()

    def _connect(self, name: str, context: ssl.SSLContext) -> smtplib.SMTP:
        # Its own name for the greeting: asking the resolver for one can take as long as a time-out.
        if self.security == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, local_hostname=name, timeout=self.timeout, context=context
            )
        else:
            smtp = smtplib.SMTP(self.host, self.port, local_hostname=name, timeout=self.timeout)
        try:
            if self.security != "tls":
                smtp.starttls(context=context)
            smtp.ehlo_or_helo_if_needed()
            if self.username:
                smtp.login(self.username, self.password or "")
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _error(self, kind: type[SocError], what: str, **details: t.Any) -> SocError:
        secrets = (self.password,) if self.password else ()
        return kind(redact(f"The mail server {self.host}:{self.port} {what}.", secrets), **details)


def _answer(exc: Exception) -> str:
    """What the server said, in one line."""
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(exc.recipients.values()))
    elif isinstance(exc, smtplib.SMTPResponseException):
        code, text = exc.smtp_code, exc.smtp_error
    else:
        return f"{exc.__class__.__name__}: {exc}"[:300]
    return f"{code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"[:300]
