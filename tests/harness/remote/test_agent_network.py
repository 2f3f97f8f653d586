"""Network faults on real hosts: each is felt by programs that know nothing of it, and is undone.

Whatever the means is here (netem, or what takes its place), the effect has to be the same.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from harness.errors import HostError
from harness.hosts.lab import Lab
from harness.remote.agent_client import Agent
from harness.remote.ssh import Remote
from harness.remote.traffic import Shaped

pytestmark = pytest.mark.lab

LEASE_S = 2.0
CLEAN_S = 20.0
SENT = 80
LATENCY: dict[str, Any] = {"name": "latency", "delay_ms": 60}

# Answers every datagram as it came, and a stream with a sum over what it got, until told to end.
SERVER = """
import hashlib, select, socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('', 4445))
t = socket.create_server(('', 4446))
while select.select([u, t], [], [], 60)[0]:
    ready = select.select([u, t], [], [], 0)[0]
    if u in ready:
        data, who = u.recvfrom(2000); u.sendto(data, who)
        if data == b'end': break
    if t in ready:
        c, _ = t.accept(); c.settimeout(8); h = hashlib.sha256()
        while part := c.recv(65536): h.update(part)
        c.sendall(h.digest()); c.close()
"""
END = """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'end', ('127.0.0.1', 4445))
"""
# Waits for the first answer; then sends numbered datagrams, and prints number and round trip (ms)
# of each answer as it comes. At last a stream, and how long it took (ms).
CLIENT = """
import hashlib, os, select, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((sys.argv[1], 4445))
def ready(wait):
    return select.select([s], [], [], wait)[0]
for _ in range(100):
    try: s.send(b'hello'); answered = ready(0.3) and s.recv(2000)
    except ConnectionRefusedError: answered = False; time.sleep(0.1)
    if answered: break
while ready(0.2): s.recv(2000)
def take(wait):
    while ready(wait):
        number, sent, body = s.recv(2000).split(b',')
        assert body == b'x' * 600, 'a datagram was changed on its way'
        print(int(number), (time.monotonic() - float(sent)) * 1000)
for number in range(int(sys.argv[2])):
    s.send(b'%d,%f,%s' % (number, time.monotonic(), b'x' * 600)); take(0.002)
