"""One host of the lab that is a virtual machine: QEMU, in the place of a host's first process.

    host's namespace:   eth0 --- [bridge] --- vm ---- the machine's eth0, 198.18.0.1

The machine runs in the network namespace that the lab made for the host. So the lab's network, its
claims, and its finding and killing of processes are the same for both kinds of hosts.

Rules of this file:
- The processor is emulated, always: KVM is not there on every machine, and where it is it may
  hang (nested virtualization). What is slow is at least slow everywhere.
- A plain processor: newer instructions are the slower ones when they are emulated.
- A machine leaves nothing: what it writes to its disk goes to a file that has no name.
- A machine that ends does not start again: its kernel's panic ends QEMU.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from harness.hosts import commands, cpio, lab_network, vm_image
from harness.hosts.lab_host import QEMU, HostPaths
from harness.hosts.vm_image import Image

_MEMORY_MB: Final = 256
# Nothing runs there that another program must be shielded from, and shielding costs an emulated
# processor half of its time.
_KERNEL_OPTIONS: Final = "console=ttyS0 quiet panic=-1 ipv6.disable=1 net.ifnames=0 mitigations=off"
_TAP, _BRIDGE = "vm", "bridge"

# What a machine does once it has its disk: be a host, run sshd, and bury the dead like any first
# process. It may load the kernel's modules (netem, loop, nftables) when somebody asks for them.
_START: Final = """\
export PATH={path}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run/sshd /run/lock
mount -t devpts -o mode=620,ptmxmode=666 pts /dev/pts
mount -t tmpfs -o mode=1777,size=64m shm /dev/shm
mount -t tmpfs -o mode=1777,size=64m tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
echo {name} > /proc/sys/kernel/hostname
echo "127.0.0.1 localhost {name}" > /etc/hosts
modprobe loop
ip link set lo up
ip address add {address}/24 dev eth0
ip link set eth0 up
/usr/sbin/sshd -D -e -f /run/lab/sshd_config &
wait $!
"""


def why_not() -> tuple[str, str] | None:
    """Return why this machine cannot run virtual ones, and what to do; None if it can."""
    if shutil.which(QEMU, path=commands.ENVIRONMENT["PATH"]) is None:
        return f"{QEMU} is not installed", "sudo apt-get install -y qemu-system-x86"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun", "sudo modprobe tun"
    return vm_image.why_not()


def bridge_batch() -> list[str]:
    """Return the `ip` lines, run in a host's namespace, that lead its cable to the machine."""
    return [
        f"link add {_BRIDGE} type bridge stp_state 0 forward_delay 0",
        f"tuntap add dev {_TAP} mode tap",
        *(f"link set {port} addrgenmode none master {_BRIDGE}" for port in ("eth0", _TAP)),
        f"link set {_BRIDGE} addrgenmode none",
        *(f"link set {device} up" for device in ("eth0", _TAP, _BRIDGE)),
    ]


def command(image: Image, paths: HostPaths, *, instance: int, name: str) -> list[str]:
    """Return the command that runs a machine in the background, in its host's namespace."""
    number = int(name.removeprefix("n"))
    return [
        *("ip", "netns", "exec", lab_network.namespace(instance, name)),
        *(QEMU, "-name", f"splitbrain-{instance}-{name}"),
        *("-machine", "pc", "-accel", "tcg,tb-size=128", "-cpu", "qemu64,+rdrand", "-smp", "1", "-m", str(_MEMORY_MB)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-daemonize"),
        *("-serial", f"file:{paths.log}"),
        *("-kernel", str(image.kernel), "-initrd", str(first_files(paths))),
        *("-append", _KERNEL_OPTIONS),
        # The layer above the image: it is unlinked at once, and nobody needs it to be durable.
        *("-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on,cache=unsafe"),
        *("-netdev", f"tap,id=net,ifname={_TAP},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=net,romfile=,mac=52:54:00:5b:{instance:02x}:{number:02x}"),
        *("-rtc", "base=utc,clock=host"),
    ]  # fmt: skip


def runs(instance: int, name: str) -> bool:
    """Whether a machine is there, whatever state it is in."""
    done = commands.run(["ip", "netns", "pids", lab_network.namespace(instance, name)], check=False)
    return bool(done.stdout.split())


def first_files(paths: HostPaths) -> Path:
    """Return where the archive is that a machine boots with: the image's, and its identity."""
    return paths.directory / "initrd"


def write_first_files(image: Image, paths: HostPaths, *, instance: int, name: str) -> None:
    """Write that archive; the host's identity has been written before."""
    start = _START.format(
        path=commands.ENVIRONMENT["PATH"], name=name, address=lab_network.address(instance, name)
    )
    files = {
        f"identity/{path.name}": (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in sorted(paths.identity.iterdir())
    }
    files["identity/start"] = (start.encode(), 0o644)
    first_files(paths).write_bytes(image.first_files.read_bytes() + cpio.archive(files))


def start(
    image: Image, paths: HostPaths, *, instance: int, name: str, lock_fd: int
) -> subprocess.Popen[bytes]:
    """Switch a machine on; the process returned ends as soon as it runs.

    The lock is not passed on: QEMU would hold it as long as it lives.
    """
    write_first_files(image, paths, instance=instance, name=name)
    commands.run(
        ["ip", "-n", lab_network.namespace(instance, name), "-batch", "-"],
        stdin="\n".join(bridge_batch()) + "\n",
        keep_open=(lock_fd,),
    )
    return subprocess.Popen(
        command(image, paths, instance=instance, name=name),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**commands.ENVIRONMENT, "TMPDIR": os.fspath(paths.directory)},
        start_new_session=True,
    )
