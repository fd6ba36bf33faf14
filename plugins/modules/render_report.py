#!/usr/bin/python
# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: render_report
short_description: Make a vulnerability report from two CSV exports
version_added: 0.1.0
author:
  - Netcure (@netcure)
description:
  - Reads an export of scan results and a mapping of scan objects to scanner platforms, and makes of them one HTML file that
    can be filtered, searched and sorted, and a PDF that mirrors it.
  - The HTML file needs nothing else. It asks for nothing from any network, and works without JavaScript too.
  - A finding is a title with its solution, however many assets have it. Findings, affected assets and occurrences are
    counted apart. Scan objects that the mapping does not hold are shown under a platform of their own, never dropped.
  - The same input gives the same bytes, so that a second run changes nothing and check mode tells the truth.
extends_documentation_fragment:
  - netcure.soc.common
  - netcure.soc.attributes
attributes:
  check_mode:
    support: full
    details:
      - Renders and compares, but does not write.
  diff_mode:
    support: full
    details:
      - Shows sizes, checksums and counts, not the files themselves.
  idempotent:
    support: full
    details:
      - As long as O(scan_date) is given, or the day is the same.
requirements:
  - Python 3.11 or newer on the target
  - Jinja2 3.1 or newer
  - WeasyPrint 70 or newer, with Pango 1.44 or newer, for PDF
