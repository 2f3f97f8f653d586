"""Whether lab hosts reach each other: by a connection, and one way only."""

from concurrent.futures import ThreadPoolExecutor

from harness.remote.ssh import Remote

CONNECT = (
    "import socket, sys\n"
    "for address in sys.argv[1:]:\n"
    "    try: socket.create_connection((address, 22), 1.5).close(); print('reached')\n"
    "    except OSError: print('lost')\n"
)
RECEIVE = (
    "import socket, sys\n"
    "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
    "s = socket.socket(family, socket.SOCK_DGRAM); s.bind((sys.argv[1], 4444)); s.settimeout(1.5)\n"
    "try: print(s.recv(100).decode())\n"
    "except TimeoutError: print('nothing')\n"
)
SEND = (
    "import socket, sys, time\n"
    "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
    "s = socket.socket(family, socket.SOCK_DGRAM)\n"
    "for _ in range(12): s.sendto(b'hello', (sys.argv[1], 4444)); time.sleep(0.1)\n"
)


def connects(source: Remote, *targets: str) -> list[str]:
    return source.check(["python3", "-c", CONNECT, *targets]).split()


def hears(receiver: Remote, sender: Remote, *, at: str | None = None) -> bool:
    """Whether packets from one host arrive at another, answers not needed."""
    with ThreadPoolExecutor(1) as pool:
        address = at or receiver.host.address
        heard = pool.submit(receiver.check, ["python3", "-c", RECEIVE, address])
        sender.check(["python3", "-c", SEND, address])
        return heard.result(timeout=20) == "hello\n"
