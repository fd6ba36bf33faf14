# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says, as JSON, what a host has and what is to be done to it. It changes nothing.

What is wanted comes as JSON in the first argument.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
# What a container has of its own. Everything else is the machine's, also where a container could write it.
OWN_IN_CONTAINER = re.compile(r"/proc/sys/(net/|fs/mqueue/|kernel/(msg|sem|shm))")
CLOCKS = {
    "chrony": "chrony.service",
    "ntpsec": "ntpsec.service",
    "ntp": "ntp.service",
    "openntpd": "openntpd.service",
    "timesyncd": "systemd-timesyncd.service",
}
# Name in limits.d: row of /proc/self/limits, and the unit that limits.d counts in.
LIMITS = {
    "as": ("Max address space", 1024),
    "core": ("Max core file size", 1024),
    "fsize": ("Max file size", 1024),
    "memlock": ("Max locked memory", 1024),
    "nofile": ("Max open files", 1),
    "nproc": ("Max processes", 1),
    "stack": ("Max stack size", 1024),
}


def text_of(path: str | Path) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def said(*command: str) -> str:
    """What ``command`` says, which is nothing where there is no such program."""
    try:
        done = subprocess.run(  # noqa: S603 (no shell; our own commands)
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError:
        return ""
    return done.stdout


def plain(value: object) -> str:
    return " ".join(str(value).split())


def path_of(key: str, root: str = "/proc/sys") -> str:
    """The file of a sysctl, whose first separator tells which of the two its name is written with."""
    first = re.search(r"[./]", key)
    if first and first.group() == ".":
        key = key.translate(str.maketrans("./", "/."))
    return f"{root}/{key}"


def at_boot(config: str) -> dict[str, dict[str, str]]:
    """For each sysctl the file that has the last word when the machine starts, and its value."""
    words, file = {}, ""
    for line in config.splitlines():
        if re.fullmatch(r"# /\S+\.conf", line):
            file = line[2:]
        elif "=" in line and not line.startswith(("#", ";")):
            key, _equals, value = line.partition("=")
            words[path_of(key.strip().lstrip("-"))] = {"file": file, "value": plain(value)}
    return words


def plan_of(kind: str, wanted: dict, remembered: dict, found: dict, floors: list[str]) -> dict:
    """What to write, and what to remember: for each name that is wanted, or was.

    ``found`` has for each name the ``value`` and whether it is ``settable``; a value that somebody else changed since
    is left as it is.
    """
    write, aims, during, after = {}, {}, dict(remembered), {}
    for name in sorted({*wanted, *remembered}):
        now = found[name]["value"]
        if name not in wanted:
            old = remembered[name]
            if found[name]["settable"] and now == old["set"] != old["was"]:
                write[found[name]["path"]] = old["was"]
            continue
        aim = plain(wanted[name])
        if name in floors and aim.isdigit() and now.isdigit():
            aim = str(max(int(aim), int(now)))
        aims[name] = aim
        found[name]["wanted"] = aim
        if not found[name]["settable"]:
            continue
        if now != aim:
            write[found[name]["path"]] = aim
        during[name] = after[name] = {"was": remembered.get(name, {"was": now})["was"], "set": aim}
    return {"write": write, "aims": aims, "during": {kind: during}, "after": {kind: after}}


def swap() -> dict:
    devices = [line.split() for line in text_of("/proc/swaps").splitlines()[1:]]
    memory = re.search(r"^MemAvailable:\s+(\d+)", text_of("/proc/meminfo"), re.MULTILINE)
    fstab = [line for line in text_of("/etc/fstab").splitlines() if re.match(r"[^#\s]\S*\s+\S+\s+swap\s", line)]
    units = []
    for line in said("systemctl", "list-unit-files", "--type=swap", "--no-legend", "--plain").splitlines():
        name, state = line.split()[:2]
        source = said("systemctl", "show", "--property=SourcePath", "--value", "--", name).strip()
        if state not in ("masked", "masked-runtime") and source != "/etc/fstab":
            units.append(name)
    if said("systemctl", "is-enabled", "zramswap.service").strip() in ("enabled", "static"):
        units.append("zramswap.service")
    return {
        "devices": [row[0] for row in devices],
        "used_kb": sum(int(row[3]) for row in devices),
        "available_kb": int(memory.group(1)) if memory else 0,
        "fstab": fstab,
        "units": units,
    }


def limits(wanted: list[dict]) -> list[str]:
    """Sentences about the limits that a new session does not get."""
    sentences = []
    for entry in wanted:
        user = "nobody" if entry["domain"] == "*" else entry["domain"]
        row, unit = LIMITS[entry["item"]]
        try:
            pwd.getpwnam(user)
        except KeyError:
            continue
        has = re.search(rf"^{row}\s+(\S+)\s+(\S+)", said("runuser", "-u", user, "--", "cat", "/proc/self/limits"), re.M)
        aim = str(entry["value"])
        aim = "unlimited" if aim in ("-1", "unlimited", "infinity") else str(int(aim) * unit)
        for part, value in zip(("soft", "hard"), has.groups() if has else ("none", "none")):
            if entry.get("type", "-") in (part, "-") and value != aim:
                sentences.append(f"{user} gets a {part} {entry['item']} of {value} and not {aim}")
    return sentences


def mount_options(folder: str) -> list[str]:
    """Of the file system that ``folder`` is on, or will be."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return said("findmnt", "--noheadings", "--output", "OPTIONS", "--target", folder).strip().split(",")


def main() -> None:
    wanted = json.loads(sys.argv[1])
    container = said("systemd-detect-virt", "--container").strip()
    container = "" if container == "none" else container
    try:
        state = json.loads(text_of(wanted["state_file"]) or "{}")
    except ValueError as error:
        sys.exit(f"{wanted['state_file']} is broken ({error}): mend it, or remove it and lose what was there before.")

    boot = at_boot(said("/usr/lib/systemd/systemd-sysctl", "--cat-config"))
    sysctl, unknown = {}, []
    for key in sorted({*wanted["sysctl"], *state.get("sysctl", {})}):
        path = path_of(key)
        known = os.path.isfile(path)
        own = not container or OWN_IN_CONTAINER.match(path) is not None
        sysctl[key] = {
            "path": path,
            "value": plain(text_of(path)),
            "settable": known and own and os.access(path, os.W_OK),
        }
        if not known:
            unknown.append(key)
    kernel = plan_of("sysctl", wanted["sysctl"], state.get("sysctl", {}), sysctl, wanted["floors"])
    overruled = [
        f"{word['file']} will set {key} to {word['value']} at the next boot, and not to {aim}"
        for key, aim in kernel["aims"].items()
        for word in [boot.get(path_of(key))]
        if sysctl[key]["settable"]
        and word
        and word["value"] != aim
        and not (key in wanted["floors"] and word["value"].isdigit() and int(word["value"]) > int(aim))
    ]

    chosen = re.search(r"\[(\w+)\]", text_of(HUGE_PAGES))
    huge = {"path": HUGE_PAGES, "value": chosen.group(1) if chosen else ""}
    huge["settable"] = bool(chosen) and not container and os.access(HUGE_PAGES, os.W_OK)
    aim = {} if wanted["huge_pages"] == "keep" else {"enabled": wanted["huge_pages"]}
    pages = plan_of("huge_pages", aim, state.get("huge_pages", {}), {"enabled": huge}, [])

    # What is wrong and not for us to set right: the machine's, of which this container is a part.
    theirs = [
        f"{name} (is {entry['value'] or 'not there'}, wanted {entry['wanted']})"
        for name, entry in [*sysctl.items(), ("transparent huge pages", huge)]
        if not entry["settable"] and entry.get("wanted", entry["value"]) != entry["value"]
    ]
    rest = {name: part for name, part in state.items() if name not in ("sysctl", "huge_pages")}
    found = {
        "container": container,
        "unknown": unknown,
        "sysctl": sysctl,
        "aims": kernel["aims"],
        "overruled": overruled,
        "theirs": theirs,
        "huge_pages": huge,
        "write": {**kernel["write"], **pages["write"]},
        "during": {**rest, **kernel["during"], **pages["during"]},
        "after": {**rest, **kernel["after"], **pages["after"]},
        "state": state,
        "swap": swap(),
        "limits": limits(wanted["limits"]),
        "java_mount": mount_options(wanted["java_tmpdir"]) if wanted["java_tmpdir"] else [],
        "files": [path for path in wanted["files"] if os.path.exists(path)],
        "clocks": [name for name, unit in CLOCKS.items() if said("systemctl", "is-active", unit).strip() == "active"],
        "synchronized": said("timedatectl", "show", "--property=NTPSynchronized", "--value").strip() == "yes",
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
