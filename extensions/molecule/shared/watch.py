# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the arguments and environments of all processes until /run/watch.stop appears, and says where a secret was.

Every secret that the tests give begins in the same way. The word is put together here, or this program would find itself.
The keys that were made meanwhile are in files, and compared at the end.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

SECRET = b"secret" + b"-of-"
MOST = 1800


def main() -> None:
    seen: set[tuple[str, bytes]] = set()
    looks, end = 0, time.monotonic() + MOST
    while not Path("/run/watch.stop").exists() and time.monotonic() < end:
        looks += 1
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    seen.add((name, (process / name).read_bytes()))
        time.sleep(0.02)
    secrets = [SECRET, *(path.read_bytes().strip() for path in Path("/etc/soc").glob("*.key"))]
    found = {
        f"{name}: {content.split(bytes(1))[0][:80]!r}"
        for name, content in seen
        if any(secret in content for secret in secrets)
    }
    Path("/run/watch.told").write_text(f"looks={looks}\n" + "".join(f"{line}\n" for line in sorted(found)), "utf-8")


if __name__ == "__main__":
    main()
