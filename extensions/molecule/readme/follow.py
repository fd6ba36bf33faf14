# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow "Deploy it" of the README on a terminal: follow.py single|cluster

The commands are those of the README, letter for letter, in a clone and a home of their own. What a person does between them
is done here: a machine's name, the secrets, and where Elasticsearch comes from when Elastic cannot be reached.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pexpect

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SECRETS = "elasticsearch_password: secret-of-admin\\ncertificates_ca_passphrase: secret-of-authority\\n"
MINUTE = 60


def typed(inventory: str) -> str:
    """Return the commands as one script, with what a person does before the secrets."""
    section = re.search(r"^## Deploy it\n(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
    get, run = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    if inventory == "cluster":
        get = get.replace("inventory/single", "inventory/cluster")
    between = (
        f"sed -i s/soc.example.net/mine.example.org/ my-soc/hosts.yml\ncp {HERE}/elsewhere.yml my-soc/group_vars/all/\n"
    )
    return get + between + run


def main() -> int:
    """Return how the commands ended."""
    inventory = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        home, clone = Path(scratch, "home"), Path(scratch, "clone")
        home.mkdir()
        files = subprocess.run(
            ["git", "ls-files", "-z", "--cached"], cwd=ROOT, stdout=subprocess.PIPE, check=True
        ).stdout
        clone.mkdir()
        subprocess.run(["xargs", "-0", "cp", "--parents", "-t", clone], cwd=ROOT, input=files, check=True)
        editor = Path(scratch, "editor")
        editor.write_text(f"#!/bin/sh\nprintf '{SECRETS}' >\"$1\"\n")
        editor.chmod(0o755)
        # Nothing of the environment that runs the tests.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not re.match("ANSIBLE|MOLECULE|PYTHON|VIRTUAL_ENV|PATH$", name)
        }
        environment = kept | {
            "HOME": str(home),
            "PATH": os.pathsep.join(
                part for part in os.environ["PATH"].split(os.pathsep) if not part.startswith(str(ROOT))
            ),
            "EDITOR": str(editor),
            "ANSIBLE_SSH_ARGS": f"-F {os.environ['MOLECULE_EPHEMERAL_DIRECTORY']}/ssh_config -o ControlMaster=auto -o ControlPersist=60s",
        }
        terminal = pexpect.spawn(
            "bash",
            ["-exc", typed(inventory)],
            cwd=clone,
            env=environment,
            encoding="utf-8",
            timeout=20 * MINUTE,
            dimensions=(50, 160),
        )
        terminal.logfile_read = sys.stdout
        while terminal.expect(["[Vv]ault password.*: ", pexpect.EOF]) == 0:
            terminal.sendline("secret-of-vault")
        terminal.close()
        return terminal.exitstatus or terminal.signalstatus or 0


sys.exit(main())
