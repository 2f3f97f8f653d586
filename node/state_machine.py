"""The key-value store that the log drives.

Rules of this file:
- `apply` is a pure function of the state and the entry: no clock, no chance, no node name. Two
  nodes that have applied the same entries hold the same state and show the same hash.
- Time is that of the log: the largest stamp applied. What expires does so in `apply`, by that time.
- A malformed entry changes nothing (not even the time), on every node alike.
- An image is taken at once and written out later, perhaps on another thread; nothing that it holds
  is changed afterwards.
"""

from collections.abc import Callable

from node import state_image
from node.answers import Result
from node.command import command_from_text
from node.core.messages import COMMAND, CONFIGURATION, Entry, Malformed
from node.execution import DONE, EXECUTE, FALSE, READ, TRUE
from node.keyspace import Keyspace
from node.operations import Operation
from node.sessions import Sessions
from node.state_image import Head
from node.values import DIGEST_BYTES, DIGEST_MASK, digest

BAD_REQUEST = Result("bad-request", "null")


class StateMachine:
    """Keys, sessions, the configuration, and the time."""

    __slots__ = (
        "_configuration_digest", "_keys", "_sessions", "applied_index", "applied_term",
        "configuration", "time_ms",
    )  # fmt: skip

    def __init__(self) -> None:
        self.applied_index = 0
        self.applied_term = 0
        self.time_ms = 0
        self._keys = Keyspace()
        self._sessions = Sessions()
        self._configure("")

    @property
    def key_count(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    @property
    def session_count(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    def apply(self, entry: Entry) -> Result:
        """Carry out the next entry."""
        assert entry.index == self.applied_index + 1
        self.applied_index = entry.index
        self.applied_term = entry.term
        if entry.kind != COMMAND:
            if entry.kind == CONFIGURATION:
                self._configure(entry.data)
            return DONE
        try:
            time_ms, operation = command_from_text(entry.data)
        except Malformed:
            return BAD_REQUEST
        if time_ms > self.time_ms:
            self.time_ms = time_ms
            self._keys.expire(time_ms)
            self._sessions.expire(time_ms)
        if operation.session is None:
            return self._execute(operation)
        return self._sessions.once(
            operation.session, entry.index, self.time_ms, lambda: self._execute(operation)
        )

    def read(self, operation: Operation) -> Result:
        """Answer an operation that `reads_only`, from the state as it is."""
        assert operation.reads_only
        return READ[operation.op](self._keys, operation)

    def next_expiry_ms(self) -> int | None:
        """The time of the log at which something expires: a tick is to be proposed by then."""
        keys_ms = self._keys.next_expiry_ms()
        sessions_ms = self._sessions.next_expiry_ms()
        if keys_ms is None or sessions_ms is None:
            return sessions_ms if keys_ms is None else keys_ms
        return min(keys_ms, sessions_ms)

    def state_hash(self) -> str:
        """A digest of all keys with their times to live, all sessions, and the configuration.

        It is a sum, kept up with every change: it depends on no order, and costs nothing to ask.
        It finds mistakes; it is not made to resist somebody who looks for a collision.
        """
        total = self._keys.digest() + self._sessions.digest() + self._configuration_digest
        return f"{total & DIGEST_MASK:0{2 * DIGEST_BYTES}x}"

    def image(self) -> Callable[[], bytes]:
        """Take the state as it is now; the bytes are made by whoever calls, whenever."""
        head = Head(
            self.applied_index,
            self.applied_term,
            self.time_ms,
            self.configuration,
            self.state_hash(),
        )
        keys, sessions = self._keys.frozen(), self._sessions.frozen()
        return lambda: state_image.encode(head, keys, sessions)

    @classmethod
    def from_image(cls, image: bytes) -> "StateMachine":
        """The state of an image; raises `Malformed` if that is damaged or none.

        The hash is computed anew from what was read, so that it is that of what is there.
        """
        state = cls()
        head = state_image.decode(image, state._keys, state._sessions)
        state.applied_index = head.applied_index
        state.applied_term = head.applied_term
        state.time_ms = head.time_ms
        state._configure(head.configuration)
        if state.state_hash() != head.state_hash:
            raise Malformed("the image of the state does not have the hash that it says")
        return state

    def _configure(self, text: str) -> None:
        self.configuration = text
        self._configuration_digest = digest("configuration", "", text)

    def _execute(self, operation: Operation) -> Result:
        execute = EXECUTE.get(operation.op)
        if execute is not None:
            return execute(self._keys, operation, self.applied_index, self.time_ms)
        if operation.op in READ:
            return READ[operation.op](self._keys, operation)
        if operation.op == "open_session":
            index = self._sessions.open(operation.ttl_ms, self.applied_index, self.time_ms)
            return Result("", str(index))
        if operation.op == "close_session":
            return TRUE if self._sessions.close(operation.id) else FALSE
        if operation.op == "keep_alive":
            return TRUE
        assert operation.op == "tick"
        return DONE
