#!/usr/bin/python

# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: es_prune
short_description: Keep the newest documents of each index, and archive the rest before it goes
version_added: 0.1.0
description:
  - Keeps exactly the newest documents of every index that a rule names, and deletes the older ones.
  - Before anything is deleted it is written to a compressed archive, which is read back from the disk and compared.
  - Each document is deleted only at the very version that was archived. What changed in between stays for the next run.
  - Check mode shows exactly what would go. The real run carries out the same plan; both print its hash.
options:
  rules:
    description:
      - Which indices keep how many documents. The first rule whose pattern matches an index counts for it.
    type: list
    elements: dict
    required: true
    suboptions:
      pattern:
        description:
          - Name of an index, or a pattern with C(*). It begins with C(soc-) and names more than that.
        type: str
        required: true
      keep:
        description:
          - How many documents stay, the newest by time; of those that share a time, the order of their ids decides.
        type: int
        default: 2000
  archive_dir:
    description:
      - Folder of the archive. Each index has its own below C(pruned).
    type: path
    default: /srv/soc/archive
  state_dir:
    description:
      - Folder of the lock that keeps two runs apart.
    type: path
    default: /var/lib/soc
  max_deletions:
    description:
      - A plan that deletes more documents than this is refused as a whole.
    type: int
    default: 100000
extends_documentation_fragment:
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
- name: See what would go
  netcure.soc.es_prune:
    rules:
      - pattern: soc-cyberalarm.alarm-*
        keep: 5000
      - pattern: soc-*.*-*
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_api_key_file: /etc/soc/retention.key
  check_mode: true
  diff: true

- name: Keep the newest 2000 documents of every collected index
  netcure.soc.es_prune:
    rules:
      - pattern: soc-*.*-*
        keep: 2000
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_api_key_file: /etc/soc/retention.key
"""

RETURN = r"""
changed:
  description: Whether documents were deleted, or would be in check mode.
  type: bool
  returned: always
plan_hash:
  description: Name of the plan, the same in check mode and in the run that carries it out.
  type: str
  returned: always
  sample: 0b9c1f9a6f1d6f0f3a0f4bb2d0b1c9aa
plan:
  description: What goes, by index.
  type: list
  elements: dict
  returned: always
  sample:
    - index: soc-cyberalarm.alarm-acme-nv
      count: 2600
      keep: 2000
      delete: 600
      oldest: "2026-08-01T00:03:12.000Z"
      newest: "2026-09-11T17:40:00.000Z"
planned:
  description: Number of documents in the plan.
  type: int
  returned: always
  sample: 600
archived:
  description: Number of documents in verified archives.
  type: int
  returned: always
  sample: 600
deleted:
  description: Number of documents deleted.
  type: int
  returned: always
  sample: 600
indices:
  description: What was done, by index, with the archive that holds the documents; empty in check mode.
  type: list
  elements: dict
  returned: always
  contains:
    archive:
      description: File that holds the deleted documents, ready for the bulk API.
      type: str
      returned: always
    sha256:
      description: Checksum of that file.
      type: str
      returned: always
    archived:
      description: Documents in that file.
      type: int
      returned: always
    deleted:
      description: Documents deleted from the index.
      type: int
      returned: always
    changed_meanwhile:
      description: Documents that changed after the plan was made, and therefore stayed.
      type: int
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
      sample: refused
    message:
      description: The sentence that is also in C(msg).
      type: str
      returned: always
    details:
      description: More, for machines; by index where only some of them failed.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netcure.soc.plugins.module_utils._core.module import run_module
from ansible_collections.netcure.soc.plugins.module_utils._retain.run import argument_spec, prune


def main():
    module = AnsibleModule(supports_check_mode=True, **argument_spec().to_kwargs())
    run_module(module, prune)


if __name__ == "__main__":
    main()
