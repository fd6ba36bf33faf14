# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own certificate authority: every service of the lab speaks TLS, and every client verifies it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import ssl
import tempfile
from pathlib import Path

import trustme


@dataclasses.dataclass(frozen=True)
class Certificates:
    """PEM files: the authority, and a certificate for localhost and 127.0.0.1 with its key."""

    ca: Path
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))


def certificates(folder: Path) -> Certificates:
    """The certificates in ``folder``/tls, made at the first call. Keys are readable by their owner only."""
    home = folder / "tls"
    if not home.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder, prefix=".tls-"))
        try:
            authority = trustme.CA(organization_name="Netcure SOC lab")
            leaf = authority.issue_cert("localhost", "127.0.0.1")
            chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
            _write(draft / "ca.pem", authority.cert_pem.bytes(), 0o644)
            _write(draft / "ca.key", authority.private_key_pem.bytes(), 0o600)
            _write(draft / "lab.pem", chain, 0o644)
            _write(draft / "lab.key", leaf.private_key_pem.bytes(), 0o600)
            draft.rename(home)  # all four or none
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return Certificates(home / "ca.pem", home / "lab.pem", home / "lab.key")


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as handle:
        handle.write(content)
