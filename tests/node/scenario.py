"""Stories in plain text, told to pure cores; what happens is written beside each command.

Rules of this file:
- A file is blocks of command lines, ``----``, and the trace that they must give; ``#`` begins a
  comment. The form is that of etcd-io/raft's testdata; README.txt beside the stories has the commands.
- Nothing happens by itself: time passes by `tick` and `run`, messages arrive by `deliver`,
  `stabilize` and `run`. Chance is gone: a waits 550 ms for a leader, b 600 ms, c 650 ms, and so on.
- A message is printed when it arrives or is lost, with an arrow; what a node does is printed at once.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from core_disk import Disk
from scenario_actor import ARROWS, Actor, message_text

from node.core.membership import Configuration
from node.core.messages import KINDS, Entry, HardState, Message
from node.core.settings import MS, Settings

STEP_MS = 10
STEPS_MAX = 400


class Stage:
    """All nodes of one story, and the messages between them."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.settings = Settings(500 * MS, 50 * MS)
        self.actors: dict[str, Actor] = {}
        self.messages: list[Message] = []
        self.cut: set[frozenset[str]] = set()
        self.lines: list[str] = []
        self.hidden = False

    def say(self, text: str) -> None:
        self.lines.append(text)

    def run(self, line: str) -> None:
        """One command line."""
        command, *arguments = line.split()
        handler: Callable[..., None] = getattr(self, "do_" + command.replace("-", "_"))
        handler(*arguments)

    def do_quietly(self, *words: str) -> None:
        before = list(self.lines)
        self.run(" ".join(words))
        self.lines = before

    # Making and unmaking.

    def do_nodes(self, *words: str) -> None:
        """nodes NAME... [term=N] [log=1,1,2] [voters=a,b,c] [batch=N] [leases]"""
        names = [word for word in words if "=" not in word and word != "leases"]
        options = dict(word.split("=") for word in words if "=" in word)
        batch = int(options.get("batch", "256"))
        self.settings = Settings(500 * MS, 50 * MS, batch, leases="leases" in words)
        voters = [one for one in options.get("voters", ",".join(names)).split(",") if one]
        terms = [int(term) for term in options.get("log", "").split(",") if term]
        for name in names:
            entries = tuple(Entry(i, term, f"d{i}") for i, term in enumerate(terms, 1))
            disk = Disk(Configuration(tuple(voters)).to_text())
            disk.hard_state, disk.entries = HardState(int(options.get("term", "0"))), entries
            self.actors[name] = Actor(
                name, disk, self.settings, self.now_ms, self.say, self.messages.append
            )

    def do_crash(self, name: str) -> None:
        self.actors[name].up = False

    def do_restart(self, name: str) -> None:
        self.actors[name].start(self.now_ms)

    def do_slow_disk(self, name: str) -> None:
        self.actors[name].slow = True

    def do_persist(self, name: str) -> None:
        self.actors[name].persist()
        self.actors[name].pump()

    def do_cut(self, *pairs: str) -> None:
        """cut a-b a-c: nothing gets through between these."""
        self.cut |= {frozenset(pair.split("-")) for pair in pairs}

    def do_heal(self) -> None:
        self.cut = set()

    # Time and messages.

    def _live(self) -> Iterator[Actor]:
        return (actor for actor in self.actors.values() if actor.up)

    def do_tick(self, duration_ms: str, *names: str) -> None:
        """tick MS [NAME...]: time passes, messages wait; who is not named is stopped meanwhile."""
        for _ in range(int(duration_ms) // STEP_MS):
            self.now_ms += STEP_MS
            for actor in self._live():
                if not names or actor.name in names:
                    actor.core.tick(self.now_ms * MS)
                    actor.pump()

    def do_run(self, duration_ms: str) -> None:
        """run MS: time passes and messages arrive at once; heartbeats are not printed."""
        self.hidden = True
        for _ in range(int(duration_ms) // STEP_MS):
            self.do_tick(str(STEP_MS))
            self.do_stabilize()
        self.hidden = False

    def do_stabilize(self) -> None:
        """Let messages arrive until there are none."""
        for _ in range(STEPS_MAX):
            if not self.messages:
                return
            self._arrive(self.messages.pop(0))
        raise AssertionError("they never stop talking")

    def _chosen(self, words: tuple[str, ...]) -> list[Message]:
        """Messages now under way, by routes like a->b, and by kinds like append_request."""
        routes = [word for word in words if "->" in word]
        kinds = [KINDS[word] for word in words if "->" not in word]
        return [
            message
            for message in self.messages
            if (not routes or f"{message.source}->{message.target}" in routes)
            and (not kinds or type(message) in kinds)
        ]

    def do_deliver(self, *words: str) -> None:
        for message in self._chosen(words):
            self.messages.remove(message)
            self._arrive(message)

    def do_repeat(self, *words: str) -> None:
        """Let messages arrive that stay under way as well."""
        for message in self._chosen(words):
            self._arrive(message)

    def do_drop(self, *words: str) -> None:
        for message in self._chosen(words):
            self.messages.remove(message)
            self.say(f"{message_text(message)}  LOST")

    def _arrive(self, message: Message) -> None:
        actor = self.actors[message.target]
        lost = not actor.up or frozenset((message.source, message.target)) in self.cut
        if not self.hidden or "heartbeat" not in ARROWS[type(message)]:
            self.say(message_text(message) + ("  LOST" if lost else ""))
        if not lost:
            actor.core.tick(self.now_ms * MS)
            actor.core.step(message)
            actor.pump()

    # What nodes are asked.

    def do_campaign(self, name: str) -> None:
        """Its time to wait for a leader is over."""
        core = self.actors[name].core
        core._election_due_ns = core._now_ns
        core.tick(core._now_ns)
        self.actors[name].pump()

    def do_propose(self, name: str, *data: str) -> None:
        for datum in data:
            if self.actors[name].core.propose(datum) is None:
                self.say(f"{name} refuses {datum}")
        self.actors[name].pump()

    def do_read(self, name: str, context: str) -> None:
        if not self.actors[name].core.read(int(context)):
            self.say(f"{name} refuses read {context}")
        self.actors[name].pump()

    def do_change(self, name: str, what: str, member: str) -> None:
        """change LEADER add|remove MEMBER"""
        core = self.actors[name].core
        now = core.log.configuration
        to = now.with_member(member, member, member) if what == "add" else now.without(member)
        if core.change(to) is None:
            self.say(f"{name} refuses the change")
        self.actors[name].pump()

    def do_replace(self, name: str, *voters: str) -> None:
        """replace LEADER VOTER...: all voters at once, by one joint configuration."""
        core = self.actors[name].core
        if core.change(Configuration(voters, core.log.configuration.voters)) is None:
            self.say(f"{name} refuses the change")
        self.actors[name].pump()

    def do_transfer(self, name: str, target: str) -> None:
        if not self.actors[name].core.transfer(target):
            self.say(f"{name} refuses to hand over to {target}")
        self.actors[name].pump()

    def do_snapshot(self, name: str) -> None:
        self.actors[name].snapshot()

    def do_lease(self, *names: str) -> None:
        for name in names:
            held = self.actors[name].core.has_lease(self.now_ms * MS)
            self.say(f"{name} has {'a' if held else 'no'} lease")

    def do_state(self, *names: str) -> None:
        for name in names:
            actor = self.actors[name]
            self.say(f"{name} has applied {actor.applied}: {' '.join(actor.items)}")

    def do_status(self, *names: str) -> None:
        for name in names or sorted(self.actors):
            self.say(self.actors[name].status())

    def do_pending(self) -> None:
        for message in self.messages:
            self.say(message_text(message))


def play(text: str) -> str:
    """The same story with the traces that it gives now."""
    stage = Stage()
    told: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        lines = block.split("\n")
        head = lines[: lines.index("----")] if "----" in lines else lines
        commands = [line for line in head if line and not line.startswith("#")]
        stage.lines = []
        for line in commands:
            stage.run(line)
        traced = ["----", *(stage.lines or ["ok"])] if commands else []
        told.append("\n".join([*head, *traced]))
    return "\n\n".join(told) + "\n"


def stories() -> list[Path]:
    """All files of stories."""
    found = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
    return [path for path in found if path.name != "README.txt"]
