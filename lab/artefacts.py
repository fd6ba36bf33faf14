# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab fetches from Maven Central: pinned by version and by checksum, kept in a cache outside the work tree."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from jgo.maven import MavenContext

from lab import LabError

TRIES = 3


@dataclasses.dataclass(frozen=True)
class Artefact:
    """One file of Maven Central, and the SHA-256 that it must have."""

    group: str
    name: str
    version: str
    packaging: str
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}-{self.sha256[:12]}.{self.packaging}"


# The distribution that Elastic publishes for integration tests: the server with security, without most modules.
ELASTICSEARCH = Artefact(
    "org.elasticsearch.distribution.integ-test-zip",
    "elasticsearch",
    "8.19.8",
    "zip",
    "8d943e94cef02cbceb6e39cd00175bb04e5f882fa32783a473880b8691a54376",
)
# For the test that upgrades a cluster.
ELASTICSEARCH_BEFORE = dataclasses.replace(
    ELASTICSEARCH, version="8.17.0", sha256="c3e814c3fa6b31ffaa2bad55c3aa2121fd595b3ffe08a7adf3a4579adbcb91d9"
)
# The Eclipse compiler runs on any Java, also on one that comes without javac.
COMPILER = Artefact(
    "org.eclipse.jdt", "ecj", "3.42.0", "jar", "29f6d3918ee02db4400c103bc25dd90a22491c3a395867d9393070cb96a7dd29"
)


def cache_folder() -> Path:
    """``$SOC_CACHE``, else ``netcure-soc`` in the user's own cache folder. Losing it costs a download, nothing else."""
    named = os.environ.get("SOC_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(named) if named else Path(base or Path.home() / ".cache") / "netcure-soc"


def fetch(artefact: Artefact) -> Path:
    """The file of ``artefact``, complete and with the right checksum. Raises LabError."""
    cache = cache_folder()
    path = cache / artefact.file
    if path.is_file() and _sha256(path) == artefact.sha256:
        return path
    cache.mkdir(parents=True, exist_ok=True)
    reason: Exception | str = ""
    for _attempt in range(TRIES):
        draft = Path(tempfile.mkdtemp(dir=cache, prefix=".fetch-"))
        try:
            context = MavenContext(repo_cache=draft, timeout=30)
            project = context.project(artefact.group, artefact.name).at_version(artefact.version)
            fetched = project.artifact(packaging=artefact.packaging).resolve()
            if _sha256(fetched) != artefact.sha256:
                reason = "what came has another checksum than the pinned one"
                continue
            fetched.replace(path)  # only what is complete ever has this name
            return path
        except Exception as exc:  # the library raises many kinds; each means "not this time"
            reason = exc
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    raise LabError(
        f"{artefact.group}:{artefact.name}:{artefact.version} could not be fetched from Maven Central: {reason}. "
        "Check the network (a proxy needs HTTPS_PROXY and REQUESTS_CA_BUNDLE), and try again."
    )


def _sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
