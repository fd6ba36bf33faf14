# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not use it from elsewhere.

from __future__ import annotations


class ModuleDocFragment:
    # Kept equal to admin() in plugins/module_utils/_deploy/rest.py.
    DOCUMENTATION = r"""
options:
  elasticsearch_url:
    description:
      - Address of Elasticsearch. Only C(https) is accepted, and the certificate is always verified.
    type: str
    required: true
  elasticsearch_ca_path:
    description:
      - File with the certificate of the authority that signed Elasticsearch's own, in PEM.
      - By default the authorities that the target trusts.
    type: path
  elasticsearch_username:
    description:
      - User to log in as, who may manage what the module manages.
    type: str
    required: true
  elasticsearch_password:
    description:
      - Password of O(elasticsearch_username).
      - Either this or O(elasticsearch_password_file) is needed.
    type: str
  elasticsearch_password_file:
    description:
      - File on the target that holds the password of O(elasticsearch_username) on one line.
    type: path
  timeout:
    description:
      - Seconds to wait for one answer of Elasticsearch.
    type: int
    default: 30
requirements:
  - Python 3.11 or newer on the target, and no library beside it
"""
