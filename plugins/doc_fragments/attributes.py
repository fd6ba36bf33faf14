# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not use it from elsewhere.

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second run indicates no change.
  action_group:
    description: Use C(group/netcure.soc.soc) in C(module_defaults) to set defaults for all modules of this collection.
    support: full
    membership:
      - netcure.soc.soc
"""

    # For the modules that talk to Elasticsearch.
    ACTIONGROUP_ELASTICSEARCH = r"""
options: {}
attributes:
  action_group:
    description:
      - Use C(group/netcure.soc.soc) in C(module_defaults) to set defaults for all modules of this collection,
        and C(group/netcure.soc.elasticsearch) for those that talk to Elasticsearch.
    support: full
    membership:
      - netcure.soc.soc
      - netcure.soc.elasticsearch
"""

    # For the modules that manage Elasticsearch.
    ACTIONGROUP_ELASTICSEARCH_ADMIN = r"""
options: {}
attributes:
  action_group:
    description:
      - Use C(group/netcure.soc.soc) in C(module_defaults) to set defaults for all modules of this collection,
        and C(group/netcure.soc.elasticsearch_admin) for those that manage Elasticsearch.
    support: full
    membership:
      - netcure.soc.soc
      - netcure.soc.elasticsearch_admin
"""
