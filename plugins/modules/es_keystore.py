#!/usr/bin/python

# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: es_keystore
short_description: Manage the keystore of an Elasticsearch node
version_added: 0.1.0
description:
  - Puts secret settings into the keystore of a node, over stdin, and makes the keystore when there is none.
  - Salted digests of the values are kept in a file beside it. As long as nobody else has written the keystore, a run that changes
    nothing does not start Java. Otherwise the keystore itself is read and compared.
  - The node reads its keystore when it starts. A change takes a restart, or C(POST _nodes/reload_secure_settings) where the setting allows.
  - A keystore with a password of its own is not supported.
options:
  entries:
    description:
      - Values by the names of their settings, each on one line.
    type: dict
    default: {}
  remove:
    description:
      - Names of settings that should not be in the keystore.
    type: list
    elements: str
    default: []
  purge:
    description:
      - Whether settings go that this module put there and that are no longer in O(entries). Others always stay.
    type: bool
    default: false
  home:
    description:
      - Folder in which Elasticsearch is installed.
    type: path
    default: /usr/share/elasticsearch
  config_dir:
    description:
      - Folder of its configuration, in which the keystore is.
    type: path
    default: /etc/elasticsearch
  java_home:
    description:
      - Java to run with. By default the one that Elasticsearch brings.
    type: path
  digests:
    description:
      - File of the digests, which only its owner can read. By default C(elasticsearch.keystore.digests) in O(config_dir).
      - Without it nothing breaks, the next run reads the keystore.
    type: path
  owner:
    description:
      - Owner of the keystore.
    type: str
    default: root
  group:
    description:
      - Group of the keystore, in which Elasticsearch runs.
    type: str
    default: elasticsearch
  mode:
    description:
      - Mode of the keystore, in four octal digits. It may not open it to all.
    type: str
    default: "0660"
extends_documentation_fragment:
  - netcure.soc.common
  - netcure.soc.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - Netcure (@netcure)
"""

EXAMPLES = r"""
- name: Put the credentials of the snapshot repository into the keystore
  netcure.soc.es_keystore:
    entries:
      s3.client.default.access_key: "{{ vault_s3_access_key | default('an example') }}"
      s3.client.default.secret_key: "{{ vault_s3_secret_key | default('an example') }}"
    remove:
      - bootstrap.password
    purge: true
"""

RETURN = r"""
changed:
  description: Whether the keystore was written, or would be in check mode.
  type: bool
  returned: always
pending:
  description: Whether the keystore would be written; only ever true in check mode.
  type: bool
  returned: always
created:
  description: Whether there was no keystore.
  type: bool
  returned: always
added:
  description: Names of the entries that were not there.
  type: list
  elements: str
  returned: always
  sample: [s3.client.default.secret_key]
updated:
  description: Names of the entries that had another value.
  type: list
  elements: str
  returned: always
removed:
  description: Names of the entries that were removed.
  type: list
  elements: str
  returned: always
failure:
  description: What went wrong, for playbooks to branch on.
  type: dict
  returned: failure
  contains:
    code:
      description: Stable name of the kind of failure.
      type: str
      returned: always
      sample: answer_invalid
    message:
      description: The sentence that is also in C(msg).
      type: str
      returned: always
    details:
      description: More, for machines.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netcure.soc.plugins.module_utils._core.module import run_module
from ansible_collections.netcure.soc.plugins.module_utils._deploy.keystore import apply, argument_spec


def main():
    module = AnsibleModule(supports_check_mode=True, **argument_spec().to_kwargs())
    run_module(module, apply)


if __name__ == "__main__":
    main()
