#!/usr/bin/python

# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: es_objects
short_description: Manage what an Elasticsearch cluster holds beside documents
version_added: 0.1.0
description:
  - Puts settings, templates, policies, repositories, roles, users and pipelines in place, in the order in which they are listed.
  - Each is read and compared first. Only what differs is written, and what was written is read back.
  - An object that Elasticsearch refuses does not stop the others. The module tries all of them and fails at the end.
  - It needs no Python library on the target.
options:
  objects:
    description:
      - What should be there, and what should not. List what others name before those.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description:
          - What it is.
        type: str
        required: true
        choices:
          - cluster_settings
          - component_template
          - index_template
          - ilm_policy
          - slm_policy
          - snapshot_repository
          - role
          - user
          - role_mapping
          - ingest_pipeline
      name:
        description:
          - Its name. V(cluster_settings) have none, and are always the persistent ones.
        type: str
      body:
        description:
          - The object, as the API of Elasticsearch takes it in a C(PUT).
          - It is the whole object. What is there and not in here goes, as it does with the API.
          - V(cluster_settings) are the exception. Only those in here are looked at, and one whose value is null is removed.
          - Settings may be flat or nested, and those of an index may lack their C(index.).
          - Of a user that comes with Elasticsearch, such as C(kibana_system), leave it out and give the password in O(passwords).
        type: dict
      state:
        description:
          - Whether it should be there. Cluster settings that are V(absent) have their default again.
        type: str
        choices: [present, absent]
        default: present
  passwords:
    description:
      - Password by name of the V(user). It is written when nobody can log in with it, so a run changes it once.
      - Without it the password of a user stays as it is. A new user needs one.
    type: dict
    default: {}
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
- name: Manage templates and how long the cluster keeps what it logs of itself
  netcure.soc.es_objects:
    objects:
      - kind: cluster_settings
        body:
          action.auto_create_index: "soc-*,.*"
      - kind: ilm_policy
        name: soc-audit
        body:
          policy:
            phases:
              hot:
                actions:
                  rollover: {max_age: 30d, max_primary_shard_size: 20gb}
              delete:
                min_age: 365d
                actions:
                  delete: {}
      - kind: component_template
        name: soc-audit
        body:
          template:
            settings:
              number_of_replicas: 0
              lifecycle.name: soc-audit
      - kind: index_template
        name: soc-audit
        body:
          index_patterns: [soc-audit-*]
          composed_of: [soc-audit]
          priority: 200
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_username: soc-admin
    elasticsearch_password_file: /etc/soc/elasticsearch-admin.password

- name: Snapshots every night, kept for a month
  netcure.soc.es_objects:
    objects:
      - kind: snapshot_repository
        name: soc
        body:
          type: fs
          settings: {location: /srv/soc/snapshots}
      - kind: slm_policy
        name: soc-nightly
        body:
          name: "<soc-{now/d}>"
          schedule: 0 30 1 * * ?
          repository: soc
          retention: {expire_after: 30d, min_count: 7}
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_username: soc-admin
    elasticsearch_password_file: /etc/soc/elasticsearch-admin.password

- name: A role, and a user who has it
  netcure.soc.es_objects:
    objects:
      - kind: role
        name: analyst
        body:
          cluster: [monitor]
          indices:
            - names: [soc-*]
              privileges: [read, view_index_metadata]
      - kind: user
        name: anna
        body: {roles: [analyst], full_name: Anna}
      - kind: user
        name: kibana_system
      - kind: user
        name: bert
        state: absent
    passwords:
      anna: "{{ vault_password_of_anna | default('an example') }}"
      kibana_system: "{{ vault_password_of_kibana | default('an example') }}"
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_username: soc-admin
    elasticsearch_password_file: /etc/soc/elasticsearch-admin.password
"""

RETURN = r"""
changed:
  description: Whether something was written or deleted, or would be in check mode.
  type: bool
  returned: always
objects:
  description: What was done, or would be in check mode, by object, in the order of the option.
  type: list
  elements: dict
  returned: always
  contains:
    kind:
      description: What it is.
      type: str
      returned: always
      sample: ilm_policy
    name:
      description: Its name; that of cluster settings is V(persistent).
      type: str
      returned: always
      sample: soc-audit
    action:
      description:
        - One of V(created), V(updated), V(deleted), V(unchanged), V(failed), and V(not_tried) when Elasticsearch was gone
          or did not know the user.
      type: str
      returned: always
      sample: updated
    differs:
      description: What was not as wanted of an object that was there.
      type: list
      elements: str
      returned: always
      sample: [policy.phases.delete.min_age]
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
      description: More, for machines; by object where only some of them failed.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netcure.soc.plugins.module_utils._core.module import run_module
from ansible_collections.netcure.soc.plugins.module_utils._deploy.objects import apply, argument_spec


def main():
    module = AnsibleModule(supports_check_mode=True, **argument_spec().to_kwargs())
    run_module(module, apply)


if __name__ == "__main__":
    main()
