# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The frame around every module: options in, one call, one answer out."""

from __future__ import annotations

import dataclasses
import typing as t

from .clock import Clock, clock
from .errors import InternalError, SocError


@dataclasses.dataclass(frozen=True)
class Run:
    """What a piece of work may know of the module run that it serves."""

    params: dict
    check_mode: bool
    clock: Clock
    tmpdir: str
    warn: t.Callable[[str], None]


def run_module(module: t.Any, work: t.Callable[[Run], dict]) -> None:
    """Call ``work`` and leave with what it returns, or with one clear sentence and a structured ``failure``.

    ``work`` returns the module's result; its ``diff`` is shown only when asked for. A result that carries
    ``failure`` (some parts failed, the rest went on) leaves by fail_json with everything that was done.
    """
    try:
        result = work(
            Run(module.params, module.check_mode, clock(module.params.get("now")), module.tmpdir, module.warn)
        )
    except SocError as exc:
        module.fail_json(msg=exc.message, failure=exc.as_dict())
    except Exception as exc:  # a traceback may hold a secret, or a vendor's text
        fault = InternalError.of(exc)
        module.fail_json(msg=fault.message, failure=fault.as_dict())
    if not module._diff:
        result.pop("diff", None)
    if result.get("failure"):
        module.fail_json(msg=result["failure"]["message"], **result)
    module.exit_json(**result)
