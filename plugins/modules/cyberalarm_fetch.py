#!/usr/bin/python

# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cyberalarm_fetch
short_description: Collect alarms and probes from CyberAlarm
version_added: 0.1.0
description:
  - Reads the API of CyberAlarm and writes what is new to Elasticsearch, one index a set and company.
  - Only alarms of levels 1 to 3, and only companies whose subscription is on, are collected.
  - Every page is written to a journal on disk before anything else happens, and the journal is what goes to Elasticsearch.
    After a crash at any point, followed by a run that completes, nothing is lost and nothing is there twice.
  - In check mode the vendor is asked, nothing is written, and the answer says what a real run would collect.
options:
  base_url:
    description:
      - Address of the API. There is no public one, so it has no default.
    type: str
    required: true
  sets:
    description:
      - Data sets to collect.
    type: list
    elements: str
    choices: [logs, probes]
    default: [logs, probes]
extends_documentation_fragment:
  - netcure.soc.fetch
  - netcure.soc.vendor
  - netcure.soc.elasticsearch
  - netcure.soc.common
  - netcure.soc.attributes.actiongroup_elasticsearch
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
- name: Collect new alarms and the state of the probes
  netcure.soc.cyberalarm_fetch:
    base_url: https://cyberalarm.example
    token_file: /etc/soc/cyberalarm.token
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_api_key_file: /etc/soc/collector.key

- name: See what a run would collect
  netcure.soc.cyberalarm_fetch:
    base_url: https://cyberalarm.example
    sets: [logs]
    token_file: /etc/soc/cyberalarm.token
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_api_key_file: /etc/soc/collector.key
  check_mode: true
  diff: true
"""

RETURN = r"""
changed:
  description: Whether anything new was journaled or indexed.
  type: bool
  returned: always
sets:
  description: What each data set brought, by name.
  type: dict
  returned: always
  contains:
    fetched:
      description: Records that the vendor sent.
      type: int
      returned: always
    new:
      description: Documents that were never seen before.
      type: int
      returned: always
    changed:
      description: Documents whose content changed since they were last collected.
      type: int
      returned: always
    known:
      description: Records that were collected before and are unchanged.
      type: int
      returned: always
    skipped:
      description: Records that are not to be collected, of other levels or of companies without a subscription.
      type: int
      returned: always
    malformed:
      description: Records without an id, a company or a usable time, and events whose id another event has.
      type: int
      returned: always
    vanished:
      description: Documents of a snapshot that are no longer there; they were marked, not deleted.
      type: int
      returned: always
    dead_letters:
      description: Records, and values that do not fit their field, that were kept as dead letters for the first time.
      type: int
      returned: always
    cursor_before:
      description: Time of the newest record that earlier runs had seen.
      type: str
      returned: always
    cursor_after:
      description: Time of the newest record that was seen by now.
      type: str
      returned: always
    backfilled_to:
      description: How far a backfill came that is not done, else nothing.
      type: str
      returned: always
  sample:
    logs:
      fetched: 14
      new: 3
      changed: 1
      known: 10
      skipped: 0
      malformed: 0
      vanished: 0
      dead_letters: 0
      cursor_before: "2026-11-20T09:10:00.000Z"
      cursor_after: "2026-11-20T09:14:02.000Z"
      backfilled_to: null
collected:
  description: Documents that went to the journal.
  type: int
  returned: always
  sample: 4
indexed:
  description: Documents that Elasticsearch took in this run, leftovers of earlier runs included.
  type: int
  returned: always
  sample: 4
already_indexed:
  description: Documents that Elasticsearch had already, at this version or a newer one.
  type: int
  returned: always
  sample: 0
waiting:
  description: Documents that are safe in the journal and not yet in Elasticsearch.
  type: int
  returned: always
  sample: 0
dead_letters:
  description: Records and values that could not be used, new in this run.
  type: int
  returned: always
  sample: 0
sealed:
  description: Segments of the journal that were sealed into the archive.
  type: int
  returned: always
  sample: 0
silent:
  description: Sets from which nothing came for longer than chance explains, each with a sentence.
  type: dict
  returned: always
  sample: {}
reconciled:
  description: Sets that were counted in this run, each with C(gap), what was missing, and C(dup), what was there too often.
  type: dict
  returned: always
  sample:
    logs: {gap: 0, dup: 0}
assumed:
  description: Data sets whose profile rests on an assumption about the vendor's API.
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
      sample: auth_failed
    message:
      description: The sentence that is also in C(msg).
      type: str
      returned: always
    details:
      description: More, for machines; by data set where only some of them failed.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles.cyberalarm import PROFILE
from ansible_collections.netcure.soc.plugins.module_utils._collect.run import argument_spec, fetch
from ansible_collections.netcure.soc.plugins.module_utils._core.module import run_module


def main():
    module = AnsibleModule(supports_check_mode=True, **argument_spec(PROFILE).to_kwargs())
    run_module(module, lambda run: fetch(run, PROFILE))


if __name__ == "__main__":
    main()
