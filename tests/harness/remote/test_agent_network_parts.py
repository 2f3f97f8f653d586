"""The parts of network faults that need no host: words for tc, fates of packets, what tc says."""

import struct
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.nemesis.plan import VARIANTS, make_plan
from harness.remote.agent import echo, packet_queue, traffic_control
from harness.remote.agent.effect import (
    Effect,
    EffectError,
    corrupted,
    fate,
    netem_words,
    read_effect,
    tbf_words,
)
from harness.remote.agent.packet_queue import PacketQueue, QueueError

IPV4_HEADER = struct.pack(
    "!BBHHHBBH4s4s", 0x45, 0, 60, 1, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2"
)
IPV6_HEADER = struct.pack("!IHBB16s16s", 6 << 28, 20, 17, 64, bytes(16), bytes(16))


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (Effect("latency", delay_ms=50), "limit 2000 delay 50ms"),
        (Effect("jitter", delay_ms=50, jitter_ms=20), "limit 2000 delay 50ms 20ms"),
        (Effect("loss", percent=30), "limit 2000 loss 30%"),
        (Effect("duplication", percent=30), "limit 2000 duplicate 30%"),
        (Effect("reordering", delay_ms=9, percent=30), "limit 2000 delay 9ms reorder 30%"),
        (Effect("corruption", percent=30), "limit 2000 corrupt 30%"),
        # What passes in 400 ms, in packets of 1500 bytes.
        (Effect("bandwidth", kbit_s=480), "limit 16 rate 480kbit"),
    ],
)
def test_netem_is_told_in_the_words_of_its_manual(effect: Effect, words: str) -> None:
    assert " ".join(netem_words(effect)) == f"netem {words}"


def test_a_class_of_its_own_is_made_in_three_commands() -> None:
    child = tbf_words(Effect("bandwidth", kbit_s=256))
    assert [" ".join(words) for words in traffic_control.commands("eth0", child)] == [
        "tc qdisc add dev eth0 root handle 5b17: htb",
        "tc class add dev eth0 parent 5b17: classid 5b17:1 htb rate 10gbit quantum 60000",
        "tc qdisc add dev eth0 parent 5b17:1 handle 5b18: "
        "tbf rate 256kbit burst 4096 latency 400ms",
    ]


def test_only_our_part_of_a_device_is_counted() -> None:
    root = {"kind": "htb", "handle": "5b17:", "root": True, "packets": 900, "drops": 9}
    ours = {
        "kind": "netem",
        "handle": "5b18:",
        "parent": "5b17:1",
        "options": {"limit": 2000, "loss-random": {"loss": 0.3, "correlation": 0}},
        "packets": 70,
        "drops": 30,
        "overlimits": 5,
    }
    theirs = {"kind": "fq_codel", "handle": "0:", "root": True, "packets": 5, "drops": 5}
    assert traffic_control.counted([root, ours, theirs, ours]) == {
        "passed": 140,
        "lost": 60,
        "waited": 10,
    }
    assert traffic_control.counted([]) == {"passed": 0, "lost": 0, "waited": 0}


class Tools:
    """Plays tc: says yes until a word that it does not know."""

    def __init__(self, unknown: str, listed: str) -> None:
        self.asked: list[str] = []
        self._unknown, self._listed = unknown, listed

    def __call__(self, *words: str) -> str:
        self.asked.append(" ".join(words))
        if self._unknown in words:
            raise traffic_control.ToolError("tc: Specified qdisc kind is unknown.")
        return self._listed


def test_a_class_that_cannot_be_made_leaves_no_root_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools("netem", '[{"kind":"htb","handle":"5b17:","root":true}]')
    monkeypatch.setattr(traffic_control, "run_tool", tools)
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    with pytest.raises(traffic_control.ToolError, match="unknown"):
        traffic_control.install(["eth0"], netem_words(Effect("loss", percent=9)))
    assert tools.asked[-1] == "tc qdisc delete dev eth0 root handle 5b17:"


def test_a_root_of_somebody_elses_is_not_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools("none", '[{"kind":"htb","handle":"1:","root":true}]')
    monkeypatch.setattr(traffic_control, "run_tool", tools)
    monkeypatch.setattr("shutil.which", lambda name: None)
    traffic_control.remove(["eth0"])
    assert tools.asked == []  # without tc there is nothing to be undone
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    traffic_control.remove(["eth0"])
    assert len(tools.asked) == 1
    assert "delete" not in tools.asked[0]


