"""A replicated register as one might write it on a free afternoon. It is wrong: find out where.

    python3 naive_store.py PORT OTHER...     where OTHER is http://address:port

PUT /key keeps the value and hands it to the others; GET /key answers what is kept here.
"""

import http.server
import socket
import sys
import threading
import urllib.request

VALUES = {}
OTHERS = sys.argv[2:]


def hand_on(other, path, body):
    request = urllib.request.Request(f"{other}/copy{path}", data=body, method="PUT")
    try:
        urllib.request.urlopen(request, timeout=1).close()
    except OSError:
        print(f"{other} did not hear of {path}", file=sys.stderr, flush=True)


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.removeprefix("/copy")
        VALUES[path] = body
        if path == self.path:
            for other in OTHERS:
                threading.Thread(target=hand_on, args=(other, path, body), daemon=True).start()
        self.answer(body)

    def do_GET(self):
        self.answer(VALUES.get(self.path, b"null"))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    # Heard over IPv4 as well, where there is IPv6.
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    request_queue_size = 128


Server(("", int(sys.argv[1])), Store).serve_forever()
