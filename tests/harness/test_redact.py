"""Secrets do not come into a run's folder; everything else does, byte for byte."""

import logging
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cluster import Cluster
from harness.host_files import keep_without_secrets
from harness.hosts.host import HostAddress
from harness.redact import LINE_BYTES_MAX, MARK, Redactor, in_text
from harness.remote.agent_client import Agent
from harness.remote.evidence import Clocks
from harness.remote.ssh import Download, Remote, Result
from harness.run import _log_to
from harness.systems.system import System

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAAtzc2g\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ("> authorization: Basic Zm9vOmJhcg==", "> authorization: Basic [redacted]"),
        ('{"Authorization": "k3y"}', '{"Authorization": "[redacted]"}'),
        ("sent Bearer eyJhbGciOi.x", "sent Bearer [redacted]"),
        ("password=hunter2 user=x", "password=[redacted] user=x"),
        ('"root_password": "correct horse"', '"root_password": "[redacted]"'),
        (r"{\"secret\":\"abc\"}", r"{\"secret\":\"[redacted]\"}"),
        ("run --token abc --name n1", "run --token [redacted] --name n1"),
        ("GET http://user:pw@host/x", "GET http://user:[redacted]@host/x"),
        ("api_key: 123, x", "api_key: [redacted], x"),
        (f"a\n{KEY}b\n", "a\n[redacted]\nb\n"),
        (f"tls: {KEY}b\n", "tls: [redacted]\nb\n"),
        (repr(KEY), "'[redacted]\\n'"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, kept: str) -> None:
    assert in_text(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "lock k3 is held with token 7",
        "27571744 connected to n1 at 198.18.4.1:7000",
        "it does not know the cluster secret",
        '"initial-cluster-token":"splitbrain","peer-urls":["http://198.18.31.1:2380"]',
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "author: somebody",
    ],
)
def test_what_is_no_secret_is_kept(text: str) -> None:
    assert in_text(text) == text


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"") + b"\n")))
def test_a_known_secret_is_nowhere_and_lines_without_any_are_the_same(lines: list[bytes]) -> None:
    secret = b"s3cr3t-s3cr3t"
    plain = list(Redactor().lines(lines))
    assert list(Redactor([secret]).lines(lines)) == plain
    hidden = [line[: len(line) // 2] + secret + line[len(line) // 2 :] for line in lines]
    shown = b"".join(Redactor([secret]).lines(hidden))
    assert secret not in shown
    assert shown.count(MARK) >= len([line for line in plain if line]) - 1


def test_too_short_a_secret_makes_no_holes_and_the_longest_is_taken_first() -> None:
    assert Redactor([b"", b"e"]).line(b"here\n") == b"here\n"
    assert Redactor([b"12345678", b"1234567890"]).line(b"x1234567890y\n") == b"x[redacted]y\n"


def test_a_key_that_is_cut_off_does_not_swallow_the_log() -> None:
    lines = [b"-----BEGIN RSA PRIVATE KEY-----\n", *[b"AAAA\n"] * 500, b"the log goes on\n"]
    assert list(Redactor().lines(lines))[-1] == b"the log goes on\n"


def test_files_are_kept_line_by_line_and_what_is_no_text_as_it_is(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"one\nmy s3cr3t-s3cr3t\n" + b"x" * (3 * LINE_BYTES_MAX) + b"\nlast")
    keep_without_secrets(source, target, [b"s3cr3t-s3cr3t"])
    first, second, third, last = target.read_bytes().split(b"\n")
    assert (first, second, last) == (b"one", b"my [redacted]", b"last")
    assert third == b"x" * LINE_BYTES_MAX + b" [cut]"
    binary = b"\0\1password=x" + bytes(range(256)) * 10_000
    source.write_bytes(binary)
    keep_without_secrets(source, target, [])
    assert target.read_bytes() == binary


def test_the_harness_own_log_has_no_secrets_also_in_tracebacks(tmp_path: Path) -> None:
    log = logging.getLogger("harness")
    with _log_to(tmp_path / "harness.log"):
        log.warning("could not start `%s`", "server --password hunter2")
        try:
            raise ValueError("Authorization: Bearer abc.def")
        except ValueError:
            log.exception("internal error")
    text = (tmp_path / "harness.log").read_text()
    assert "hunter2" not in text
    assert "abc.def" not in text
    assert "`server --password [redacted]`" in text
    assert "ValueError: Authorization: Bearer [redacted]\n" in text
    assert "Traceback" in text


HOME = "/srv/here"
LOG, SYSTEM_HOME = f"{HOME}/system.log", f"{HOME}/system"


@dataclass
class FakeHost:
    """A host with some files, and its agent."""

    files: dict[str, bytes]

    def run(self, command: list[str]) -> Result:
        content = self.files.get(command[-1])
        return Result(1, "", "none") if content is None else Result(0, content.decode(), "")

    def check(self, command: list[str], *, timeout_s: float) -> str:
        folder = f"{command[1]}/"
        return "".join(f"{path.removeprefix(folder)}\n" for path in self.files if folder in path)

    def download(self, path: str, target: Path, *, bytes_max: int) -> Download:
        size = target.write_bytes(self.files[path][-bytes_max:])
        return Download(size, len(self.files[path]) - size)

    def wall_clock(self) -> Clocks:
        return Clocks(wall_ns=0, monotonic_ns=0)


def address(name: str) -> HostAddress:
    return HostAddress(
        name=name, address="127.0.0.1", key_path=Path("k"), known_hosts_path=Path("h"), home=HOME
    )


def test_what_a_system_keeps_secret_stays_on_the_host_wherever_it_wrote_it(tmp_path: Path) -> None:
    secret, wal = b"0123456789abcdef", b"\0wal\1"
    host = FakeHost(
        {
            LOG: b"serves\nproves itself with 0123456789abcdef\n",
            f"{SYSTEM_HOME}/data/secret": secret + b"\n",
            f"{SYSTEM_HOME}/data/notes": b"secret: 0123456789abcdef\n",
            f"{SYSTEM_HOME}/data/wal": wal,
        }
    )
    system = SimpleNamespace(data_folders=lambda: ("data",), secret_files=("data/secret", "other"))
    cluster = Cluster([address("n1")], cast("System", system))
    cluster._remotes["n1"] = cast("Remote", host)
    cluster._agents["n1"] = cast("Agent", host)
    assert cluster.collect(tmp_path, lambda: 0) == ([], [])
    kept = {path.name: path.read_bytes() for path in (tmp_path / "n1").rglob("*") if path.is_file()}
    assert not any(secret in content for content in kept.values())
    assert kept["system.log"] == b"serves\nproves itself with [redacted]\n"
    assert kept["secret"] == b"[redacted]\n"
    assert kept["wal"] == wal


def test_a_host_whose_log_could_not_be_had_is_told_apart_from_one_that_lacks_something(
    tmp_path: Path,
) -> None:
    host = FakeHost({LOG: b"serves\n"})
    system = SimpleNamespace(data_folders=lambda: ("data",), secret_files=())
    cluster = Cluster([address("n1"), address("n2")], cast("System", system))
    for node in ("n1", "n2"):
        cluster._remotes[node] = cast("Remote", host)
        cluster._agents[node] = cast("Agent", host)
    (tmp_path / "n2").write_text("in the way")
    unread, lacking = cluster.collect(tmp_path, lambda: 0)
    assert [len(unread), lacking] == [1, []]
    assert unread[0].startswith("n2: not everything could be fetched")


def test_a_log_that_is_too_long_was_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.cluster._LOG_BYTES_MAX", 4)
    host = FakeHost({LOG: b"panic\nend\n", f"{SYSTEM_HOME}/data/wal": b"123456"})
    system = SimpleNamespace(data_folders=lambda: ("data",), secret_files=())
    cluster = Cluster([address("n1")], cast("System", system))
    cluster._remotes["n1"] = cast("Remote", host)
    cluster._agents["n1"] = cast("Agent", host)
    unread, lacking = cluster.collect(tmp_path, lambda: 0)
    assert unread == ["n1: the first 6 bytes of its log were not looked at"]
    assert lacking == []