take(0.3)
data, began = os.urandom(int(sys.argv[3])), time.monotonic()
if not data: sys.exit(print('stream', 0))
t = socket.create_connection((sys.argv[1], 4446), 10)
t.sendall(data); t.shutdown(socket.SHUT_WR)
assert t.recv(32) == hashlib.sha256(data).digest(), 'a stream was changed on its way'
print('stream', (time.monotonic() - began) * 1000)
"""


@dataclass(frozen=True)
class Answers:
    """What came back of the datagrams, in this order, and how long a stream took."""

    numbers: list[int]
    trips_ms: list[float]
    stream_ms: float

    @property
    def missing(self) -> int:
        return SENT - len(set(self.numbers))

    @property
    def doubled(self) -> int:
        return len(self.numbers) - len(set(self.numbers))

    @property
    def out_of_order(self) -> int:
        return sum(b < a for a, b in pairwise(self.numbers))

    @property
    def spread_ms(self) -> float:
        return max(self.trips_ms) - min(self.trips_ms)


@dataclass(frozen=True)
class Pair:
    """Two hosts; the first has an agent, and the other one answers at its address."""

    one: Remote
    other: Remote
    agent: Agent
    peer: str


@pytest.fixture(scope="module")
def pair(test_lab: Lab) -> Iterator[Pair]:
    with (
        Remote.connect(test_lab.hosts[0]) as one,
        Remote.connect(test_lab.hosts[1]) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        done = pool.submit(other.check, ["python3", "-c", SERVER], timeout_s=90)
        try:
            with Agent.launch(one, lease_s=LEASE_S) as agent:
                yield Pair(one, other, agent, other.host.address)
        finally:
            other.check(["python3", "-c", END])
            done.result(timeout=30)


def ask(pair: Pair, stream_bytes: int) -> Answers:
    command = ["python3", "-c", CLIENT, pair.peer, str(SENT), str(stream_bytes)]
    *lines, stream = [line.split() for line in pair.one.check(command, timeout_s=30).splitlines()]
    return Answers(
        [int(line[0]) for line in lines], [float(line[1]) for line in lines], float(stream[1])
    )


@pytest.fixture(scope="module")
def other(pair: Pair) -> Remote:
    return pair.other


@pytest.fixture
def third(test_lab: Lab) -> Iterator[Agent]:
    """The agent of a host that nothing is done to; it only looks."""
    with Remote.connect(test_lab.hosts[2]) as remote, Agent.launch(remote) as agent:
        yield agent


def trip_ms(agent: Agent, *peers: str) -> float:
    return agent.echo(list(peers), count=9, size=100).median_ms or 0.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline_ns = time.monotonic_ns() + int(CLEAN_S * 1e9)
    while not condition():
        assert time.monotonic_ns() < deadline_ns, f"it was still not so that {what}"
        time.sleep(0.05)


def is_clean(remote: Remote) -> bool:
    said = remote.check(
        "nft list tables; ip rule; ip -6 rule; ip -o link; tc qdisc; ip route show table 23319; "
        "ls /srv/splitbrain/agent; true"
    )
    return not any(trace in said for trace in ("splitbrain", "23319", "5b17", "traffic.json"))


EFFECTS: dict[str, tuple[dict[str, int], Callable[[Answers, Answers], bool]]] = {
    "latency": (
        {"delay_ms": 60},
        lambda now, then: min(now.trips_ms) >= 60 > median(then.trips_ms),
    ),
    "jitter": (
        {"delay_ms": 60, "jitter_ms": 50},
        lambda now, then: now.spread_ms > 50 and median(now.trips_ms) > median(then.trips_ms) + 20,
    ),
    "loss": ({"percent": 40}, lambda now, then: now.missing > 10 > then.missing),
    "duplication": ({"percent": 40}, lambda now, then: now.doubled > 10 > then.doubled),
    "reordering": (
        {"delay_ms": 30, "percent": 40},
        lambda now, then: now.out_of_order > 5 > then.out_of_order,
    ),
    "corruption": ({"percent": 30}, lambda now, then: now.missing > 8 > then.missing),
    "bandwidth": ({"kbit_s": 256}, lambda now, then: now.stream_ms > 300 > then.stream_ms),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_is_felt_by_programs_and_ends(pair: Pair, name: str) -> None:
    sizes, is_felt = EFFECTS[name]
    stream_bytes = {"corruption": 6_000, "bandwidth": 24_000}.get(name, 0)
    done = pair.agent.shape([pair.peer], {"name": name, **sizes})
    assert isinstance(done, Shaped)
    assert done.by == "netem" or done.why_not_netem == "the kernel has no netem"
    during = ask(pair, stream_bytes)
    counted = pair.agent.unshape()
    after = ask(pair, stream_bytes)
    assert is_felt(during, after), (during, after)
    assert counted.by == done.by
    assert counted.count("struck") >= SENT // 3
    assert pair.agent.unshape().counts == {}
    assert is_clean(pair.one)


def test_only_the_named_hosts_are_struck_and_never_the_controller(
    pair: Pair, test_lab: Lab
) -> None:
    pair.agent.shape([pair.peer], LATENCY)
    third = test_lab.hosts[2].address
    assert trip_ms(pair.agent, pair.peer) > 50 > trip_ms(pair.agent, third)
    assert trip_ms(pair.agent, test_lab.controller_address) < 50
    for spelling in (test_lab.controller_address, f"::ffff:{test_lab.controller_address}"):
        with pytest.raises(HostError, match=r"host n1 .*will not disturb the controller"):
            pair.agent.shape([third, spelling], LATENCY)
    with pytest.raises(HostError, match=r"host n1 .*'delay_ms' must be a whole number from 1"):
        pair.agent.shape([third], {"name": "latency", "delay_ms": 0})
    assert trip_ms(pair.agent, pair.peer) > 50  # what was refused changed nothing
    pair.agent.unshape()


def test_a_fault_outlives_its_first_lease_beside_a_partition_and_each_ends_alone(
    pair: Pair, test_lab: Lab
) -> None:
    third = test_lab.hosts[2].address
    pair.agent.shape([pair.peer, third], LATENCY)
    pair.agent.cut([third])
    time.sleep(1.5 * LEASE_S)
    assert trip_ms(pair.agent, pair.peer) > 50
    assert pair.agent.echo([third], count=9, size=100).answered == 0
    assert pair.agent.shaping_evidence().lapses == 0
    pair.agent.heal_network()
    assert trip_ms(pair.agent, third) > 50
    pair.agent.cut([third])
    pair.agent.unshape()
    assert pair.agent.echo([third], count=9, size=100).answered == 0
    assert trip_ms(pair.agent, pair.peer) < 50
    pair.agent.shape([pair.peer], LATENCY)
    assert pair.agent.heal().healed
    assert trip_ms(pair.agent, pair.peer) < 50
    assert pair.agent.echo([third], count=9, size=100).answered == 9
    assert is_clean(pair.one)


def test_when_the_agent_is_killed_its_watchdog_undoes_it(test_lab: Lab, other: Remote) -> None:
    doomed = Agent.launch(other, lease_s=LEASE_S)
    doomed.shape([test_lab.hosts[2].address], {"name": "bandwidth", "kbit_s": 256})
    assert not is_clean(other)
    other.check(["kill", "-9", str(doomed.hello.pid)])
    eventually(lambda: is_clean(other), "the host is clean")
    doomed.close()


@pytest.mark.parametrize("name", ["latency", "bandwidth"])
def test_with_the_watchdog_killed_too_packets_pass_and_the_next_agent_cleans_up(
    test_lab: Lab, other: Remote, third: Agent, name: str
) -> None:
    doomed = Agent.launch(other, lease_s=LEASE_S)
    doomed.shape([test_lab.hosts[2].address], {"name": name, **EFFECTS[name][0]})
    back = other.host.address

    def is_slow() -> bool:
        seen = third.echo([back], count=50, size=1200)
        return seen.answered < 50 or (seen.median_ms or 0) > 50

    assert is_slow()
    both = other.check(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q 'agent[.]pyz' && echo ${p#/proc/}; "
        "done 2>/dev/null; true"
    ).split()
    assert len(both) == 2
    other.check(["kill", "-9", *both])
    eventually(lambda: not is_slow(), "packets pass")
    assert not is_clean(other)
    doomed.close()
    with Agent.launch(other, lease_s=LEASE_S):
        assert is_clean(other)
