"""How splitbrain deploys the naive store and speaks to it: `--system docs/examples/naive_system.py`."""

import json
from pathlib import Path

import requests

from splitbrain import Completion, EventType, SystemKind, endpoint

PORT = 8000
STORE = Path(__file__).with_name("naive_store.py")


class Client:
    """Speaks to one node about registers."""

    def __init__(self, node, url, timeout_s):
        self.node, self.url, self.timeout_s = node, url, timeout_s
        self.session = requests.Session()

    def invoke(self, invocation):
        url = f"{self.url}/{invocation.key}"
        try:
            if invocation.f == "read":
                answer = self.session.get(url, timeout=self.timeout_s)
                return Completion(EventType.OK, answer.json())
            if invocation.f == "write":
                body = json.dumps(invocation.value)
                self.session.put(url, data=body, timeout=self.timeout_s).raise_for_status()
                return Completion(EventType.OK, invocation.value)
            return Completion(EventType.FAIL, invocation.value, "no-such-operation")
        except (requests.RequestException, ValueError) as error:
            # Whether it took effect is not known: never say "fail" here.
            return Completion(EventType.INFO, invocation.value, type(error).__name__)

    def close(self):
        self.session.close()


class Naive:
    """A cluster of it."""

    name, version = "naive", "1"
    offers = frozenset({"register"})
    environmental_exits = frozenset()

    def __init__(self, spec, addresses, scratch):
        self.timeout_s = spec.operation_timeout
        self.urls = {node: f"http://{endpoint(at, PORT)}" for node, at in addresses.items()}

    def files(self):
        return {"naive_store.py": STORE}

    def data_folders(self):
        return ()

    def prepare(self, node, home):
        return []

    def command(self, node, home):
        others = [url for other, url in self.urls.items() if other != node]
        return ["python3", f"{home}/naive_store.py", str(PORT), *others]

    def client(self, node, data, *, timeout_s=None, retries=0):
        return Client(node, self.urls[node], timeout_s or self.timeout_s)

    def status(self, node, timeout_s):
        return None  # it has no leader and says nothing of itself


SYSTEM = SystemKind(name="naive", make=Naive, offers=Naive.offers)
