"""What this machine can do, and for each thing it lacks the command that gets it.

Rules of this file:
- Looking changes nothing: what must be tried is tried in namespaces that vanish with the process.
- Every check is bounded and none can fail the others; what cannot be found out is "missing".
- A remedy is a command that can be pasted.
- Nothing heavy is imported: the answer comes at once.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.hosts import commands, lab_network, lab_vm, vm_image
from harness.remote.agent.clock import find_library

_TRY_TIMEOUT_S: Final = 10.0
_DISK_BYTES_MIN: Final = 1 << 30
_STATE_PARENT: Final = Path("/var/lib")
_PATH: Final = commands.ENVIRONMENT["PATH"]
_CAPABILITIES: Final = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. What is not `required` only narrows what can be tested."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def examine() -> list[Finding]:
    """Look at this machine; takes well below a second."""
    checks: Sequence[Callable[[], Finding]] = (
        _linux,
        _python,
        _rights,
        lambda: _command("ip", "iproute2", "the lab's network"),
        lambda: _command("sshd", "openssh-server", "the lab's hosts"),
        lambda: _command("ssh-keygen", "openssh-client", "the lab's keys"),
        _namespaces,
        _nft,
        _disk,
        _range,
        _ipv6,
        _faketime,
        _netem,
        _etcd,
        _docker,
        _machines,
    )
    return [_guarded(check) for check in checks]


def ok(findings: Sequence[Finding]) -> bool:
    """Whether everything required is there."""
    return all(finding.ok for finding in findings if finding.required)


def render(findings: Sequence[Finding]) -> str:
    """Return the findings as text: one line each, and below it what to do about it."""
    width = max(len(finding.name) for finding in findings)
    lines: list[str] = []
    for finding in findings:
        mark = "ok     " if finding.ok else "MISSING" if finding.required else "without"
        lines.append(f"{mark}  {finding.name:<{width}}  {finding.detail}")
        if not finding.ok and finding.remedy:
            lines.append(f"{'':9}{'':<{width}}  -> {finding.remedy}")
    missing = [finding.name for finding in findings if finding.required and not finding.ok]
    lines.append("")
    lines.append(f"missing: {', '.join(missing)}" if missing else "ready to run tests on the lab")
    return "\n".join(lines)


_AS_ROOT = "run as root: sudo splitbrain ..."


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  (one check must not hide the others)
        name = getattr(check, "__name__", "check").strip("_")
        return Finding(name=name, ok=False, detail=f"could not be checked: {error}")


def _linux() -> Finding:
    found = platform.system()
    detail = f"{found} {platform.release()} on {platform.machine()}"
    remedy = "run it on a Linux machine, or in a Linux virtual machine"
    return Finding(name="linux", ok=found == "Linux", detail=detail, remedy=remedy)


def _python() -> Finding:
    return Finding(
        name="python",
        ok=sys.version_info >= (3, 11),
        detail=f"{platform.python_version()} ({sys.executable})",
        remedy="sudo apt-get install -y python3.11, then: make setup PYTHON=python3.11",
    )


def _rights() -> Finding:
    """Root alone is not enough: a container's root may lack what namespaces need."""
    remedy = _AS_ROOT
    if os.geteuid() != 0:
        return Finding(name="root", ok=False, detail="not root", remedy=remedy)
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    effective = int(line.split()[1], 16)
    lacking = [name for bit, name in _CAPABILITIES.items() if not effective >> bit & 1]
    if lacking:
        detail, remedy = f"root without {', '.join(lacking)}", "docker run --privileged ..."
        return Finding(name="root", ok=False, detail=detail, remedy=remedy)
    return Finding(name="root", ok=True, detail="yes, with the capabilities that namespaces need")


def _command(name: str, package: str, purpose: str) -> Finding:
    path = shutil.which(name, path=_PATH)
    return Finding(
        name=name,
        ok=path is not None,
        detail=path or f"not installed; needed for {purpose}",
        remedy="make setup (installs it without starting a service)"
        if name == "sshd"
        else f"sudo apt-get install -y {package}",
    )


