#!/usr/bin/python

# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: soc_doctor
short_description: Say what is wrong with a source before a run does
version_added: 0.1.0
description:
  - Asks every data set of a source for one small page, and holds the answers against the source profile.
  - Says of each assumption about a closed API whether it is confirmed, refuted, or unknown because there is nothing to see.
  - Looks at credentials, clocks, certificates, Elasticsearch, the journal, free space, and who may read the secrets.
  - Changes nothing, in check mode or not. It may run beside a fetch module.
  - Fails when anything that it looked at cannot work, so that a playbook stops there.
options:
  source:
    description:
      - Which source to look at.
    type: str
    required: true
    choices: [cyberalarm, guardian360, watchguard]
  base_url:
    description:
      - Address of the API. By default that of the source profile, where there is a public one.
    type: str
  api_version:
    description:
      - Version of the vendor's API, for sources that have several.
    type: str
    choices: [v1, v2]
    default: v1
  accounts:
    description:
      - The accounts to ask about, for sources that have no list of companies; account id to C(id) and C(name).
    type: dict
    default: {}
  syslog_files:
    description:
      - Files to look at, for data sets that are read from files. Patterns may be used.
    type: list
    elements: path
    default: [/var/log/firebox/*.log]
  sets:
    description:
      - Data sets to look at; all of them when the list is empty.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - netcure.soc.vendor
  - netcure.soc.elasticsearch
  - netcure.soc.common
  - netcure.soc.attributes.actiongroup_elasticsearch
  - netcure.soc.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
author:
  - Netcure (@netcure)
"""

EXAMPLES = r"""
- name: Look at Guardian360 from all sides
  netcure.soc.soc_doctor:
    source: guardian360
    token_file: /etc/soc/guardian360.token
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_api_key_file: /etc/soc/collector.key
  register: looked

- name: Show what it found
  ansible.builtin.debug:
    var: looked.table

- name: Look at the alarms alone, and go on whatever comes of it
  netcure.soc.soc_doctor:
    source: cyberalarm
    base_url: https://cyberalarm.example
    sets: [logs]
    token_file: /etc/soc/cyberalarm.token
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_api_key_file: /etc/soc/collector.key
  failed_when: false
"""

RETURN = r"""
changed:
  description: Always false.
  type: bool
  returned: always
msg:
  description: The findings as text for people; when something cannot work, the sentences about that alone.
  type: str
  returned: always
table:
  description: The findings as lines of at most 100 columns.
  type: list
  elements: str
  returned: always
findings:
  description: Everything that was looked at.
  type: list
  elements: dict
  returned: always
  contains:
    check:
      description: What was looked at.
      type: str
      returned: always
      sample: order
    what:
      description: The data set or part that it is about.
      type: str
      returned: always
      sample: hacker_alerts
    verdict:
      description: V(ok), V(warn), V(fail), or V(unknown) where there was nothing to see.
      type: str
      returned: always
      sample: ok
    sentence:
      description: What was found, and what to do about it.
      type: str
      returned: always
      sample: The records come newest first.
assumptions:
  description: For each data set whose profile rests on assumptions, each of them as confirmed, refuted or unknown.
  type: dict
  returned: always
  sample:
    hacker_alerts:
      answer: confirmed
      id: confirmed
      order: refuted
coverage:
  description: For each data set, how many per cent of the sample have a value for each mapped field.
  type: dict
  returned: always
  sample:
    probes:
      host.ip: 92
      host.name: 100
failure:
  description: What cannot work, for playbooks to branch on.
  type: dict
  returned: failure
  contains:
    code:
      description: Stable name of the kind of failure; V(unhealthy) when the looking itself went well.
      type: str
      returned: always
      sample: unhealthy
    message:
      description: The sentences that are also in C(msg).
      type: str
      returned: always
    details:
      description: More, for machines.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netcure.soc.plugins.module_utils._collect.doctor import argument_spec, examine
from ansible_collections.netcure.soc.plugins.module_utils._core.module import run_module


def main():
    module = AnsibleModule(supports_check_mode=True, **argument_spec().to_kwargs())
    run_module(module, examine)


if __name__ == "__main__":
    main()
