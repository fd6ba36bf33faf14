# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The files that a report is made with (templates, styles, script, fonts), read once into memory.

They travel to the target as one zip file; on the machine that runs Ansible the folder itself is read.
"""

from __future__ import annotations

import pathlib
import zipfile

from .._core.errors import ConfigError

Assets = dict[str, bytes]


def load(path: str | None) -> Assets:
    """Content by relative name (``fonts/Inter-Bold.woff2``) of a folder or zip file. Raises ConfigError."""
    if not path:
        raise ConfigError(
            "templates_dir is not set. The action plugin of render_report sets it: call the module by its full name, "
            "netcure.soc.render_report."
        )
    source = pathlib.Path(path)
    try:
        if source.is_dir():
            files = sorted(one for one in source.rglob("*") if one.is_file())
            return {one.relative_to(source).as_posix(): one.read_bytes() for one in files}
        with zipfile.ZipFile(source) as archive:
            return {name: archive.read(name) for name in sorted(archive.namelist())}
    except (OSError, zipfile.BadZipFile) as exc:
        raise ConfigError(f"The templates in {path} cannot be read: {exc}. Leave templates_dir out.") from exc


def text(assets: Assets, name: str) -> str:
    """The file ``name`` as text. Raises ConfigError when it is not there."""
    try:
        return assets[name].decode("utf-8")
    except (KeyError, UnicodeDecodeError) as exc:
        raise ConfigError(f"templates_dir has no usable {name}. Leave templates_dir out.") from exc
