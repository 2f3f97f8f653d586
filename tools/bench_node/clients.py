"""The load: clients that each send one request, await its answer and send the next.

Rules of this file:
- One process, one loop, raw sockets, requests made beforehand: the client must not be what is
  measured. How fast it is by itself is measured too, against `instant_server`.
- A client has a connection to each of its addresses and takes them in turn.
- An operation counts when its answer came within the window; 200 is success, all else an error.
  After an error a client rests, so that a server that refuses is not asked ten thousand times.
- Every wait has a limit.

Standard input: a line of JSON, the plan; then, after "ready" was said, a line with three moments of
CLOCK_MONOTONIC in nanoseconds: start, window from, window until. Standard output: a line of JSON,
then the latencies in nanoseconds, 64 bits each.
"""

from __future__ import annotations

import heapq
import json
import select
import socket
import sys
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tools.bench_node import wire

ANSWER_S_MAX = 10.0
CONNECT_S_MAX = 2.0
REST_NS = 20_000_000
READ_BYTES = 64 * 1024


@dataclass(slots=True)
class Client:
    """One closed loop."""

    number: int
    requests: list[bytes]
    sockets: list[socket.socket | None]
    turn: int = 0
    sent: int = 0
    sent_ns: int = 0
    waits: bool = False
    received: bytes = b""


@dataclass(slots=True)
class Load:
    """All clients of this process."""

    plan: dict[str, Any]
    clients: list[Client] = field(default_factory=list)
    latencies: array[int] = field(default_factory=lambda: array("Q"))
    errors: Counter[str] = field(default_factory=Counter)
    poll: select.epoll = field(default_factory=select.epoll)
    owners: dict[int, tuple[Client, int]] = field(default_factory=dict)
    resting: list[tuple[int, int]] = field(default_factory=list)

    def prepare(self) -> None:
        """Make the requests and the connections."""
        plan = self.plan
        for number in plan["clients"]:
            addresses = plan["addresses"]
            client = Client(number, self._requests(number), [None] * len(addresses))
            client.turn = number % len(addresses)
            self.clients.append(client)
            for index in range(len(addresses)):
                self._connect(client, index)

    def _requests(self, number: int) -> list[bytes]:
        """The keys in turn, each client beginning elsewhere."""
        plan = self.plan
        keys = plan["keys"]
        value = "v" * plan["value_bytes"]
        return [
            wire.request(plan["system"], plan["kind"], wire.key_named((number * 7 + i) % keys), value)
            for i in range(keys)
        ]  # fmt: skip

    def _connect(self, client: Client, index: int) -> socket.socket | None:
        host, port = self.plan["addresses"][index]
        try:
            connection = socket.create_connection((host, port), timeout=CONNECT_S_MAX)
        except OSError as error:
            self.errors[f"connect: {error.strerror or error}"] += 1
            return None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(0.0)
        client.sockets[index] = connection
        self.owners[connection.fileno()] = client, index
        self.poll.register(connection, select.EPOLLIN)
        return connection

    def _lost(self, client: Client, index: int) -> None:
        """A connection is over; if the client awaited an answer there, it gets none."""
        connection = client.sockets[index]
        if connection is not None:
            self.owners.pop(connection.fileno(), None)
            connection.close()
            client.sockets[index] = None
        if client.waits and client.turn == index:
            self._failed(client, "connection lost")

    def _failed(self, client: Client, reason: str) -> None:
        self.errors[reason] += 1
        self._rest(client, REST_NS)

    def _rest(self, client: Client, rest_ns: int) -> None:
        client.waits = False
        client.received = b""
        client.turn = (client.turn + 1) % len(client.sockets)
        heapq.heappush(self.resting, (time.monotonic_ns() + rest_ns, client.number))

    def _send(self, client: Client, now_ns: int) -> None:
        connection = client.sockets[client.turn] or self._connect(client, client.turn)
        request = client.requests[client.sent % len(client.requests)]
        client.sent += 1
        client.sent_ns = now_ns
        client.waits = True
        try:
            if connection is None or connection.send(request) != len(request):
                self._failed(client, "not sent")
        except OSError:
            self._lost(client, client.turn)

    def run(self, start_ns: int, from_ns: int, until_ns: int) -> None:
        """Load from `start_ns` to `until_ns`; what ends between the last two counts."""
        while (wait_ns := start_ns - time.monotonic_ns()) > 0:
            time.sleep(min(1.0, wait_ns / 1e9))
        numbered = {client.number: client for client in self.clients}
        self.errors.clear()
        for client in self.clients:
            self._send(client, time.monotonic_ns())
        late_check_ns = start_ns
        while (now_ns := time.monotonic_ns()) < until_ns:
            while self.resting and self.resting[0][0] <= now_ns:
                self._send(numbered[heapq.heappop(self.resting)[1]], now_ns)
            if now_ns - late_check_ns > 1_000_000_000:
                late_check_ns = now_ns
                self._give_up_late(now_ns)
            wake_ns = min(until_ns, now_ns + 500_000_000)
            if self.resting:
                wake_ns = min(wake_ns, self.resting[0][0])
            # A wait is rounded up to milliseconds by epoll: fine, answers end it early.
            for descriptor, _ in self.poll.poll(max(0.0, (wake_ns - now_ns) / 1e9)):
                self._receive(descriptor, from_ns, until_ns)

    def _receive(self, descriptor: int, from_ns: int, until_ns: int) -> None:
        owner = self.owners.get(descriptor)
        if owner is None:
            return  # closed a moment ago, by what the same poll told
        client, index = owner
        connection = client.sockets[index]
        assert connection is not None
        try:
            data = connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or not client.waits or client.turn != index:
            self._lost(client, index)
            return
        if client.received:
            data = client.received + data
        status = wire.answer_status(data)
        if status == 0:
            client.received = data
            return
        now_ns = time.monotonic_ns()
        if status != 200:
            if now_ns >= from_ns:
                self.errors[f"status {status}"] += 1
            self._rest(client, REST_NS)
            return
        if from_ns <= now_ns <= until_ns:
            self.latencies.append(now_ns - client.sent_ns)
        if self.plan["pause_ms"]:
            self._rest(client, self.plan["pause_ms"] * 1_000_000)
            return
        client.received = b""
        client.turn = (index + 1) % len(client.sockets)
        self._send(client, now_ns)

    def _give_up_late(self, now_ns: int) -> None:
        for client in self.clients:
            if client.waits and now_ns - client.sent_ns > ANSWER_S_MAX * 1e9:
                self.errors["no answer"] += 1
                self._lost(client, client.turn)

    def close(self) -> None:
        """Close every connection."""
        for client in self.clients:
            for connection in client.sockets:
                if connection is not None:
                    connection.close()
        self.poll.close()


def main() -> int:
    """The worker process."""
    load = Load(json.loads(sys.stdin.readline()))
    load.prepare()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    moments = sys.stdin.readline().split()
    if len(moments) != 3:
        return 1  # the parent gave up
    began_s = time.process_time()
    load.run(*map(int, moments))
    busy_s = time.process_time() - began_s
    load.close()
    head = {"operations": len(load.latencies), "errors": dict(load.errors), "cpu_s": busy_s}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + load.latencies.tobytes())
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
