#!/usr/bin/python
# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vocalnotify_escalate
short_description: Decide who must be telephoned about alarms, and mail VocalNotify
description:
  - Reads the alarms of levels 1 and 2 from Elasticsearch, decides who must be called, and mails VocalNotify, an
    e-mail-to-voice service, which telephones the person on duty.
  - B(Level 1.) The alarms of one company, rule and host are one incident. An analyst has O(level1_wait) to look at it,
    counted from when this module first sees the alarm. Then the alarm is looked at again. If it is marked reviewed, there
    is no call, else there is. If nobody can tell (O(recheck_failed), the alarm is gone, Elasticsearch does not answer),
    there is a call.
  - B(Level 2.) When a company has more than O(level2_threshold) alarms within O(level2_window), there is one call. The
    next one is possible after the number has fallen below half of the threshold.
  - All companies are in. The only ones left out are those in O(exclusions).
  - What was decided, and why, is kept in C(escalation/ledger.sqlite) below O(state_dir). A call is noted there before it is
    mailed, and noted as sent once the mail server accepted it. What did not go out is sent again by the next run, under the
    same C(Message-ID).
  - Refresh the alarms just before, as the playbook C(netcure.soc.escalate) does, and run this often, such as
    every minute.
version_added: 0.1.0
author:
  - Netcure (@netcure)
extends_documentation_fragment:
  - netcure.soc.common
  - netcure.soc.elasticsearch
  - netcure.soc.attributes.actiongroup_elasticsearch
  - netcure.soc.attributes
requirements:
  - PyYAML
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  body_template:
    description:
      - Text that the voice reads out. The placeholders are C({list}), C({level}), C({company}), C({title}), C({ref}) and
        C({severity}).
      - Addresses and host names are spelled (C(10 dot 0 dot 0 dot 5)). The text is cut to 600 characters, the title first.
    type: str
    default: "Security alert level {level} for {company}. {title}. Reference {ref}. Press 1 to acknowledge."
  exclusions:
    description:
      - Companies that nobody is called for, each until a time.
      - One that has ended no longer counts, and gives a warning.
    type: list
    elements: dict
    default: []
    suboptions:
      company:
        description: Id or name of the company.
        type: str
        required: true
      until:
        description: When the exclusion ends, in ISO 8601.
        type: str
        required: true
      who:
        description: Who decided it.
        type: str
        required: true
      why:
        description: Why.
        type: str
        required: true
  index_pattern:
    description:
      - Indices that hold the alarms.
    type: str
    default: "soc-cyberalarm.alarm-*"
  level1_repeat_after:
    description:
      - How long after a call further alarms of the same company, rule and host belong to it. After that, a new alarm is a
        new incident, with a call of its own.
    type: str
    default: 8h
  level1_wait:
    description:
      - How long an analyst has to look at a level 1 alarm before there is a call.
    type: str
    default: 15m
  level2_threshold:
    description:
      - Number of level 2 alarms of one company within O(level2_window) that does not yet give a call.
    type: int
    default: 20
  level2_thresholds:
    description:
      - Other thresholds for some companies, by id or name.
    type: dict
    default: {}
  level2_window:
    description:
      - Span of time in which the level 2 alarms of a company are counted.
    type: str
    default: 60m
  look_back:
    description:
      - How far back level 1 alarms are read, before this run or the last run that could read them, whichever is earlier.
      - Alarms that the vendor or the collector delivers later than this are not seen.
    type: str
    default: 3d
  mail_domain:
    description:
      - Domain of VocalNotify, which completes the names of lists in O(roster) to addresses.
    type: str
  mail_from:
    description:
      - Address that the mails come from. VocalNotify must allow it.
    type: str
    required: true
  max_calls_per_hour:
    description:
      - Number of calls within an hour from which on level 2 is held back. Level 1 never is.
    type: int
    default: 10
  recheck_failed:
    description:
      - Say V(true) when the alarms could not be refreshed at the vendor. Level 1 alarms whose wait is over, and which are
        not known to be reviewed, are called about all the same.
    type: bool
    default: false
  roster:
    description:
      - YAML file on the target that says who is called. It holds C(contacts), a list in the order of escalation. Each has a
        C(name), a C(list) (name or address of a VocalNotify list), and optionally C(from) and C(until), ISO 8601 with a
        zone.
      - The first contact on duty is called.
      - While the file is missing or wrong, or has nobody on duty, the last good copy is used, with a warning.
    type: path
    required: true
  smtp_ca_path:
    description:
      - File with the certificate of the authority that signed the mail server's own, in PEM.
      - By default the authorities that the target trusts.
    type: path
  smtp_host:
    description:
      - Name of the mail server.
    type: str
    required: true
  smtp_password:
    description:
      - Password of O(smtp_username).
    type: str
  smtp_password_file:
    description:
      - File on the target that holds the password of O(smtp_username) on one line.
    type: path
  smtp_port:
    description:
      - Port of the mail server. By default 587 for V(starttls), 465 for V(tls).
    type: int
  smtp_security:
    description:
      - How the connection is encrypted, V(starttls) after the greeting or V(tls) from the start. The certificate is always
        verified, and there is no connection without encryption.
    type: str
    choices: [starttls, tls]
    default: starttls
  smtp_timeout:
    description:
      - Seconds to wait for the mail server.
    type: int
    default: 30
  smtp_username:
    description:
      - User to log in as at the mail server.
    type: str
  state_dir:
    description:
      - Folder for the state that must survive.
    type: path
    default: /var/lib/soc
  subject_template:
    description:
      - Subject of the mails, with the placeholders of O(body_template).
    type: str
    default: "[{list}] {severity} {company} {title} #{ref}"
