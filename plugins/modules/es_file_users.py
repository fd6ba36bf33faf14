#!/usr/bin/python

# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: es_file_users
short_description: Manage the users in the file realm of an Elasticsearch node
version_added: 0.1.0
description:
  - Writes the files C(users) and C(users_roles) of a node, whose users can log in even when the cluster has no master.
  - Elasticsearch takes the change up within seconds, without a restart. Every node has its own files.
  - A password that is right already stays as it is written, byte for byte. A hash of another function than PBKDF2, as
    C(elasticsearch-users) writes it by default, cannot be told and is replaced once.
options:
  users:
    description:
      - The users. Others stay, unless O(purge).
    type: list
    elements: dict
    required: true
    suboptions:
      username:
        description:
          - Name of the user.
        type: str
        required: true
      roles:
        description:
          - Names of the roles that the user has, and no others.
        type: list
        elements: str
        default: []
      state:
        description:
          - Whether the user should be there.
        type: str
        choices: [present, absent]
        default: present
  passwords:
    description:
      - Password by name of the user, of six characters or more. Every user needs one, unless O(users[].state=absent).
    type: dict
    default: {}
  purge:
    description:
      - Whether users go that are not in O(users).
    type: bool
    default: false
  config_dir:
    description:
      - Folder of the configuration of Elasticsearch, in which the files are.
    type: path
    default: /etc/elasticsearch
  owner:
    description:
      - Owner of the files.
    type: str
    default: root
  group:
    description:
      - Group of the files, in which Elasticsearch runs.
    type: str
    default: elasticsearch
  mode:
    description:
      - Mode of the files, in four octal digits. It may not open them to all.
    type: str
    default: "0640"
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
- name: Keep one user who can always log in
  netcure.soc.es_file_users:
    users:
      - username: soc-admin
        roles: [superuser]
      - username: somebody
        state: absent
    passwords:
      soc-admin: "{{ vault_elasticsearch_password | default('an example') }}"
"""

RETURN = r"""
changed:
  description: Whether a file was written, or would be in check mode.
  type: bool
  returned: always
users:
  description: Whom a change concerns.
  type: list
  elements: dict
  returned: always
  contains:
    username:
      description: Name of the user.
      type: str
      returned: always
      sample: soc-admin
    action:
      description: One of V(created), V(updated), V(deleted).
      type: str
      returned: always
      sample: created
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
from ansible_collections.netcure.soc.plugins.module_utils._deploy.file_users import apply, argument_spec


def main():
    module = AnsibleModule(supports_check_mode=True, **argument_spec().to_kwargs())
    run_module(module, apply)


if __name__ == "__main__":
    main()
