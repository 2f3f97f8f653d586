"""The first process of a lab host: makes the host's own view of the machine, then runs sshd.

Started by the lab as `python3 -I lab_init.py --name n1 ...`; needs root, standard library only.

Rules of this file:
- Nothing that is mounted here may be seen outside: the mount namespace is made a slave first, so
  that mounts travel in (and the user's unmounts do) but never out.
- The first process of a PID namespace takes everything down with it when it ends. So ending is
  all there is to cleaning up: whoever wants this host gone kills this process.
- The lock file descriptor is held until the host is set up, so that whoever gets the lock later
  knows that nothing is still being made.
"""

import argparse
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 4096, 16384, 1 << 19
MNT_DETACH = 2
TOOL_TIMEOUT_S = 10

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount, or say what could not be mounted where."""
    arguments = (source.encode(), target.encode(), kind.encode(), flags, options.encode())
    _checked(_libc.mount(*arguments), f"mount {source} on {target}")


def unmount_all(target: str) -> None:
    """Detach whatever is mounted on or below a folder in this mount namespace."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    points = [line.split()[4] for line in lines]
    for point in sorted((p for p in points if p.startswith(f"{target}/")), reverse=True):
        _libc.umount2(point.encode(), MNT_DETACH)


def enter_network(namespace: Path) -> None:
    """Join the network namespace that the lab made for this host."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(descriptor, CLONE_NEWNET), f"enter {namespace}")
    finally:
        os.close(descriptor)


def configure_network(address: str, address6: str) -> None:
    """Give eth0 its addresses, and no others: partitions must not leave a second path open.

    Without an IPv6 address IPv6 is off.
    """
    for scope in ("all", "default"):
        setting = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if setting.exists():
            setting.write_text("0" if address6 else "1", encoding="ascii")
    lines = ["link set lo up", f"address add {address}/24 dev eth0"]
    if address6:
        # Nobody else has it: looking for a duplicate would take a second.
        lines += ["link set eth0 addrgenmode none", f"address add {address6}/64 dev eth0 nodad"]
    batch = "\n".join([*lines, "link set eth0 up"]) + "\n"
    subprocess.run(
        ["ip", "-batch", "-"], input=batch, text=True, check=True, timeout=TOOL_TIMEOUT_S
    )


def make_private_view(name: str, directory: Path) -> None:
    """Mount what makes this host look like a machine of its own."""
    mount("none", "/", "none", MS_REC | MS_SLAVE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    unmount_all("/run")
    identity = directory / "identity"
    mount(str(directory / "srv"), "/srv", "none", MS_BIND)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64m")
    for folder in ("lab", "sshd", "lock"):
        Path("/run", folder).mkdir(mode=0o755)
    mount(str(identity), "/run/lab", "none", MS_BIND)
    unmount_all("/tmp")
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=256m")
    # libfaketime and others name shared memory by PID, and every host has the same PIDs.
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m")
    # The other hosts' files are nobody's business here.
    mount("tmpfs", "/var/lib/splitbrain", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
    give_root_a_login()
    socket.sethostname(name)


def give_root_a_login() -> None:
    """Let root log in with a key: not locked, and with a home folder of this host's own.

    Without PAM, sshd refuses an account whose password is locked with "!", as on Ubuntu. And the
    user's own shell start-up files must not run on the host.
    """
    for file, field, value, mode in (
        ("/etc/shadow", 1, "*", 0o600),
        ("/etc/passwd", 5, "/srv", 0o644),
    ):
        lines = Path(file).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        for number, line in enumerate(lines):
            fields = line.split(":")
            if fields[0] == "root":
                fields[field] = value
                lines[number] = ":".join(fields)
        own = Path("/run") / f"lab-{Path(file).name}"
        own.touch(mode=mode)
        own.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
        mount(str(own), file, "none", MS_BIND)


def run_first_process(sshd: str, lock_fd: int) -> int:
    """Run sshd in the foreground and reap whatever ends, until sshd ends or we are told to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if lock_fd >= 0:
        os.close(lock_fd)
    server = subprocess.Popen([sshd, "-D", "-e", "-f", "/run/lab/sshd_config"], close_fds=True)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == server.pid:
            server.returncode = os.waitstatus_to_exitcode(status)
            sys.stderr.write(f"lab_init: sshd ended with status {server.returncode}\n")
            return 1


def detach(log: Path) -> None:
    """Leave the caller's session, terminal and standard streams."""
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for descriptor in (null, output):
        if descriptor > 2:
            os.close(descriptor)


def main() -> int:
    """Set up the host; the parent ends as soon as the host's first process exists."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--namespace", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--address6", default="")
    parser.add_argument("--sshd", required=True)
    parser.add_argument("--lock-fd", type=int, default=-1)
    options = parser.parse_args()
    if shutil.which("ip") is None:
        parser.error("ip (iproute2) is not installed")
    detach(options.directory / "lab.log")
    enter_network(options.namespace)
    configure_network(options.address, options.address6)
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
    _checked(_libc.unshare(flags), "unshare")
    pid = os.fork()
    if pid > 0:
        return 0
    try:
        make_private_view(options.name, options.directory)
        return run_first_process(options.sshd, options.lock_fd)
    except OSError as error:
        sys.stderr.write(f"lab_init: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
