"""A server that answers every request at once: what is left is the client's own ceiling.

Rules of this file: one read is one request (clients send each in one piece); the answer is
always the same 200, as long as our node's.

    python -m tools.bench_node.instant_server HOST PORT
"""

from __future__ import annotations

import select
import socket
import sys

BODY = b'{"ok":true,"value":"' + b"v" * 64 + b'","index":123456,"term":1,"node":"n1"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


def serve(host: str, port: int) -> None:
    """Answer until the process is ended."""
    listener = socket.create_server((host, port), backlog=512)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in poll.poll(1.0):
            if descriptor == listener.fileno():
                connection = listener.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            connection = connections[descriptor]
            try:
                # Clients send a request in one piece and await the answer: one read is a request.
                request = connection.recv(65536)
                if request:
                    connection.send(ANSWER)
                    continue
            except OSError:
                pass
            del connections[descriptor]
            connection.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