"""

EXAMPLES = r"""
- name: Wake someone up, but only when it matters
  netcure.soc.vocalnotify_escalate:
    elasticsearch_url: https://es.soc.example:9200
    elasticsearch_ca_path: /etc/soc/ca.pem
    elasticsearch_api_key_file: /etc/soc/escalate.key
    roster: /etc/soc/roster.yml
    mail_from: soc@soc.example
    mail_domain: call.vocalnotify.example
    smtp_host: mail.soc.example
    smtp_username: soc
    smtp_password_file: /etc/soc/smtp.password
    level1_wait: 15m
    level2_threshold: 20
    level2_thresholds:
      Acme NV: 50
    exclusions:
      - company: Beta BV
        who: An Peeters
        why: Penetration test
        until: "2026-12-04T18:00:00+01:00"

# The roster:
#
# contacts:
#   - name: An Peeters
#     list: oncall-an
#     from: 2026-11-20T18:00:00+01:00
#     until: 2026-11-27T18:00:00+01:00
#   - name: The whole team
#     list: oncall-all
"""

RETURN = r"""
calls:
  description: The calls that were to go out in this run, those left over from earlier runs included.
  returned: success or failure of a part
  type: list
  elements: dict
  contains:
    company:
      description: Name of the company.
      type: str
    contact:
      description: Name of the person on duty.
      type: str
    incident:
      description: Id of the incident.
      type: str
    level:
      description: Level of the incident.
      type: int
    message_id:
      description: C(Message-ID) of the mail, the same however often it is sent.
      type: str
    reason:
      description: Why there is a call.
      type: str
    ref:
      description: Six digits that the voice reads out.
      type: str
    state:
      description: V(sent), V(pending) until the next run, or V(planned) in check mode.
      type: str
    to:
      description: Address of the VocalNotify list.
      type: str
  sample:
    - company: Acme NV
      contact: An Peeters
      incident: 4be03e8d5d1d5c0f2b4b1f1f2fd2a0c7
      level: 1
      message_id: <4be03e8d5d1d5c0f2b4b1f1f2fd2a0c7-call-1@soc.example>
      reason: still not reviewed after 15 minutes
      ref: "012345"
      state: sent
      to: oncall-an@call.vocalnotify.example
counts:
  description: Numbers of alarms read, of open incidents by state, and of mails.
  returned: success or failure of a part
  type: dict
  sample: {alarms: 12, called: 1, excluded: 0, held: 0, pending: 0, sent: 1, waiting: 2}
decisions:
  description: What this run added to the record of decisions.
  returned: success or failure of a part
  type: list
  elements: dict
  sample:
    - incident: 4be03e8d5d1d5c0f2b4b1f1f2fd2a0c7
      kind: close
      reason: "marked reviewed in time: no call"
      time: "2026-11-20T09:29:03.000Z"
failure:
  description: What broke, when something did. The rest was done.
  returned: failure
  type: dict
  contains:
    code:
      description: Stable name of the kind of failure.
      type: str
    details:
      description: For machines. C(pending) lists the Message-IDs that the next run sends again.
      type: dict
    message:
      description: What happened and what to do about it.
      type: str
plan:
  description: Every decision of this run with its reason, those to go on waiting included.
  returned: success or failure of a part
  type: list
  elements: dict
  contains:
    action:
      description:
        - V(open), V(attach) (more alarms of the same kind), V(wait), V(close), V(exclude), V(call), V(hold) (a call that
          cannot be made now), V(rearm) or V(readdress) (a call that did not go out, to who is on duty now).
      type: str
    alarms:
      description: Number of alarms that this decision added to the incident.
      type: int
    company:
      description: Name of the company.
      type: str
    incident:
      description: Id of the incident.
      type: str
    level:
      description: Level of the incident.
      type: int
    reason:
      description: Why.
      type: str
    ref:
      description: Six digits that the voice reads out.
      type: str
    state:
      description: State of the incident after it, V(waiting), V(held), V(called), V(excluded) or V(closed).
      type: str
    title:
      description: What it is about.
      type: str
    to:
      description: Address of the VocalNotify list, for a call.
      type: str
    until:
      description: When the alarm is looked at again.
      type: str
waiting:
  description: Incidents that are looked at again, or called about, by a later run.
  returned: success or failure of a part
  type: list
  elements: dict
  sample:
    - company: Acme NV
      incident: 4be03e8d5d1d5c0f2b4b1f1f2fd2a0c7
      level: 1
      reason: "level 1, not reviewed: an analyst has 15 minutes to look at it"
      ref: "012345"
      state: waiting
      title: ET TROJAN Cobalt Strike beacon
      until: "2026-11-20T09:29:03.000Z"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netcure.soc.plugins.module_utils._core.module import run_module
from ansible_collections.netcure.soc.plugins.module_utils._escalate.run import argument_spec, escalate


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, **argument_spec().to_kwargs())
    run_module(module, escalate)


if __name__ == "__main__":
    main()
