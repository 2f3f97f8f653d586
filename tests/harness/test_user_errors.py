"""Mistakes and misfortunes of a real run: each ends in one line that says what to do."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main
from harness.hosts.host import HostAddress
from harness.hosts.lab import Lab
from harness.remote.ssh import Remote

pytestmark = pytest.mark.lab


def inventory(folder: Path, *hosts: HostAddress, key: Path | None = None) -> str:
    lines = []
    for host in hosts:
        lines += [
            "[[host]]",
            f'name = "{host.name}"',
            f'address = "{host.address}"',
            f"port = {host.port}",
            f'key = "{key or host.key_path}"',
            f'known_hosts = "{host.known_hosts_path}"',
        ]
    path = folder / "hosts.toml"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def run_on(hosts: str, tmp_path: Path, *options: str) -> int:
    fixed = ["--nodes", "1", "--concurrency", "1", "--time-limit", "1", "--seed", "1"]
    return main(["test", "--hosts", hosts, "--store", str(tmp_path / "store"), *fixed, *options])


def reasons(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a failed run says: a line for the outcome, a line for the reason."""
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    first, reason = captured.out.splitlines()[:2]
    assert first.startswith("HARNESS-FAILURE")
    return reason


def test_a_host_that_cannot_be_reached(
    test_lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    known = test_lab.hosts[0]
    gone = HostAddress(
        name="n1",
        address="127.0.0.1",
        port=port,
        key_path=known.key_path,
        known_hosts_path=known.known_hosts_path,
    )
    assert run_on(inventory(tmp_path, gone), tmp_path) == 4
    said = reasons(capsys)
    assert "n1" in said
    assert "127.0.0.1" in said
    assert "refused" in said


def test_a_wrong_key(test_lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong)]
    subprocess.run(command, check=True, timeout=20)
    assert run_on(inventory(tmp_path, test_lab.hosts[0], key=wrong), tmp_path) == 4
    said = reasons(capsys)
    assert "n1" in said
    assert str(wrong) in said


def test_a_host_without_python3(
    test_lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = test_lab.hosts[0]
    with Remote.connect(host) as remote:
        hidden = remote.check("which -a python3").split()
        for path in hidden:
            remote.check(["mount", "--bind", "/dev/null", path])
        try:
            assert run_on(inventory(tmp_path, host), tmp_path) == 4
        finally:
            for path in reversed(hidden):
                remote.check(["umount", path])
    said = reasons(capsys)
    assert "n1" in said
    assert "python3" in said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "splitbrain-test", str(folder)]
    subprocess.run(mount, check=True, timeout=20)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=20)


def test_a_store_that_fills_up_in_mid_run_loses_nothing_that_was_recorded(
    test_lab: Lab, tmp_path: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = inventory(tmp_path, test_lab.hosts[0])
    store = str(small_disk / "store")
    options = ["--concurrency", "8", "--rate", "2000", "--time-limit", "20", "--store", store]
    assert run_on(hosts, tmp_path, *options) == 4
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert "free some space or choose another --store" in captured.out + captured.err
    run = small_disk / "store" / "register" / "latest"
    size = (run / "history.jsonl").stat().st_size
    assert size > 50_000
    assert main(["check", str(run)]) == 0
    assert (run / "history.jsonl").stat().st_size == size
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(run.resolve())
