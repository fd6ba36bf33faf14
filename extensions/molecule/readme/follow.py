# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow "Deploy it" of the README on a terminal: follow.py single|cluster [HOST]

The commands are those of the README, letter for letter, in a clone and a home of their own: here, or on a host of the
scenario, whose Python and ansible-core are others. What a person does between them is done here: a machine's name, the
secrets, and where Elasticsearch comes from when Elastic cannot be reached.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pexpect

ROOT = Path(__file__).resolve().parents[3]
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
SECRETS = "elasticsearch_password: secret-of-admin\\ncertificates_ca_passphrase: secret-of-authority\\n"
MINUTE = 60


def typed(inventory: str) -> str:
    """Return the commands as one script, with what a person does before the secrets."""
    section = re.search(r"^## Deploy it\n(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
    get, run = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    if inventory == "cluster":
        get = get.replace("inventory/single", "inventory/cluster")
    between = (
        "ansible --version\n"
        "sed -i s/soc.example.net/mine.example.org/ my-soc/hosts.yml\n"
        "cp extensions/molecule/readme/elsewhere.yml my-soc/group_vars/all/\n"
    )
    return get + between + run


def equip(folder: Path, there: str) -> None:
    """Put into a folder, which will be at C(there), what somebody has who begins: a clone, an editor, and a key to the machines."""
    for name in ("clone", "home", "keys"):
        (folder / name).mkdir()
    files = subprocess.run(["git", "ls-files", "-z", "--cached"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["xargs", "-0", "cp", "--parents", "-t", folder / "clone"], cwd=ROOT, input=files, check=True)
    editor = folder / "editor"
    editor.write_text(f"#!/bin/sh\nprintf '{SECRETS}' >\"$1\"\n")
    editor.chmod(0o755)
    for name in ("ssh_config", "ssh_key"):
        file = folder / "keys" / name
        file.touch(mode=0o600)
        file.write_text((EPHEMERAL / name).read_text().replace(str(EPHEMERAL), f"{there}/keys"))


def main() -> int:
    """Return how the commands ended."""
    inventory, *hosts = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        there = "/home/admin/begins" if hosts else scratch
        equip(Path(scratch), there)
        environment = {
            "HOME": f"{there}/home",
            "EDITOR": f"{there}/editor",
            "ANSIBLE_SSH_ARGS": f"-F {there}/keys/ssh_config -o ControlMaster=auto -o ControlPersist=60s",
        }
        if hosts:
            environment |= {"PIP_CERT": "/usr/local/share/molecule/ca.crt", "LC_ALL": "C.UTF-8"}
        else:
            path = os.environ["PATH"].split(os.pathsep)
            environment["PATH"] = os.pathsep.join(part for part in path if not part.startswith(str(ROOT)))
        command = ["env", "-C", f"{there}/clone", *(f"{name}={value}" for name, value in environment.items())]
        command += ["bash", "-exc", typed(inventory)]
        if hosts:
            reach = ["-F", str(EPHEMERAL / "ssh_config"), *hosts]
            packed = subprocess.run(["tar", "-C", scratch, "-c", "."], stdout=subprocess.PIPE, check=True).stdout
            subprocess.run(["ssh", *reach, f"mkdir {there} && tar -C {there} -x"], input=packed, check=True)
            command = ["ssh", "-tt", *reach, shlex.join(command)]
        else:
            # Nothing of the environment that runs the tests.
            unset = [name for name in os.environ if re.match("ANSIBLE|MOLECULE|PYTHON|VIRTUAL_ENV", name)]
            command = ["env", *(f"--unset={name}" for name in unset), *command]
        terminal = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=20 * MINUTE, dimensions=(50, 160))
        terminal.logfile_read = sys.stdout
        while terminal.expect(["[Vv]ault password.*: ", pexpect.EOF]) == 0:
            terminal.sendline("secret-of-vault")
        terminal.close()
        return terminal.exitstatus or terminal.signalstatus or 0


sys.exit(main())