def _namespaces() -> Finding:
    problem = _try(["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "true"])
    return Finding(
        name="namespaces",
        ok=not problem,
        detail=problem or "network, PID, mount, UTS and IPC namespaces can be made",
        remedy="run as root: sudo splitbrain ... (in a container: docker run --privileged ...)",
    )


def _nft() -> Finding:
    problem = _try(["unshare", "--net", "nft", "add", "table", "inet", "splitbrain"])
    remedy = "sudo apt-get install -y nftables"
    if problem and shutil.which("nft", path=_PATH):
        remedy = "sudo modprobe nf_tables" if os.geteuid() == 0 else _AS_ROOT
    detail = problem or "rules can be added in a namespace"
    return Finding(name="nft", ok=not problem, detail=detail, remedy=remedy)


def _disk() -> Finding:
    free = shutil.disk_usage(_STATE_PARENT).free
    return Finding(
        name="disk",
        ok=free >= _DISK_BYTES_MIN,
        detail=f"{free / 1e9:.1f} GB free below {_STATE_PARENT}",
        remedy=f"make room below {_STATE_PARENT}: df -h {_STATE_PARENT}",
    )


def _range() -> Finding:
    """Look for one range that nobody else has a route to; the lab takes the first."""
    foreign = lab_network.foreign_route(0)
    free = [0] if foreign is None else []
    free += [number for number in (1, 2, 255) if lab_network.foreign_route(number) is None]
    detail = f"{lab_network.subnet(free[0])} is free" if free else f"taken by route {foreign}"
    remedy = "take down what uses 198.18.0.0/15 (a VPN or proxy?): ip route | grep 198.18"
    return Finding(name="addresses", ok=bool(free), detail=detail, remedy=remedy)


def _ipv6() -> Finding:
    problem = lab_network.why_no_ipv6()
    return Finding(
        name="ipv6",
        ok=not problem,
        detail=f"{problem}; needed for --ip 6 only" if problem else "lab hosts have it beside IPv4",
        remedy="sudo sysctl -w net.ipv6.conf.{all,default,lo}.disable_ipv6=0",
        required=False,
    )


def _faketime() -> Finding:
    path = find_library()
    return Finding(
        name="libfaketime",
        ok=path is not None,
        detail=path or "not installed; clock faults are skipped",
        remedy="sudo apt-get install -y faketime",
        required=False,
    )


def _netem() -> Finding:
    problem = _try(
        ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    )
    return Finding(
        name="netem",
        ok=not problem,
        detail=f"other means take its place ({problem})" if problem else "delays can be made",
        remedy="sudo modprobe sch_netem (not every kernel has it)",
        required=False,
    )


def _etcd() -> Finding:
    path = shutil.which("etcd", path=_PATH)
    return Finding(
        name="etcd",
        ok=path is not None,
        detail=path or "not installed; needed for --system etcd only",
        remedy="sudo apt-get install -y etcd-server",
        required=False,
    )


def _docker() -> Finding:
    path = shutil.which("docker", path=_PATH)
    running = Path("/var/run/docker.sock").exists()
    detail = "not installed" if path is None else "running" if running else "not running"
    return Finding(
        name="docker",
        ok=path is not None and running,
        detail=f"{detail}; needed for --hosts docker only",
        remedy="sudo apt-get install -y docker.io"
        if path is None
        else "sudo systemctl start docker (or: sudo dockerd &)",
        required=False,
    )


def _machines() -> Finding:
    missing = lab_vm.why_not()
    made = "image made" if vm_image.is_made() else "the first lab makes their image"
    return Finding(
        name="qemu",
        ok=missing is None,
        detail=f"virtual machines can be had ({made})" if missing is None else missing[0],
        remedy="" if missing is None else missing[1],
        required=False,
    )


def _try(command: Sequence[str]) -> str:
    """Run a command that leaves no trace; return an empty string or why it did not work."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TRY_TIMEOUT_S,
            check=False,
            env=commands.ENVIRONMENT,
        )
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {_TRY_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines() or ["no message"]
    return said[-1]
