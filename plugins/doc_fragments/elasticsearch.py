# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not use it from elsewhere.

from __future__ import annotations


class ModuleDocFragment:
    # Kept equal to elasticsearch() in plugins/module_utils/_core/argspec.py.
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
  elasticsearch_api_key:
    description:
      - API key in its encoded form.
      - One of O(elasticsearch_api_key), O(elasticsearch_api_key_file) and O(elasticsearch_username) is needed.
    type: str
  elasticsearch_api_key_file:
    description:
      - File on the target that holds the encoded API key on one line.
    type: path
  elasticsearch_username:
    description:
      - User to log in as, with O(elasticsearch_password) or O(elasticsearch_password_file).
    type: str
  elasticsearch_password:
    description:
      - Password of O(elasticsearch_username).
    type: str
  elasticsearch_password_file:
    description:
      - File on the target that holds the password of O(elasticsearch_username) on one line.
    type: path
  elasticsearch_timeout:
    description:
      - Seconds to wait for one answer of Elasticsearch.
    type: int
    default: 60
  elasticsearch_compress:
    description:
      - Whether documents are compressed on their way. Worth it across a network, not on the same machine.
    type: bool
    default: false
requirements:
  - Python 3.11 or newer on the target
  - elasticsearch 8.19
  - orjson
"""
