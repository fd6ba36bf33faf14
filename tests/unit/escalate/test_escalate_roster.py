# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roster file: what is taken, and what is refused with the place and the reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import InputError
from ansible_collections.netcure.soc.plugins.module_utils._escalate import roster

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

GOOD = """
contacts:
  - name: An Peeters
    list: oncall-an
    from: 2026-11-20T18:00:00+01:00
    until: "2026-11-27T18:00:00+01:00"
  - name: The team
    list: team@voice.example
"""

BAD = {
    "": "one key, contacts",
    "- name: An": "one key, contacts",
    "contacts: []": "at least one contact",
    "contacts: {}": "at least one contact",
    "contacts: [An]": r"contacts\[0\] must have a name and a list",
    "contacts: [{name: An, list: an}]\nextra: 1": "nothing else",
    "contacts: [{name: An}]": r"contacts\[0\]\.list must be text",
    "contacts: [{name: An, list: an}, {name: '', list: b}]": r"contacts\[1\]\.name must be text",
    "contacts: [{name: An, list: 5}]": r"contacts\[0\]\.list must be text",
    "contacts: [{name: An, list: an, phone: 1}]": r"contacts\[0\] has the unknown key phone",
    "contacts: [{name: An, list: 'a b'}]": "not the name of a list",
    'contacts: [{name: An, list: "an\\nBcc: x"}]': "not the name of a list",
    'contacts: [{name: An, list: "an@x.example\\nBcc: x"}]': "not an e-mail address",
    "contacts: [{name: An, list: 'an@x, bo@x'}]": "not an e-mail address",
    "contacts: [{name: An, list: an, from: 2026-11-20T18:00:00}]": r"contacts\[0\]\.from must be a time with a zone",
    "contacts: [{name: An, list: an, until: 2026-11-20}]": r"contacts\[0\]\.until must be a time with a zone",
    "contacts: [{name: An, list: an, until: soon}]": "not 'soon'",
    "contacts: [{name: An, list: an, from: 2026-11-21T00:00:00Z, until: 2026-11-20T00:00:00Z}]": "not after its from",
    "contacts: [{name: An, list: an, until: 2026-11-20T12:00:00Z}]": "nobody on duty at 2026-11-20T12:00",
    "contacts: [": "not YAML",
    "contacts: !!python/object/apply:os.system ['true']": "not YAML",
}


def read(folder: Path, text: str, domain: str | None = "call.example") -> roster.Roster:
    path = folder / "roster.yml"
    path.write_text(text)
    return roster.read(str(path), domain, NOON)


def test_a_good_file(tmp_path: Path) -> None:
    people = read(tmp_path, GOOD)
    assert [contact.address for contact in people.contacts] == ["oncall-an@call.example", "team@voice.example"]
    assert people.contacts[0].start == datetime(2026, 11, 20, 17, tzinfo=UTC)
    assert people.contacts[0].end == datetime(2026, 11, 27, 17, tzinfo=UTC)
    assert people.on_duty(NOON).name == "The team"
    assert people.on_duty(NOON.replace(hour=17)).name == "An Peeters"
    assert roster.load(roster.dump(people)) == people


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=BAD[text]):
        read(tmp_path, text)


def test_a_name_of_a_list_needs_a_domain(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mail_domain is not set"):
        read(tmp_path, GOOD, None)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read: No such file"):
        roster.read(str(tmp_path / "none"), None, NOON)
    with pytest.raises(InputError, match="cannot be read"):
        roster.read(str(tmp_path), None, NOON)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        roster.read(str(tmp_path / "binary"), None, NOON)
