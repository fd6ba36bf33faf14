# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not use it from elsewhere.

from __future__ import annotations


class ModuleDocFragment:
    # Kept equal to common() in plugins/module_utils/_core/argspec.py.
    DOCUMENTATION = r"""
options:
  now:
    description:
      - The time that this run takes for the present, in ISO 8601, for rehearsals and tests.
      - By default the clock of the target.
    type: str
"""
