# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Secrets: read from files, and kept out of every message."""

from __future__ import annotations

import os

from .errors import ConfigError

HIDDEN = "********"


def read_secret(path: str, what: str) -> str:
    """The one line in the file ``path``. Raises ConfigError in terms of ``what`` when there is none."""
    try:
        with open(path, encoding="utf-8") as handle:
            secret = handle.read().strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise ConfigError(
            f"The {what} cannot be read from {path}: {reason}. Put it there, readable by the SOC user only."
        ) from exc
    if not secret or not secret.isprintable():
        raise ConfigError(f"The file {path} must hold the {what} on one line, as plain text without a byte order mark.")
    return secret


def secret_option(params: dict, name: str, what: str) -> str | None:
    """The secret from option ``name``, or from the file named by option ``name_file``, or None."""
    if params.get(name):
        secret = params[name].strip()
        if not secret.isprintable():
            raise ConfigError(f"The option {name} must hold the {what} on one line, as plain text.")
        return secret
    path = params.get(name + "_file")
    return read_secret(os.path.expanduser(path), what) if path else None


def header_value(secret: str, what: str) -> str:
    """``secret`` when it can be sent in a header, else ConfigError (which does not show it)."""
    if not secret.isascii():
        raise ConfigError(f"The {what} holds characters that no key has, such as typographic quotes. Copy it again.")
    return secret


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """``text`` with every secret blanked out, the longest first so that none leaves a tail."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in (secret, repr(secret)[1:-1]):
            text = text.replace(form, HIDDEN)
    return text


def excerpt(text: str, secrets: tuple[str, ...], length: int = 200) -> str:
    """The beginning of somebody's text for a message: one line, printable, without secrets, also not half of one."""
    words = "".join(c if c.isprintable() else " " for c in redact(text, secrets)).split()
    return " ".join(words)[:length]
