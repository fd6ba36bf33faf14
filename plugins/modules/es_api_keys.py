#!/usr/bin/python

# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: es_api_keys
short_description: Keep API keys of Elasticsearch in files of the target
version_added: 0.1.0
description:
  - Makes an API key and puts it into a file, in the encoded form in which it is sent, unless the file holds one that works.
  - What a key may do is changed in place. A new one is made only when there is none that works, in time before it expires, or on demand.
  - A new key has logged in and is in its file before the earlier one is invalidated. A key that an interrupted run left behind
    is found by its metadata, and invalidated.
  - No key is ever in the result, the diff or the log. It needs no Python library on the target.
options:
  keys:
    description:
      - The keys of this host. Every key has one name and one file.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the key in Elasticsearch.
        type: str
        required: true
      path:
        description:
          - File that holds the encoded key on one line. Its folder must be there.
        type: path
        required: true
      role_descriptors:
        description:
          - What the key may do, by name of role, as the API of Elasticsearch takes it. Needed unless O(keys[].state=absent),
            because a key without any can do whatever its maker can.
        type: dict
      metadata:
        description:
          - What else Elasticsearch keeps with the key. The module adds C(netcure_soc), which says whose it is.
        type: dict
        default: {}
      expiration:
        description:
          - How long a new key lives, such as V(365d). By default it does not expire.
          - A key that has longer to live than this is replaced.
        type: str
      renew_before:
        description:
          - How long before its end a key is replaced.
        type: str
        default: 30d
      rotate:
        description:
          - Whether the key is replaced in any case. Every run with it is a change.
        type: bool
        default: false
      owner:
        description:
          - Owner of the file. By default whoever runs the module, or had it already.
        type: str
      group:
        description:
          - Group of the file.
        type: str
      mode:
        description:
          - Mode of the file, in four octal digits. It may not open it to all.
        type: str
        default: "0640"
      state:
        description:
          - V(absent) invalidates the key and deletes its file.
        type: str
        choices: [present, absent]
        default: present
extends_documentation_fragment:
  - netcure.soc.elasticsearch_admin
  - netcure.soc.common
  - netcure.soc.attributes.actiongroup_elasticsearch_admin
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
- name: Give the collector a key that is renewed a month before its end
  netcure.soc.es_api_keys:
    keys:
      - name: soc-collector
        path: /etc/soc/collector.key
        owner: root
        group: root
        expiration: 365d
        role_descriptors:
          collector:
            cluster: [monitor]
            indices:
              - names: [soc-*]
                privileges: [create_index, index, read, view_index_metadata]
      - name: soc-old
        path: /etc/soc/old.key
        state: absent
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_username: soc-admin
    elasticsearch_password_file: /etc/soc/elasticsearch-admin.password

- name: Replace it now
  netcure.soc.es_api_keys:
    keys:
      - name: soc-collector
        path: /etc/soc/collector.key
        rotate: true
        role_descriptors:
          collector:
            cluster: [monitor]
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_username: soc-admin
    elasticsearch_password_file: /etc/soc/elasticsearch-admin.password
"""

RETURN = r"""
changed:
  description: Whether a key or file was changed, or would be in check mode.
  type: bool
  returned: always
keys:
  description: What was done, or would be in check mode, by key, in the order of the option.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the key.
      type: str
      returned: always
      sample: soc-collector
    path:
      description: Its file.
      type: str
      returned: always
      sample: /etc/soc/collector.key
    action:
      description:
        - One of V(created), V(renewed), V(updated), V(deleted), V(unchanged), V(failed), and V(not_tried) when Elasticsearch was
          gone or did not know the user.
        - Who holds a key in memory, such as a service, must be restarted after V(renewed).
      type: str
      returned: always
      sample: renewed
    reason:
      description: Why.
      type: str
      returned: always
      sample: it expires on 2026-12-01T00:00:00.000Z
    invalidated:
      description: Number of keys that were invalidated.
      type: int
      returned: always
      sample: 1
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
      description: More, for machines; by key where only some of them failed.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netcure.soc.plugins.module_utils._core.module import run_module
from ansible_collections.netcure.soc.plugins.module_utils._deploy.api_keys import apply, argument_spec


def main():
    module = AnsibleModule(supports_check_mode=True, **argument_spec().to_kwargs())
    run_module(module, apply)


if __name__ == "__main__":
    main()