@given(seed=st.integers(min_value=0, max_value=2**63))
def test_the_agent_takes_every_effect_that_can_be_planned(seed: int) -> None:
    plan = make_plan(
        seed=seed,
        kinds=("network",),
        nodes=("n1", "n2", "n3"),
        time_limit_ns=60_000_000_000,
        interval_ns=5_000_000_000,
    )
    assert {fault.name for fault in plan.faults} == set(VARIANTS["network"])
    for fault in plan.faults:
        effect = read_effect({"name": fault.name, **fault.parameters})
        assert {key: getattr(effect, key) for key in fault.parameters} == dict(fault.parameters)
        assert effect.jitter_ms <= effect.delay_ms <= 200
        assert effect.percent <= 40
        assert effect.kbit_s == 0 or effect.kbit_s >= 128
        assert 1 <= len(set(fault.targets)) == len(fault.targets) <= 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "an effect has a name, one of: latency, "),
        ({"name": "gloom"}, "an effect has a name"),
        ({"name": "loss"}, "'percent' must be a whole number from 1 to 90"),
        ({"name": "loss", "percent": 100}, "'percent' must be"),
        ({"name": "loss", "percent": True}, "'percent' must be"),
        ({"name": "loss", "percent": 3.5}, "'percent' must be"),
        ({"name": "jitter", "delay_ms": 5}, "'jitter_ms' must be"),
    ],
)
def test_an_effect_that_makes_no_sense_is_refused_with_the_reason(content: Any, said: str) -> None:
    with pytest.raises(EffectError, match=said):
        read_effect(content)


def fates(effect: Effect) -> list[Any]:
    random = Random(1)
    return [fate(effect, random) for _ in range(2000)]


def test_a_packet_in_the_queue_fares_as_its_effect_says() -> None:
    assert {one.delay_ms for one in fates(Effect("latency", delay_ms=50))} == {50}
    jittery = [one.delay_ms for one in fates(Effect("jitter", delay_ms=50, jitter_ms=20))]
    assert 30 <= min(jittery) < 33
    assert 67 < max(jittery) <= 70
    assert min(one.delay_ms for one in fates(Effect("jitter", delay_ms=1, jitter_ms=20))) == 0
    copies = Counter(one.copies for one in fates(Effect("duplication", percent=25)))
    assert set(copies) == {1, 2}
    assert 400 < copies[2] < 600
    overtaking = Counter(
        one.delay_ms for one in fates(Effect("reordering", delay_ms=9, percent=25))
    )
    assert set(overtaking) == {0, 9}
    assert 400 < overtaking[0] < 600
    assert 400 < sum(one.corrupt for one in fates(Effect("corruption", percent=25))) < 600
    with pytest.raises(EffectError, match="not the means"):
        fate(Effect("bandwidth", kbit_s=100), Random(1))


@given(seed=st.integers(), body=st.binary(min_size=1, max_size=60), v6=st.booleans())
def test_a_corrupted_packet_differs_in_one_bit_behind_its_header(
    seed: int, body: bytes, v6: bool
) -> None:
    header = IPV6_HEADER if v6 else IPV4_HEADER
    struck = corrupted(header + body, Random(seed))
    assert struck[: len(header)] == header
    assert len(struck) == len(header) + len(body)
    changed = [a ^ b for a, b in zip(header + body, struck, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0].bit_count() == 1
    assert corrupted(header, Random(seed)) == header  # there is nothing to strike


def test_where_no_tun_device_can_be_had_there_is_no_queue_and_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    effect = Effect("latency", delay_ms=5)
    plain = tmp_path / "plain"
    plain.touch()
    monkeypatch.setattr(packet_queue, "_TUN", plain)
    with pytest.raises(QueueError, match="no tun device can be made"):
        PacketQueue(effect, ["10.0.0.2"], mark=7, notes=tmp_path)
    monkeypatch.setattr(packet_queue, "_TUN", tmp_path / "absent")
    monkeypatch.setattr("os.mknod", refuse)
    with pytest.raises(QueueError, match=r"absent cannot be opened \(No such file"):
        PacketQueue(effect, ["10.0.0.2"], mark=7, notes=tmp_path)


def refuse(*_: object) -> None:
    raise PermissionError("not in this container")


def test_wrong_checksums_of_all_protocols_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "snmp").write_text(
        "Ip: Forwarding InHdrErrors\nIp: 2 9\n"
        "Icmp: InMsgs InErrors InCsumErrors\nIcmp: 8 2 1\n"
        "Tcp: RtoMin OutRsts InCsumErrors\nTcp: 200 3 20\n"
        "Udp: InErrors InCsumErrors\nUdp: 9 300\n",
        encoding="ascii",
    )
    (tmp_path / "netstat").write_text("IpExt: InNoRoutes InCsumErrors\nIpExt: 7 4000\n", "ascii")
    (tmp_path / "snmp6").write_text("Ip6InReceives 5\nUdp6InCsumErrors 50000\n", encoding="ascii")
    assert echo.checksum_errors(tmp_path) == 54321
    assert echo.checksum_errors(tmp_path / "nothing here") == 0


@given(st.binary(max_size=99))
def test_a_packet_with_its_checksum_in_it_sums_up_to_zero(body: bytes) -> None:
    even = body + bytes(len(body) % 2)
    assert echo._checksum(even + struct.pack("!H", echo._checksum(even))) == 0
