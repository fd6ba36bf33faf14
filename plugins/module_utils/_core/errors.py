# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""What can go wrong, each with a stable code, and a sentence that tells a person what to do."""

from __future__ import annotations

import os
import traceback


class SocError(Exception):
    """Base of every error that is told to a person.

    ``message`` says what happened and what to do about it, ``details`` holds plain JSON values for machines.
    The class attribute ``code`` never changes once released: playbooks branch on it.
    """

    code = "soc_error"

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def as_dict(self) -> dict:
        """The structured form that modules return as ``failure``."""
        return {"code": self.code, "message": self.message, "details": self.details}


class ConfigError(SocError):
    """An option or a profile that cannot work."""

    code = "config_invalid"


class LibraryMissing(SocError):
    """A Python library that the target lacks."""

    code = "library_missing"


class Locked(SocError):
    """Another run holds the lock."""

    code = "locked"


class StateError(SocError):
    """State could not be read or written: disk full, wrong owner, damaged file."""

    code = "state_unusable"


class Unreachable(SocError):
    """A remote system gave no usable answer after all retries."""

    code = "unreachable"


class AuthError(SocError):
    """A remote system refused our credentials."""

    code = "auth_failed"


class AnswerError(SocError):
    """A remote system answered, but not as its contract says."""

    code = "answer_invalid"


class InputError(SocError):
    """A file that people hand to us (roster, CSV) is missing, unreadable or wrong."""

    code = "input_invalid"


class ArchiveError(SocError):
    """An archive could not be written or did not read back as written; nothing was deleted."""

    code = "archive_unverified"


class InternalError(SocError):
    """A fault of this collection; the sentence names the place."""

    code = "internal_error"

    @classmethod
    def of(cls, exc: Exception) -> InternalError:
        """``exc`` as a sentence: its class and where it happened, never its text, which may hold anything."""
        frame = traceback.extract_tb(exc.__traceback__)[-1]
        place = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
        return cls(f"This is a fault of the collection ({exc.__class__.__name__} in {place}); please report it.")


class Refused(SocError):
    """A safety limit stopped the run before it did anything."""

    code = "refused"
