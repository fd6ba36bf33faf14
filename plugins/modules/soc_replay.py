#!/usr/bin/python

# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: soc_replay
short_description: Load what was collected into Elasticsearch again
version_added: 0.1.0
description:
  - Sends any span of what the fetch modules ever collected from a source to Elasticsearch, from the sealed segments in the
    archive and from those that the journal has not sealed yet.
  - What is there already is skipped, and an older version of a document never replaces a newer one. Running it again is
    therefore harmless, and is also how a run that died goes on.
  - The checksum of a sealed segment is compared before anything of it is sent. A damaged one is named, the others are loaded,
    and the run fails at the end.
  - Check mode reads everything, writes nothing, and says what Elasticsearch lacks, so that it also answers whether
    Elasticsearch still holds all that was collected. For that the key needs C(read); without it a warning says that the figures
    are those of the plan.
options:
  source:
    description:
      - Name of the source, such as C(cyberalarm).
    type: str
    required: true
  since:
    description:
      - Only documents of this time or later, in ISO 8601. By default from the first.
    type: str
  until:
    description:
      - Only documents before this time, in ISO 8601. By default up to the last.
    type: str
  indices:
    description:
      - Only documents of indices with these names, in which C(*) stands for anything. By default all of them.
      - Each begins with C(soc-).
    type: list
    elements: str
    default: []
  workers:
    description:
      - How many calls to Elasticsearch are made at once, from 1 to 8. Each takes some 20 MB of memory.
    type: int
    default: 2
  archive_dir:
    description:
      - Folder of the archive. The sealed segments of each source are below C(collected).
    type: path
    default: /srv/soc/archive
  state_dir:
    description:
      - Folder of the journals. It may lack the source, on a host that has the archive and nothing else.
      - It also has the lock that keeps two runs apart.
    type: path
    default: /var/lib/soc
  log_dir:
    description:
      - Folder of C(replay.progress.log), to which a run appends a line every few seconds. Follow it with C(tail -f).
    type: path
    default: /var/log/soc
notes:
  - What M(netcure.soc.es_prune) deleted comes back too, and goes again with its next run.
  - Elasticsearch remembers for a minute (C(index.gc_deletes)) that a document was deleted, and until then takes it for already
    there when it has a version. Load a minute later, or again.
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
- name: Say what Elasticsearch lacks of November
  netcure.soc.soc_replay:
    source: cyberalarm
    since: "2026-11-01T00:00:00Z"
    until: "2026-12-01T00:00:00Z"
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_api_key_file: /etc/soc/retention.key
  check_mode: true
  diff: true

- name: Fill a new Elasticsearch with everything that was ever collected
  netcure.soc.soc_replay:
    source: "{{ item }}"
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_api_key_file: /etc/soc/collector.key
  loop:
    - guardian360
    - cyberalarm

- name: Bring the alarms of one company back
  netcure.soc.soc_replay:
    source: cyberalarm
    indices:
      - soc-cyberalarm.alarm-acme-nv
    elasticsearch_url: https://soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.crt
    elasticsearch_api_key_file: /etc/soc/collector.key
"""

RETURN = r"""
changed:
  description: Whether Elasticsearch took anything, or would in check mode.
  type: bool
  returned: always
segments:
  description: The segments that hold anything that was asked for, in order.
  type: list
  elements: dict
  returned: always
  contains:
    segment:
      description: Number of the segment.
      type: int
      returned: always
    path:
      description: File that it is read from.
      type: str
      returned: always
    sealed:
      description: Whether that is in the archive; if not it is the journal's own.
      type: bool
      returned: always
    whole:
      description: Whether all of it is sent, or only what was asked for.
      type: bool
      returned: always
    documents:
      description: Documents to be sent, at most. Each version of a document counts.
      type: int
      returned: always
    oldest:
      description: Time of the oldest document in it.
      type: str
      returned: always
    newest:
      description: Time of the newest document in it.
      type: str
      returned: always
    sent:
      description: Documents that were sent.
      type: int
      returned: always
    indexed:
      description: Documents that Elasticsearch took.
      type: int
      returned: always
    already:
      description: Documents that Elasticsearch had already, at this version or a newer one.
      type: int
      returned: always
    refused:
      description: Documents that Elasticsearch can never take.
      type: int
      returned: always
  sample:
    - segment: 1
      path: /srv/soc/archive/collected/cyberalarm/00000001.ndjson.gz
      sealed: true
      whole: true
      documents: 80499
      oldest: "2026-11-01T00:03:12.000Z"
      newest: "2026-11-20T09:14:02.000Z"
      sent: 80499
      indexed: 600
      already: 79899
      refused: 0
documents:
  description: Documents that were sent, or would be in check mode. Each version of a document counts.
  type: int
  returned: always
  sample: 80499
indexed:
  description: Documents that Elasticsearch took, or would in check mode.
  type: int
  returned: always
  sample: 600
already_indexed:
  description: Documents that Elasticsearch had already, at this version or a newer one.
  type: int
  returned: always
  sample: 79899
refused:
  description: Documents that Elasticsearch can never take, and lines that no journal writes.
  type: int
  returned: always
  sample: 0
refusals:
  description: Why, with the number of documents and one example of each reason.
  type: list
  elements: dict
  returned: always
  contains:
    reason:
      description: Kind of the refusal.
      type: str
      returned: always
    count:
      description: Number of documents.
      type: int
      returned: always
    example:
      description: The first of them, and what Elasticsearch said.
      type: str
      returned: always
  sample: []
failure:
  description: What went wrong, for playbooks to branch on.
  type: dict
  returned: failure
  contains:
    code:
      description: Stable name of the kind of failure.
      type: str
      returned: always
      sample: archive_unverified
    message:
      description: The sentence that is also in C(msg).
      type: str
      returned: always
    details:
      description: More, for machines; by segment, or C(elasticsearch) when it took nothing any more.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netcure.soc.plugins.module_utils._collect.replay import argument_spec, replay
from ansible_collections.netcure.soc.plugins.module_utils._core.module import run_module


def main():
    module = AnsibleModule(supports_check_mode=True, **argument_spec().to_kwargs())
    run_module(module, replay)


if __name__ == "__main__":
    main()
