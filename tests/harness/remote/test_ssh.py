"""SSH: what works, and that each thing that can go wrong is bounded and says what to do."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from harness.errors import HostError
from harness.hosts.host import HostAddress
from harness.hosts.lab import Lab
from harness.remote.ssh import Download, Remote, Result

# Far above what any of these takes, so that a busy machine does not fail them.
BOUND_S = 15.0


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    began_ns = time.monotonic_ns()
    yield
    assert (time.monotonic_ns() - began_ns) / 1e9 < BOUND_S


def new_key(path: Path) -> paramiko.RSAKey:
    key = paramiko.RSAKey.generate(2048)
    key.write_private_key_file(str(path))
    return key


@contextlib.contextmanager
def listener(greeting: bytes) -> Iterator[int]:
    """A server on loopback that says one thing and then nothing."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                accepted.append(connection)
                connection.sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(timeout=BOUND_S)
    for connection in accepted:
        connection.close()


def local_host(folder: Path, port: int) -> HostAddress:
    new_key(folder / "key")
    (folder / "known").touch()
    return HostAddress(
        name="n9",
        address="127.0.0.1",
        port=port,
        key_path=folder / "key",
        known_hosts_path=folder / "known",
    )


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    host = replace(local_host(tmp_path, 1), key_path=tmp_path / "nokey")
    with pytest.raises(HostError, match=r"host n9: its key file .*/nokey does not exist"):
        Remote.connect(host)


def test_a_closed_port_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(HostError, match=rf"host n9: 127\.0\.0\.1:{port} refused.*is sshd running"):
        Remote.connect(local_host(tmp_path, port))


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_is_no_ssh_server_is_given_up(tmp_path: Path, greeting: bytes) -> None:
    with bounded(), listener(greeting) as port:
        host = local_host(tmp_path, port)
        with pytest.raises(HostError, match=r"host n9 .*no SSH session on port"):
            Remote.connect(host, timeout_s=1.0)


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    with listener(b"") as port:
        host = local_host(tmp_path, port)
        host.key_path.write_text("not a key", encoding="ascii")
        with pytest.raises(HostError, match=r"host n9: its key .*/key: it is no private key"):
            Remote.connect(host)
    with listener(b"") as port:
        host = local_host(tmp_path, port)
        key = paramiko.RSAKey.generate(2048)
        key.write_private_key_file(str(host.key_path), password="secret")
        with pytest.raises(HostError, match=r"host n9: its key .*/key: it has a passphrase"):
            Remote.connect(host)


@pytest.mark.lab
def test_a_wrong_key_is_refused(test_lab: Lab, tmp_path: Path) -> None:
    new_key(tmp_path / "other")
    host = replace(test_lab.hosts[0], key_path=tmp_path / "other")
    with (
        bounded(),
        pytest.raises(HostError, match=r"host n1 .*other is not accepted for user root"),
    ):
        Remote.connect(host)