options:
  findings_csv:
    description:
      - File on the target with one row for each observation of a finding.
      - 'It needs the columns V(scan_object), V(issue_title) and V(risk), and may have V(company), V(cvss), V(cve), V(port),
        V(protocol), V(scanner), V(description), V(solution), V(technical_data), V(first_seen), V(last_seen) and
        V(status). Headers are compared without case, spaces and punctuation, and usual names for these in English, Dutch
        and French are known, such as C(Host), C(Name), C(Severity), C(Remediation) or C(Bedrijf).'
      - The delimiter may be a semicolon, a comma, a tab or a vertical bar; the encoding UTF-8, UTF-16 or Windows-1252.
      - A risk is a word in English, Dutch or French, a whole number from 0 for information to 4 for critical, or a CVSS
        score such as V(7.5).
      - A file with a header alone is a scan that found nothing. Anything that cannot be understood is an error that names
        the line; nothing is skipped.
    type: path
    required: true
  mapping_csv:
    description:
      - File on the target with the scanner platform of each scan object.
      - It needs the columns V(scan_object) and V(scanner_platform), and may have V(probe) and V(company).
      - Scan objects are compared without scheme, final slash and case; the port is compared when both sides have one.
      - When O(findings_csv) holds several companies and this file has no V(company), platforms on which the company has no
        findings are left out, since they may be another's.
    type: path
    required: true
  output_dir:
    description:
      - Folder on the target in which the report is written. It is made when it does not exist.
      - Files get mode C(0640) and are replaced in one step.
    type: path
    required: true
  name:
    description:
      - Name of the files, without extension.
      - By default C(vulnerability-report-) and the company's name in lower case.
    type: str
  company:
    description:
      - Report on this company's rows only.
      - Needed when O(findings_csv) names more than one company. When it names none, this is the name in the report.
    type: str
  title:
    description: What the report is called.
    type: str
    default: Vulnerability report
  classification:
    description: Who may see the report, shown on the cover and on every page.
    type: str
    default: Confidential
  scan_date:
    description:
      - Day of the scan, such as V(2026-11-20).
      - By default today, in UTC.
    type: str
  formats:
    description: What to make.
    type: list
    elements: str
    choices: [html, pdf]
    default: [html, pdf]
  branding:
    description: Whose report it is, and in which colours.
    type: dict
    suboptions:
      name:
        description: Name above the title.
        type: str
        default: Netcure
      primary:
        description:
          - Colour of the cover and of headings, as V(#rrggbb).
          - Where text in this colour could not be read on white, headings keep the default.
        type: str
        default: '#0f2a43'
      accent:
        description: Colour of the strip on the cover, as V(#rrggbb).
        type: str
        default: '#e08a00'
  columns:
    description: Which header stands for which column, where the known names do not fit or fit twice.
    type: dict
    suboptions:
      findings:
        description: Header texts of O(findings_csv). The one that is named must be there.
        type: dict
        suboptions:
          company:
            description: The customer.
            type: str
          cve:
            description: CVE numbers, separated by commas, semicolons or blanks.
            type: str
          cvss:
            description: CVSS score, 0 to 10.
            type: str
          description:
            description: What the problem is.
            type: str
          first_seen:
            description: When it was first seen.
            type: str
          issue_title:
            description: Name of the finding.
            type: str
          last_seen:
            description: When it was last seen.
            type: str
          port:
            description: Port number.
            type: str
          protocol:
            description: Protocol, such as C(tcp).
            type: str
          risk:
            description: Severity.
            type: str
          scan_object:
            description: What was scanned.
            type: str
          scanner:
            description: Which scanner saw it.
            type: str
          solution:
            description: What to do about it.
            type: str
          status:
            description: State of the observation, such as C(new).
            type: str
          technical_data:
            description: Output of the scanner.
            type: str
      mapping:
        description: Header texts of O(mapping_csv). The one that is named must be there.
        type: dict
        suboptions:
          company:
            description: The customer.
            type: str
          probe:
            description: The probe that scans.
            type: str
          scan_object:
            description: What is scanned.
            type: str
          scanner_platform:
            description: The platform that it belongs to.
            type: str
  limits:
    description: Where reading stops with an error, and how much goes onto paper. The HTML file always holds everything.
    type: dict
    suboptions:
      max_bytes:
        description: Size of an input file.
        type: int
        default: 268435456
      max_rows:
        description: Rows of an input file.
        type: int
        default: 200000
      max_field_chars:
        description: Characters of one field.
        type: int
        default: 8388608
      pdf_field_chars:
        description: Characters of one field in the PDF. What is cut off is said.
        type: int
        default: 4000
      pdf_rows:
        description: Occurrences of one finding in the PDF. What is left out is said.
        type: int
        default: 200
      pdf_seconds:
        description: Time after which making the PDF is given up, with nothing written. V(0) waits for ever.
        type: int
        default: 900
  templates_dir:
    description:
      - Folder or zip file on the target with the templates.
      - By default those of the collection, which are brought to the target for the task.
      - Templates decide what a report says; take them from nobody whom you would not let write reports.
    type: path
"""

EXAMPLES = r"""
- name: Report on the only company in the export
  netcure.soc.render_report:
    findings_csv: /srv/soc/exports/findings.csv
    mapping_csv: /srv/soc/exports/platforms.csv
    output_dir: /srv/soc/reports/2026-11
    scan_date: "2026-11-20"

- name: HTML only, for one of several companies, in another house's colours
  netcure.soc.render_report:
    findings_csv: /srv/soc/exports/findings.csv
    mapping_csv: /srv/soc/exports/platforms.csv
    output_dir: /srv/soc/reports/2026-11
    company: Acme NV
    name: acme-november
    scan_date: "2026-11-20"
    formats: [html]
    branding:
      name: Example Security
      primary: "#1b3a2f"
      accent: "#c9a227"

- name: An export with headers of its own
  netcure.soc.render_report:
    findings_csv: /srv/soc/exports/nessus.csv
    mapping_csv: /srv/soc/exports/platforms.csv
    output_dir: /srv/soc/reports/2026-11
    company: Acme NV
    scan_date: "2026-11-20"
    columns:
      findings:
        technical_data: Plugin Output
  register: report

- name: Say what is in it
  ansible.builtin.debug:
    msg: "{{ report.counts.critical }} critical findings; not mapped: {{ report.unmapped | join(', ') }}"
"""

RETURN = r"""
reports:
  description: The files of the report, whether they changed or not.
  returned: success
  type: list
  elements: dict
  contains:
    format:
      description: V(html) or V(pdf).
      type: str
      returned: always
    path:
      description: Where the file is.
      type: str
      returned: always
    bytes:
      description: Its size.
      type: int
      returned: always
    sha256:
      description: Its checksum.
      type: str
      returned: always
  sample:
    - format: html
      path: /srv/soc/reports/2026-11/vulnerability-report-acme-nv.html
      bytes: 341204
      sha256: 0bd35313b99eb612b4423c534cb616e21368b163312312a257bc477deb4a5402
counts:
  description: The three numbers that the report names, and the findings by severity.
  returned: success
  type: dict
  contains:
    findings:
      description: Unique findings, a title with its solution.
      type: int
      returned: always
    assets:
      description: Affected assets, scan objects without scheme, port and case.
      type: int
      returned: always
    occurrences:
      description: Different rows of the export.
      type: int
      returned: always
    critical:
      description: Unique findings that are critical.
      type: int
      returned: always
    high:
      description: Unique findings that are high.
      type: int
      returned: always
    medium:
      description: Unique findings that are medium.
      type: int
      returned: always
    low:
      description: Unique findings that are low.
      type: int
      returned: always
    info:
      description: Unique findings that only inform.
      type: int
      returned: always
  sample: {findings: 60, assets: 272, occurrences: 720, critical: 3, high: 7, medium: 24, low: 14, info: 12}
company:
  description: The company that the report is on; empty when none was named.
  returned: success
  type: str
  sample: Acme NV
unmapped:
  description: Scan objects with findings that the mapping does not hold.
  returned: success
  type: list
  elements: str
  sample: [10.5.153.135]
pages:
  description: Pages of the PDF; null when none was made.
  returned: success
  type: int
  sample: 62
timings:
  description: Seconds that were spent on reading, and on each format.
  returned: success
  type: dict
  sample: {read: 0.1, html: 0.2, pdf: 11.4}
failure:
  description: What went wrong, for playbooks to branch on.
  returned: failure
  type: dict
  sample: {code: input_invalid, message: "findings.csv:7: risk 'urgent' is not known. …", details: {line: 7}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netcure.soc.plugins.module_utils._core.module import run_module
from ansible_collections.netcure.soc.plugins.module_utils._report.run import argument_spec, render_report


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, **argument_spec().to_kwargs())
    run_module(module, render_report)


if __name__ == "__main__":
    main()
