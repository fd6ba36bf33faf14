# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the pip that ansible-test wants into its cache.

ansible-test downloads a bootstrap script from a server of its own. Many networks do not let it through, while they do
offer the package registry: this makes the same script from there.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from ansible_test._internal.python_requirements import get_venv_packages

SCRIPT = """\
import os
import sys

folder = os.path.dirname(os.environ["GET_PIP"])
sys.path.insert(0, os.path.join(folder, "pip-{version}-py3-none-any.whl"))
from pip._internal.cli.main import main

arguments = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
sys.exit(main(["install", "--no-index", "--find-links", folder, *arguments]))
"""


def main() -> None:
    version = get_venv_packages(SimpleNamespace(version=".".join(platform.python_version_tuple()[:2])))["pip"]
    cache = Path.home() / ".ansible/test/cache"
    script = cache / f"get_pip_{version.replace('.', '_')}.py"
    if script.exists():
        return
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), f"pip=={version}"]
    subprocess.run(command, check=True)
    script.write_text(SCRIPT.format(version=version))


if __name__ == "__main__":
    main()
