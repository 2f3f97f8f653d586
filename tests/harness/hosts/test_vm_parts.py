"""Virtual machines, as far as they can be seen without booting one."""

import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import doctor
from harness.errors import HarnessError, UsageError
from harness.hosts import choose, commands, cpio, lab, lab_host, lab_vm, vm_image
from harness.hosts.lab_host import HostPaths
from harness.hosts.vm_image import Image
from harness.spec import Spec

NAMES = st.text("abcxyz.-_0", min_size=1, max_size=12).filter(lambda name: set(name) != {"."})
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Read an archive as the format is written down (man 5 cpio, "New ASCII Format")."""
    found: dict[str, tuple[int, bytes]] = {}
    stream = io.BytesIO(archive)
    while True:
        header = stream.read(110)
        assert header[:6] == b"070701"
        fields = [int(header[at : at + 8], 16) for at in range(6, 110, 8)]
        name = stream.read(fields[11])
        assert name[-1:] == b"\0"
        stream.read(-(110 + fields[11]) % 4)
        content = stream.read(fields[6])
        stream.read(-fields[6] % 4)
        if name == b"TRAILER!!!\0":
            return found
        found[name[:-1].decode()] = (fields[1], content)


@given(st.dictionaries(PATHS, st.tuples(st.binary(max_size=40), st.sampled_from((0o644, 0o755)))))
def test_an_archive_holds_the_files_and_their_folders(files: dict[str, tuple[bytes, int]]) -> None:
    found = unpacked(cpio.archive(files))
    for path, (content, mode) in files.items():
        assert found[path] == (0o100000 | mode, content)
        for folder in Path(path).parents:
            assert str(folder) == "." or str(folder) in found
    assert len(cpio.archive(files)) % 4 == 0, "a second archive could not follow"
    order = list(found)
    assert all(order.index(str(Path(path).parent)) < order.index(path)
               for path in files if "/" in path)  # fmt: skip


def test_a_module_comes_after_those_it_needs() -> None:
    dependencies = (
        "kernel/net.ko: kernel/fail.ko kernel/ring.ko kernel/virtio.ko\n"
        "kernel/fail.ko: kernel/virtio.ko\n"
        "kernel/ring.ko:\n"
        "kernel/virtio.ko:\n"
        "kernel/block/disk.ko: kernel/ring.ko\n"
    )
    ordered = vm_image.modules_in_order(dependencies, ["disk", "net", "part_of_the_kernel"])
    assert ordered == [
        "kernel/ring.ko",
        "kernel/block/disk.ko",
        "kernel/virtio.ko",
        "kernel/fail.ko",
        "kernel/net.ko",
    ]


def test_an_image_is_named_after_what_decides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    first = vm_image.place()
    assert first.parent == Path("/somewhere/splitbrain")
    assert vm_image.place() == first
    monkeypatch.setattr(vm_image, "_INIT", "another")
    assert vm_image.place() != first


@pytest.fixture
def paths(tmp_path: Path) -> HostPaths:
    paths = HostPaths(directory=tmp_path / "n2")
    paths.identity.mkdir(parents=True)
    (paths.identity / "host_key").write_text("secret")
    (paths.identity / "host_key").chmod(0o600)
    return paths


def test_a_machine_boots_with_its_identity(tmp_path: Path, paths: HostPaths) -> None:
    image = Image(tmp_path)
    image.first_files.write_bytes(cpio.archive({"init": (b"first", 0o755)}))
    lab_vm.write_first_files(image, paths, instance=7, name="n2")
    whole = lab_vm.first_files(paths).read_bytes()
    assert whole.startswith(image.first_files.read_bytes())
    found = unpacked(whole.removeprefix(image.first_files.read_bytes()))
    assert found["identity/host_key"] == (0o100600, b"secret")
    start = found["identity/start"][1].decode()
    assert "ip address add 198.18.7.2/24 dev eth0" in start
    assert "echo n2 > /proc/sys/kernel/hostname" in start


def test_a_machine_runs_in_its_hosts_namespace_and_writes_to_no_image(
    tmp_path: Path, paths: HostPaths
) -> None:
    words = lab_vm.command(Image(tmp_path), paths, instance=7, name="n2")
    assert words[:4] == ["ip", "netns", "exec", "splitbrain-7-n2"]
    assert words[4] == lab_host.QEMU
    (drive,) = [word for word in words if word.startswith("file=")]
    assert "snapshot=on" in drive.split(",")
    # It is found by its name and the lab's folder, also before it has entered the namespace.
    assert any(word.startswith(f"{paths.directory}/") for word in words)
    others = lab_vm.command(Image(tmp_path), paths, instance=8, name="n2")
    macs = {word.rpartition("mac=")[2] for word in (*words, *others) if "mac=" in word}
    assert len(macs) == 2


def test_what_a_machine_lacks_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    missing = lab_vm.why_not()
    assert missing is not None
    assert missing[1] == "sudo apt-get install -y qemu-system-x86"
    with pytest.raises(HarnessError, match="cannot have virtual ones: qemu-system-x86_64 is not"):
        choose.check_hosts(Spec(hosts="vm", nodes=3))


def test_an_image_that_cannot_be_made_is_no_surprise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(HarnessError, match="debootstrap is not installed; sudo apt-get install"):
        vm_image.ready()
    # One that is there needs no tools.
    vm_image.place().mkdir(parents=True)
    assert vm_image.why_not() is None
    assert vm_image.ready().folder == vm_image.place()


def test_half_an_image_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(vm_image, "why_not", lambda: None)
    left = vm_image.place().parent / "making-it"
    left.mkdir(parents=True)

    def fail(*_: object, **__: object) -> None:
        raise HarnessError("no way to deb.debian.org")

    monkeypatch.setattr(commands, "run", fail)
    with pytest.raises(HarnessError, match=r"image: no way to .*; it needs root and"):
        vm_image.ready()
    assert not vm_image.is_made()
    assert list(vm_image.place().parent.glob("making-*")) == []


def test_a_lab_of_one_kind_is_not_taken_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = lab.LabStatus(
        instance=3,
        state="up",
        hosts=lab._lab(3, 3, vm=True, ipv6=False).hosts,
        problems=(),
        vm=True,
    )
    assert machines.is_up_with(3, vm=True)
    assert not machines.is_up_with(3, vm=False)
    assert not machines.is_up_with(5, vm=True)
    assert all(host.own_clock for host in machines.hosts)
    assert not any(host.own_clock for host in lab._lab(3, 3, vm=False, ipv6=False).hosts)
    monkeypatch.setattr(lab, "status", lambda instance: machines)
    monkeypatch.setattr(doctor, "examine", list)
    with pytest.raises(UsageError, match="up with 3 virtual machines, but hosts is lab"):
        choose.check_hosts(Spec(hosts="lab", nodes=3, lab=3))
