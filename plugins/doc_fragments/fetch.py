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
  token_file:
    description:
      - File on the target that holds the vendor's bearer token on one line.
      - It is read again when the vendor says that the token has expired.
    type: path
    required: true
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
      - What arrives later than this is missed, so keep it at twice the lag of the vendor.
    type: str
    default: 40m
  profile:
    description:
      - Parts of the source profile to be replaced, for a vendor's API that differs from what is assumed.
      - Dictionaries merge with the shipped profile, everything else replaces it.
    type: dict
    default: {}
  state_dir:
    description:
      - Folder of the journals; each source has its own below it.
    type: path
    default: /var/lib/soc
  log_dir:
    description:
      - Folder of the error logs, one a source.
    type: path
    default: /var/log/soc
  ignore_set_errors:
    description:
      - Whether the run succeeds, with a warning, though some data sets could not be collected.
      - Either way what one set breaks does not stop the others.
    type: bool
    default: false
requirements:
  - requests
"""