@pytest.mark.lab
def test_an_unknown_host_key_is_refused(test_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    host = replace(test_lab.hosts[0], known_hosts_path=tmp_path / "known")
    with bounded(), pytest.raises(HostError, match=r"host n1 .*SHA256:.*is not in .*ssh-keyscan"):
        Remote.connect(host)


@pytest.mark.lab
def test_a_changed_host_key_is_refused(test_lab: Lab, tmp_path: Path) -> None:
    one, two = test_lab.hosts[:2]
    lines = two.known_hosts_path.read_text(encoding="ascii").splitlines()
    key_of_two = next(line for line in lines if line.startswith(f"{two.address} "))
    known = tmp_path / "known"
    known.write_text(key_of_two.replace(two.address, one.address) + "\n", encoding="ascii")
    with bounded(), pytest.raises(HostError, match=r"host n1 .*host key is not the one in"):
        Remote.connect(replace(one, known_hosts_path=known))


@pytest.mark.lab
def test_an_address_without_a_host_is_given_up(test_lab: Lab) -> None:
    nobody = replace(test_lab.hosts[0], address=f"198.18.{test_lab.instance}.99")
    with bounded(), pytest.raises(HostError, match=r"host n1: .*lab status"):
        Remote.connect(nobody, timeout_s=1.0)


@pytest.mark.lab
def test_a_command_says_what_it_says(remote: Remote) -> None:
    assert remote.run("echo out; echo err >&2; exit 3") == Result(3, "out\n", "err\n")
    assert remote.run(["echo", "two  words", "$HOME"]).stdout == "two  words $HOME\n"
    assert remote.run(["printf", r"\377"]).stdout == "\ufffd"
    assert remote.run("kill -9 $$").exit_status == -1
    assert remote.check("true") == ""
    with pytest.raises(HostError, match=r"host n1 .*`ls /nowhere` failed with status 2: .*No such"):
        remote.check(["ls", "/nowhere"])


@pytest.mark.lab
def test_a_command_gets_its_input_while_it_talks(remote: Remote) -> None:
    data = b"0123456789abcdef" * 50_000
    result = remote.run("cat; head -c 300000 /dev/zero >&2", stdin=data, timeout_s=30)
    assert result.stdout.encode() == data
    assert len(result.stderr) == 300_000


@pytest.mark.lab
def test_a_command_is_bounded_in_time_and_output(remote: Remote) -> None:
    with bounded(), pytest.raises(HostError, match=r"`sleep 60` did not end within 0\.5 s"):
        remote.run("sleep 60", timeout_s=0.5)
    with bounded(), pytest.raises(HostError, match="`yes` said more than 1000 bytes"):
        remote.run("yes", output_bytes_max=1000)
    with bounded(), pytest.raises(HostError, match="did not end within"):
        remote.run("sleep 60", stdin=b"x" * 10_000_000, timeout_s=1)
    assert remote.run("echo still here").stdout == "still here\n"


@pytest.mark.lab
def test_files_travel_both_ways(remote: Remote, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    remote.upload(content, "/srv/deep/er/file", mode=0o750)
    assert remote.check("stat -c '%a %s' /srv/deep/er/file") == "750 256000\n"
    assert remote.check("ls -A /srv/deep/er") == "file\n", "a temporary file was left"
    (tmp_path / "source").write_bytes(b"second")
    remote.upload(tmp_path / "source", "/srv/deep/er/file")
    target = tmp_path / "target"
    assert remote.download("/srv/deep/er/file", target, bytes_max=100) == Download(6, 0)
    assert target.read_bytes() == b"second"


@pytest.mark.lab
def test_of_a_long_file_the_end_is_fetched(remote: Remote, tmp_path: Path) -> None:
    remote.upload(b"a" * 1000 + b"the end", "/srv/long")
    fetched = remote.download("/srv/long", tmp_path / "long", bytes_max=7)
    assert fetched == Download(7, 1000)
    assert (tmp_path / "long").read_bytes() == b"the end"
    with pytest.raises(HostError, match="download /srv/nowhere: no such file on the host"):
        remote.download("/srv/nowhere", tmp_path / "nowhere", bytes_max=7)


@pytest.mark.lab
def test_a_full_disk_is_called_that(remote: Remote) -> None:
    folder = "/var/lib/splitbrain"  # on a lab host a file system of one megabyte
    with pytest.raises(HostError, match=r"host n1 .*upload .*the disk is full .*make room"):
        remote.upload(b"x" * 3_000_000, f"{folder}/big")
    assert remote.check(["ls", "-A", folder]) == "", "half a file was left"


@pytest.mark.lab
def test_files_do_not_disturb_each_other(remote: Remote, tmp_path: Path) -> None:
    def both(number: int) -> None:
        content = str(number).encode() * 50_000
        remote.upload(content, f"/srv/many/{number}")
        remote.download(f"/srv/many/{number}", tmp_path / str(number), bytes_max=1_000_000)
        if (tmp_path / str(number)).read_bytes() != content:
            mixed_up.append(number)

    mixed_up: list[int] = []
    threads = [threading.Thread(target=both, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=BOUND_S)
    assert mixed_up == []
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.lab
def test_a_broken_connection_is_noticed_and_nothing_is_left(test_lab: Lab, remote: Remote) -> None:
    threads = set(threading.enumerate())
    doomed = Remote.connect(test_lab.hosts[0])
    session = doomed.check("echo $PPID").strip()
    breaker = threading.Timer(0.3, lambda: remote.run(["kill", "-9", session]))
    breaker.start()
    with bounded(), pytest.raises(HostError, match="the connection broke while `sleep 30` ran"):
        doomed.run("sleep 30")
    breaker.join()
    with pytest.raises(HostError, match=r"host n1 .*the SSH connection is closed"):
        doomed.run("true")
    with pytest.raises(HostError, match=r"host n1 .*upload /srv/x"):
        doomed.upload(b"x", "/srv/x")
    assert not doomed.connected
    doomed.close()
    doomed.close()
    assert set(threading.enumerate()) - threads == set()
