# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not use it from elsewhere.

from __future__ import annotations


class ModuleDocFragment:
    # Kept equal to argument_spec() in plugins/module_utils/_collect/run.py. Defaults that differ by vendor are in the modules.
    DOCUMENTATION = r"""
options:
  only_due:
    description:
      - Whether only those sets are collected whose interval has passed since their last complete walk.
      - Every set has its interval in the O(profile), C(sets.NAME.every), of five minutes or a day.
    type: bool
    default: false
  ask_again_for:
    description:
      - How old an open record may be to be asked for anew, so that what an analyst closed at the vendor is closed here too.
    type: str
    default: 30d
  since:
    description:
      - Moment from which records are collected, such as V(2026-01-01), for what lies before the first run or for a new client.
      - Each run goes on with it for O(backfill_slice) after it has collected what is new, until it is done. So this may
        stay set. Where it is, is told in the file C(SOURCE.progress.log) in O(log_dir) and in the result.
      - The first run of a source begins here too; without this option it begins with the oldest record of the vendor.
    type: str
  companies:
    description:
      - Ids or names of the companies to which O(since) is restricted. Empty means all.
    type: list
    elements: str
    default: []
  backfill_slice:
    description:
      - How long one run goes on with a backfill.
    type: str
    default: 2m
  reconcile:
    description:
      - How far back a walk begins, once a day, that counts what is there, at the vendor, in the journal and in the index.
      - What it finds missing in the journal is collected in that same walk. It needs the privilege C(read) on the indices.
      - Without this option nothing is counted.
    type: str
  provider:
    description:
      - Id and name of the provider's own organisation, which is the tenant of what belongs to no company.
    type: dict
    default: {id: provider, name: Provider}
  log_dir:
    description:
      - Folder of the error and progress logs.
    type: path
    default: /var/log/soc
  archive_dir:
    description:
      - Folder of the archive. What was collected is sealed, compressed and verified in C(collected/SOURCE) below it.
    type: path
    default: /srv/soc/archive
  seal_after:
    description:
      - How old a segment of the journal becomes before it is sealed into the archive.
    type: str
    default: 24h
  ignore_set_errors:
    description:
      - Whether the run succeeds, with a warning, though some data sets could not be collected.
      - Either way what one set or company breaks does not stop the others.
    type: bool
    default: false
"""
