"""The thinnest HTTP server over PySyncObj, for the benchmark: POST /v1/kv read and write, GET /status.

Rules of this file:
- Connections hang on the library's own poller and its loop is turned by hand: one thread, nothing
  is handed over, so nothing here makes the library slower than it is.
- PySyncObj has no linearizable read: a read is a replicated command, an entry in the log.
- The journal is a file and dumps are kept, as its documentation says for a cluster that must
  survive restarts. The library writes the journal through a memory map and never syncs it: it has
  no fsync to switch on (`FileJournal.flush` exists and nothing calls it).
- `--prompt` sets `appendEntriesUseBatch=False` (send at once, the library's own advice for speed of
  single requests); without it, all is as the library has it: entries leave every 100 ms.

    python pysyncobj_server.py HOST:PEER_PORT HOST:CLIENT_PORT DIRECTORY OTHER_HOST:PEER_PORT... [--prompt]
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Callable
from typing import Any

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated  # type: ignore

READ = 1
PARTNER, CONNECTED = "partner_node_status_server_", 2


class Store(SyncObj):  # type: ignore[misc]
    """A dictionary."""

    def __init__(self, own: str, others: list[str], directory: str, *, prompt: bool) -> None:
        configuration = SyncObjConf(
            autoTick=False,
            appendEntriesUseBatch=not prompt,
            journalFile=f"{directory}/journal",
            fullDumpFile=f"{directory}/dump",
        )
        super().__init__(own, others, configuration)
        self._values: dict[str, Any] = {}

    @replicated  # type: ignore[misc]
    def put(self, key: str, value: Any) -> Any:
        """Set a key."""
        self._values[key] = value
        return value

    @replicated  # type: ignore[misc]
    def get(self, key: str) -> Any:
        """Read a key where every write before is known: in the order of the log."""
        return self._values.get(key)

    def hang_on(self, descriptor: int, callback: Callable[[int, int], None]) -> None:
        """Have the library's poller watch a socket."""
        self._poller.subscribe(descriptor, callback, READ)

    def let_go(self, descriptor: int) -> None:
        """Watch it no longer."""
        self._poller.unsubscribe(descriptor)


class Server:
    """One request at a time on each connection."""

    def __init__(self, store: Store, host: str, port: int) -> None:
        self._store = store
        self._listener = socket.create_server((host, port), backlog=512)
        self._received: dict[int, bytes] = {}
        self._connections: dict[int, socket.socket] = {}
        store.hang_on(self._listener.fileno(), self._accept)

    def _accept(self, _: int, __: int) -> None:
        connection = self._listener.accept()[0]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = connection
        self._received[connection.fileno()] = b""
        self._store.hang_on(connection.fileno(), self._read)

    def _read(self, descriptor: int, _: int) -> None:
        connection = self._connections[descriptor]
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._store.let_go(descriptor)
            del self._connections[descriptor], self._received[descriptor]
            connection.close()
            return
        data = self._received[descriptor] + data
        head, blank, body = data.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not blank or len(body) < int(length or 0):
            self._received[descriptor] = data
            return
        self._received[descriptor] = b""
        if head.startswith(b"GET /status"):
            status = self._store.getStatus()
            leader, own = str(status["leader"]), str(status["self"])
            partners = [status[key] for key in status if key.startswith(PARTNER)]
            settled = all(partner == CONNECTED for partner in partners)
            _answer(connection, 200, {"leader": leader, "self": own, "settled": settled})
            return
        request = json.loads(body)

        def done(value: Any, failure: int) -> None:
            if failure == FAIL_REASON.SUCCESS:
                _answer(connection, 200, {"ok": True, "value": value})
            else:
                _answer(connection, 503, {"ok": False, "error": failure})

        if request["op"] == "write":
            self._store.put(request["key"], request["value"], callback=done)
        else:
            self._store.get(request["key"], callback=done)


def _answer(connection: socket.socket, status: int, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode("ascii")
    head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    with contextlib.suppress(OSError):  # the client is gone; the poller will say so
        connection.send(head + body)


def main() -> None:
    """Serve until the process is ended."""
    words = [word for word in sys.argv[1:] if word != "--prompt"]
    own, client, directory, *others = words
    store = Store(own, others, directory, prompt="--prompt" in sys.argv)
    host, _, port = client.rpartition(":")
    Server(store, host, int(port))
    while True:
        store.doTick(0.05)


if __name__ == "__main__":
    main()
