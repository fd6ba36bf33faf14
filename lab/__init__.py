# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SOC on one machine: a real Elasticsearch, real mail, and simulators of the closed services."""

from __future__ import annotations


class LabError(Exception):
    """Something that the lab cannot do; the text is a sentence for a person that says what to do."""
