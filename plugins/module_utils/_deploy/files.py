# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Files that hold secrets: owner, group and mode are right from their first byte."""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
import re
import stat
import tempfile

from .._core.errors import ConfigError, StateError
from .._core.state import sync_folder


@dataclasses.dataclass(frozen=True)
class Access:
    """Who owns a file and what others may do with it. None leaves the owner or group as it comes."""

    owner: str | None
    group: str | None
    mode: int

    def ids(self) -> tuple[int, int]:
        """(uid, gid) for chown, -1 for what is left alone. Raises ConfigError for names that the host does not know."""
        return _id(self.owner, "user", pwd.getpwnam, "pw_uid"), _id(self.group, "group", grp.getgrnam, "gr_gid")

    def holds(self, path: str) -> bool:
        """Whether ``path`` is like this. A user or group that is not there yet owns nothing."""
        try:
            found, (uid, gid) = os.stat(path), self.ids()
        except (OSError, ConfigError):
            return False
        return stat.S_IMODE(found.st_mode) == self.mode and uid in (-1, found.st_uid) and gid in (-1, found.st_gid)

    def give(self, path: str) -> None:
        """Make ``path`` like this."""
        try:
            os.chown(path, *self.ids())
            os.chmod(path, self.mode)
        except OSError as exc:
            raise StateError(f"Owner and mode of {path} cannot be set: {exc.strerror}. Run as root (become).") from exc


def _id(name: str | None, what: str, find: object, attribute: str) -> int:
    if not name:
        return -1
    try:
        return getattr(find(name), attribute)
    except KeyError:
        raise ConfigError(f"There is no {what} {name} on this host; create it first, or name another one.") from None


def access(params: dict) -> Access:
    """Access from the options owner, group and mode. Raises ConfigError for a mode that is not one, or is open to all."""
    mode = params["mode"]
    if not re.fullmatch(r"0[0-7]{3}", mode):
        raise ConfigError(
            f"The mode {mode} is not four octal digits; write it with quotes and a 0 in front, such as '0640'."
        )
    if int(mode, 8) & 0o007:
        raise ConfigError(
            f"The mode {mode} opens a file of secrets to every user of the host; end it in 0, such as '0640'."
        )
    return Access(params["owner"], params["group"], int(mode, 8))


def read(path: str) -> bytes | None:
    """What the file holds; None when there is none. Raises StateError."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StateError(f"The file {path} cannot be read: {exc.strerror}.") from exc


def write(path: str, content: bytes, rights: Access) -> None:
    """Replace ``path`` in one durable step. The new file is its owner's alone until it is whole."""
    uid, gid = rights.ids()
    folder = os.path.dirname(os.path.abspath(path))
    try:
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix="." + os.path.basename(path) + ".")
        try:
            with os.fdopen(descriptor, "wb") as handle:
                os.fchown(handle.fileno(), uid, gid)
                os.fchmod(handle.fileno(), rights.mode)
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        sync_folder(folder)
    except OSError as exc:
        raise StateError(
            f"The file {path} cannot be written: {exc.strerror}. The folder must be there, and be ours to write."
        ) from exc


def remove(path: str) -> None:
    """Delete ``path``, durably."""
    try:
        os.unlink(path)
        sync_folder(os.path.dirname(os.path.abspath(path)))
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StateError(f"The file {path} cannot be deleted: {exc.strerror}.") from exc
