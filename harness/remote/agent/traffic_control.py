"""The kernel's traffic control (tc): a class of its own on each device for what is to be struck.

    root: htb 5b17:   ->  class 5b17:1  ->  netem or tbf 5b18:
                      ->  everything else passes it by

Rules of this file:
- The root is put only where the device has none but the kernel's own, and only ours is deleted.
- What enters the class is decided by rules elsewhere; when they expire nothing does.
- Every command is bounded. A kernel that lacks something is an error that says what it lacks.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

ROOT, CLASS, CHILD = "5b17:", "5b17:1", "5b18:"
_TOOL_TIMEOUT_S = 10
# The class itself is no limit; its child is.
_CLASS = ("htb", "rate", "10gbit", "quantum", "60000")


class ToolError(Exception):
    """A command that did not work; the text says why."""


def run_tool(*words: str) -> str:
    """Run `tc` or `ip` and return what it printed."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise ToolError(f"{words[0]} is not installed: apt-get install iproute2") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{words[0]} did not end in time") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise ToolError("{}: {}".format(words[0], said[0].removeprefix("Error: ")))
    return done.stdout


def commands(device: str, child: Sequence[str]) -> list[list[str]]:
    """Return what makes the class on a device, in this order."""
    add, on = ["tc", "qdisc", "add", "dev", device], ["parent", CLASS, "handle", CHILD]
    return [
        [*add, "root", "handle", ROOT, "htb"],
        ["tc", "class", "add", "dev", device, "parent", ROOT, "classid", CLASS, *_CLASS],
        [*add, *on, *child],
    ]


def install(devices: Sequence[str], child: Sequence[str]) -> None:
    """Make the class on every device, or on none."""
    try:
        for device in devices:
            for words in commands(device, child):
                run_tool(*words)
    except ToolError:
        with contextlib.suppress(ToolError):
            remove(devices)
        raise


def remove(devices: Sequence[str]) -> None:
    """Take our root away from every device that has it; what it held is dropped."""
    if shutil.which("tc") is None:
        return  # then it was never put there
    for device in devices:
        if any(one.get("root") and one.get("handle") == ROOT for one in _list(device)):
            run_tool("tc", "qdisc", "delete", "dev", device, "root", "handle", ROOT)


def statistics(devices: Sequence[str]) -> dict[str, int]:
    """Return what the class let pass, dropped, and made wait, on all devices together."""
    return counted([one for device in devices for one in _list(device)])


def counted(listed: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Add up what tc says of our part of each device."""
    ours = [one for one in listed if one.get("handle") == CHILD]
    names = {"passed": "packets", "lost": "drops", "waited": "overlimits"}
    return {what: sum(int(one.get(name, 0)) for one in ours) for what, name in names.items()}


def _list(device: str) -> list[dict[str, Any]]:
    try:
        listed = json.loads(run_tool("tc", "-s", "-json", "qdisc", "show", "dev", device))
    except ToolError as error:
        if "Cannot find device" in str(error):
            return []
        raise
    return [one for one in listed if isinstance(one, dict)]
