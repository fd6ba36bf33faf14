# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elasticsearch as the roles install it in tests: archives, and the lab's add-on as a plugin. Use: lab.archives FOLDER"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from lab.artefacts import COMPILER, ELASTICSEARCH, ELASTICSEARCH_BEFORE, fetch
from lab.elasticsearch import build_addon


def provide(folder: Path) -> None:
    """Both archives and ``soc-lab-<version>.zip`` in ``folder``, under the names that the vendor gives them."""
    folder.mkdir(parents=True, exist_ok=True)
    for artefact in (ELASTICSEARCH, ELASTICSEARCH_BEFORE):
        target = folder / f"elasticsearch-{artefact.version}.zip"
        if not target.exists():
            shutil.copy(fetch(artefact), target)
    addon = folder / f"soc-lab-{ELASTICSEARCH.version}"
    if not addon.with_name(addon.name + ".zip").exists():
        with tempfile.TemporaryDirectory() as scratch:
            with zipfile.ZipFile(fetch(ELASTICSEARCH)) as bundle:
                libraries = f"elasticsearch-{ELASTICSEARCH.version}/lib/"
                bundle.extractall(scratch, [name for name in bundle.namelist() if name.startswith(libraries)])
            build_addon(Path(scratch) / libraries, Path(scratch) / "soc-lab", fetch(COMPILER))
            shutil.make_archive(str(addon), "zip", Path(scratch) / "soc-lab")
    folder.chmod(0o755)


if __name__ == "__main__":
    provide(Path(sys.argv[1]))
