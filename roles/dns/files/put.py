# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts files and links back as they were, and says which were not.

The first argument is JSON: for each path of C(put) a link, a file, or null for neither; with C(check) it only says.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from pathlib import Path


def is_there(path: Path, entry: dict | None) -> bool:
    if entry is None or "link" in entry:
        there = os.readlink(path) if path.is_symlink() else None
        return not path.exists() and there is None if entry is None else there == entry["link"]
    return path.is_file() and not path.is_symlink() and path.read_text("utf-8", "replace") == entry["content"]


def put(path: Path, entry: dict | None) -> None:
    if entry is None:
        path.unlink(missing_ok=True)
        return
    new = path.with_name(f".{path.name}.netcure-soc")
    new.unlink(missing_ok=True)
    if "link" in entry:
        new.symlink_to(entry["link"])
    else:
        new.touch(int(entry["mode"], 8))
        new.chmod(int(entry["mode"], 8))
        new.write_text(entry["content"], "utf-8")
    try:
        new.replace(path)
    except OSError as error:
        # A container's file is mounted on its place: it can be written, and not replaced.
        if error.errno != errno.EBUSY or "content" not in entry:
            raise
        path.write_text(entry["content"], "utf-8")
    finally:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()


def main() -> None:
    wanted = json.loads(sys.argv[1])
    wrong = [path for path, entry in wanted["put"].items() if not is_there(Path(path), entry)]
    if not wanted["check"]:
        for path in wrong:
            put(Path(path), wanted["put"][path])
    print(json.dumps(wrong))


if __name__ == "__main__":
    main()
