"""What a lab can leave on the machine: taken before and after, and compared."""

import os
import re
import subprocess
from pathlib import Path

from harness.hosts import lab


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


def mounts() -> set[str]:
    """Mount points, kinds and sources of this namespace; other labs' namespaces left out."""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        dash = fields.index("-")
        if "/run/netns" not in fields[4]:
            found.add(f"{fields[3]} {fields[4]} {fields[dash + 1]} {fields[dash + 2]}")
    return found


def traces(instance: int) -> dict[str, list[str]]:
    """Everything on this machine that bears the mark of one lab."""
    mine = re.compile(
        rf"splitbrain-{instance}-|\bsb{instance}-|198\.18\.{instance}\.|fd5b:c612:bd3e:{instance}:"
    )
    folder = f"{lab.STATE_FOLDER}/{instance}"
    mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    processes = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if int(entry.name) != os.getpid() and (f"{folder}/" in words or mine.search(words)):
            processes.append(words)
    return {
        "namespaces": [line for line in said("ip", "netns").splitlines() if mine.search(line)],
        "links": [line for line in said("ip", "-o", "link").splitlines() if mine.search(line)],
        "routes": [
            line
            for version in ("-4", "-6")
            for line in said("ip", version, "route").splitlines()
            if mine.search(line)
        ],
        "mounts": [line for line in mountinfo if mine.search(line) or folder in line],
        "processes": processes,
        "folders": [folder] if Path(folder).exists() else [],
    }


def nothing() -> dict[str, list[str]]:
    return {
        name: [] for name in ("namespaces", "links", "routes", "mounts", "processes", "folders")
    }


def network_namespaces(instance: int) -> set[int]:
    """The inodes of a lab's network namespaces."""
    return {path.stat().st_ino for path in Path("/run/netns").glob(f"splitbrain-{instance}-*")}


def processes_in(inodes: set[int]) -> list[int]:
    """Processes that live in one of these network namespaces, whatever they call themselves."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            inode = (entry / "ns" / "net").stat().st_ino
        except OSError:
            continue
        if inode in inodes:
            found.append(int(entry.name))
    return found
