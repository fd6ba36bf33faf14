# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not use it from elsewhere.

from __future__ import annotations


class ModuleDocFragment:
    # Kept equal to vendor_options() in plugins/module_utils/_collect/options.py.
    DOCUMENTATION = r"""
options:
  token_file:
    description:
      - File on the target that holds the vendor's bearer token on one line.
      - It is read again when the vendor says that the token has expired.
      - Give either this, or O(client_id) with its secret.
    type: path
  client_id:
    description:
      - Client for which the vendor gives tokens (OAuth 2.0 client credentials).
    type: str
  client_secret:
    description:
      - Secret of O(client_id).
    type: str
  client_secret_file:
    description:
      - File on the target that holds O(client_secret) on one line.
    type: path
  api_key:
    description:
      - Key that is sent beside the token, in the header that the profile names, where the vendor asks for one.
    type: str
  api_key_file:
    description:
      - File on the target that holds O(api_key) on one line.
    type: path
  ca_path:
    description:
      - File with the certificate of the authority that signed the vendor's own, in PEM.
      - By default the authorities that the target trusts.
    type: path
  timeout:
    description:
      - Seconds to wait for one answer of the vendor.
    type: int
    default: 30
  look_back:
    description:
      - How far before its cursor a run begins to ask, because vendors list some records late.
      - What arrives later than this is missed, so keep it at twice the lag of the vendor. The module warns when it is less.
      - M(netcure.soc.soc_doctor) holds it against how late records came so far.
    type: str
    default: 40m
  profile:
    description:
      - Parts of the source profile to be replaced, for a vendor's API that differs from what is assumed.
      - Dictionaries merge with the shipped profile, everything else replaces it.
      - M(netcure.soc.soc_doctor) wants the same as the fetch module.
    type: dict
    default: {}
  state_dir:
    description:
      - Folder of the journals; each source has its own below it.
    type: path
    default: /var/lib/soc
requirements:
  - requests
"""
