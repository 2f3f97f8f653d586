"""Runs the steps of docs/examples/github-workflow.yml or gitlab-ci.yml in a container of this machine.

    python tools/ci_in_docker.py docs/examples/github-workflow.yml --output /tmp/job --budget-s 300

Needs root and `apt-get install docker.io iptables debootstrap slirp4netns`. OUTPUT gets what the job
would upload, and `summary.md`, the job's page. Exit code 0: every step ended well, and the sweep
with 0, or with 3 because its budget was cut.

Rules of this file:
- Each step is run as it stands in the example. What only a hosted runner has is replaced by the
  nearest thing: a checkout by a clone of this repository, an upload by a copy, the image by one that
  debootstrap makes of the same release.
- The daemon and its containers live in a network namespace of their own, with a network in user
  space: the machine's own rules and bridges are never touched. All of it ends with this program.
- A container gets all that `--privileged` gives, of what this machine's root has itself.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("docker", "dockerd", "debootstrap", "slirp4netns", "unshare")
_DNS = "10.0.2.3"  # slirp4netns answers there
# Numbers of linux/capability.h, as far as Docker knows their names.
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ"
)


def steps(example: str) -> list[str]:
    """Return the commands of an example, in order: what is not a command becomes one."""
    if "\njobs:" in example:
        found = re.findall(r"^ +- (run|uses): (.+)$", example, re.MULTILINE)
        instead = {"actions/checkout": "git clone -q /origin .", "actions/upload-artifact": _UPLOAD}
        return [what if kind == "run" else instead[what.partition("@")[0]] for kind, what in found]
    script, _, _ = example.partition("  artifacts:")
    commands = re.findall(r"^    - (?!if:)(.+)$", script, re.MULTILINE)
    # The runner clones before the job's image is started.
    return ["cp -r /origin/. .", *commands, _UPLOAD]


_UPLOAD = "cp -r nightly /output/"


def job(example: str, *, budget_s: int) -> str:
    """Return the script that runs in the container."""
    lines = ["mkdir /job && cd /job", "export CI=true GITHUB_STEP_SUMMARY=/output/summary.md"]
    lines.append("worst=0")
    for step in steps(example):
        sweeps = " sweep " in step
        command = f"{step} --budget-s {budget_s}" if sweeps else step
        allowed = "0|3" if sweeps else "0"
        lines += [
            f"printf '\\n::step:: %s\\n' {shlex.quote(command)}",
            f'sh -e -c {shlex.quote(command)}; code=$?; echo "::exit code:: $code"',
            f"case $code in {allowed}) ;; *) worst=$code; [ {int(sweeps)} = 1 ] || exit $code;; esac",
        ]
    return "\n".join([*lines, "exit $worst", ""])


def main() -> int:
    """Parse, make the base image, run the job."""
    parser = argparse.ArgumentParser(description="runs a CI example in a container")
    parser.add_argument("example", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--budget-s", type=int, default=300)
    options = parser.parse_args()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; see the top of this file for what to install")
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        home = Path(folder)
        script = job(options.example.read_text(encoding="utf-8"), budget_s=options.budget_s)
        (home / "job.sh").write_text(script)
        _run(["git", "clone", "-q", str(ROOT), str(home / "origin")])
        print("making the base image (a minute)", flush=True)
        base = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm"]
        _run([*base, str(home / "base")], stdout=subprocess.DEVNULL)
        return _in_namespaces(home, options.output.resolve())


def _in_namespaces(home: Path, output: Path) -> int:
    """Start ourselves again in namespaces, and give those a network."""
    namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    again = [sys.executable, __file__, "inside", str(home), str(output)]
    inner = subprocess.Popen(["unshare", *namespaces, "--propagation", "private", *again])
    network = None
    try:
        _until(lambda: (home / "ready").exists(), "namespaces")
        (child,) = Path(f"/proc/{inner.pid}/task/{inner.pid}/children").read_text().split()
        command = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", child]
        network = subprocess.Popen([*command, "tap0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        return inner.wait(timeout=7200)
    finally:
        for process in (inner, network):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def inside(home: Path, output: Path) -> int:
    """In the namespaces: a daemon, the image, the container."""
    _run(["ip", "link", "set", "lo", "up"])
    Path("/run/netns").mkdir(exist_ok=True)
    _run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"])
    (home / "resolv.conf").write_text(f"nameserver {_DNS}\n")
    _run(["mount", "--bind", str(home / "resolv.conf"), "/etc/resolv.conf"])
    (home / "ready").touch()
    _until(_has_tap, "network")
    os.environ["DOCKER_HOST"] = f"unix://{home}/socket"
    state = ["--data-root", f"{home}/data", "--exec-root", f"{home}/exec"]
    with (home / "dockerd.log").open("w") as log:
        daemon = subprocess.Popen(
            ["dockerd", *state, "--pidfile", f"{home}/pid", "--host", os.environ["DOCKER_HOST"]],
            stdout=log,
            stderr=log,
        )
    try:
        _until(lambda: _succeeds(["docker", "info"]), "dockerd")
        packed = subprocess.Popen(["tar", "-C", f"{home}/base", "-c", "."], stdout=subprocess.PIPE)
        _run(["docker", "import", "-", "debian:12"], stdin=packed.stdout, stdout=subprocess.DEVNULL)
        mounts = {f"{home}/origin": "/origin:ro", f"{home}/job.sh": "/job.sh:ro", output: "/output"}
        volumes = [word for host, place in mounts.items() for word in ("-v", f"{host}:{place}")]
        command = ["docker", "run", "--rm", "--dns", _DNS, *_privileges(), *volumes, *_pip()]
        return subprocess.run([*command, "debian:12", "bash", "/job.sh"], check=False).returncode
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)


def _privileges() -> list[str]:
    """Return `--privileged`, or all of it that can be had: nobody gives what he has not."""
    (line,) = re.findall(r"^CapBnd:\t(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    names = _CAPABILITIES.split()
    held = [name for number, name in enumerate(names) if int(line, 16) >> number & 1]
    if held == names:
        return ["--privileged"]
    print(f"this root has no {', '.join(sorted(set(names) - set(held)))}, so neither has the job")
    lifted = [f"{one}=unconfined" for one in ("seccomp", "apparmor", "systempaths")]
    return [
        *(word for name in held for word in ("--cap-add", name)),
        *(word for one in lifted for word in ("--security-opt", one)),
        *("--device-cgroup-rule", "a *:* rwm", "-v", "/dev:/dev"),
        *("-v", "/sys/fs/cgroup:/sys/fs/cgroup"),
    ]


def _pip() -> list[str]:
    """Return what tells pip in the container what it is told here."""
    told = []
    for name in ("PIP_CERT", "PIP_FIND_LINKS", "PIP_INDEX_URL"):
        value = os.environ.get(name)
        if value is not None:
            told += ["-e", f"{name}={value}"]
            told += ["-v", f"{value}:{value}:ro"] if value.startswith("/") else []
    return told


def _has_tap() -> bool:
    return "tap0" in Path("/proc/net/dev").read_text()


def _run(command: list[str], **options: object) -> None:
    subprocess.run(command, check=True, timeout=900, **options)  # type: ignore[call-overload]


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _until(done: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 60
    while not done():
        if time.monotonic() > deadline_s:
            sys.exit(f"no {what} within a minute")
        time.sleep(0.2)


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        sys.exit(inside(Path(sys.argv[2]), Path(sys.argv[3])))
    sys.exit(main())
