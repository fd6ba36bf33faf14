# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the collection's templates to the target, as one file, and calls the module with their place."""

from __future__ import annotations

import io
import pathlib
import typing as t
import zipfile

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

TEMPLATES = pathlib.Path(__file__).resolve().parents[2] / "templates"


def pack(folder: pathlib.Path) -> bytes:
    """Every file under ``folder`` as one zip file; the same files give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return content.getvalue()


class ActionModule(ActionBase):
    """Runs where Ansible runs."""

    TRANSFERS_FILES = True
    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict | None = None) -> dict:
        self._supports_check_mode = True
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        try:
            if not arguments.get("templates_dir"):
                arguments["templates_dir"] = self._bring_templates()
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _bring_templates(self) -> str:
        """The path of the templates on the target, which is the folder itself when the target is this user here."""
        if getattr(self._connection, "_remote_is_local", False) and not self._connection.become:
            return str(TEMPLATES)
        try:
            shell = self._connection._shell
            remote = self._transfer_data(shell.join_path(shell.tmpdir, "templates.zip"), pack(TEMPLATES))
            self._fixup_perms2((shell.tmpdir, remote))
        except OSError as exc:
            raise AnsibleActionFail(
                f"The report's templates in {TEMPLATES} cannot be read: {exc}. Install the collection again."
            ) from exc
        return remote
