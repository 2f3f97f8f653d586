"""A client of our node: speaks of one kind of data, and may repeat what came to nothing.

Rules of this file:
- What is repeated is either a read or has a session, under which it keeps its sequence: the
  cluster carries it out once, whichever node it is sent to.
- Once any try was in doubt the operation is: a later refusal is `info`, a later answer counts.
- All tries together have one deadline, and each an equal share of what is left of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from checker.history import EventType
from harness.client import Completion
from harness.systems.raft_errors import REPEATED, SESSION_LOST, outcome_of
from harness.systems.raft_http import Ending, Wire, failed
from harness.systems.raft_session import Session, SharedSession
from harness.systems.raft_words import WORDS, Body, Garbled, Word, only_reads
from workloads.generator import Invocation

# The first pause after a try; each of the next is twice as long.
_BACK_OFF_S: Final = 0.1
_BACK_OFF_S_MAX: Final = 1.0

# A try that has less than this is none: it would only add a doubt.
_TRY_S_MIN: Final = 0.1


class RaftClient:
    """Speaks to one node, and to the others if it repeats. Not thread-safe: one client a thread."""

    def __init__(
        self,
        *,
        node: str,
        urls: Sequence[str],
        data: str,
        timeout_s: float,
        reads: str = "linear",
        retries: int = 0,
        sessions: SharedSession | None = None,
    ) -> None:
        """Make no connection before the first operation.

        `urls` are those of `node` and of the nodes to turn to after it. A client with retries
        needs `sessions`, for what it changes.
        """
        assert sessions is not None or retries == 0, "without a session it might happen twice"
        self.node = node
        self._urls = urls
        self._words = WORDS[data]
        self._timeout_s = timeout_s
        self._reads = reads
        self._tries = 1 + retries
        self._sessions = sessions
        self._wire = Wire()

    def invoke(self, invocation: Invocation) -> Completion:
        """Perform one operation within the timeout, and decide what its end means."""
        word = self._words[invocation.f]
        body = word.ask(invocation)
        until_s = time.monotonic() + self._timeout_s
        if only_reads(body):
            asked = body if self._reads == "linear" else {**body, "mode": self._reads}
            return self._perform(word, invocation, lambda: asked, until_s)
        if self._sessions is None:
            return self._perform(word, invocation, lambda: body, until_s)
        session = self._session(self._sessions)
        if session is None:
            return Completion(outcome_of("no-session"), invocation.value, "no-session")
        with session.sequence() as sequence:
            completion = self._perform(
                word, invocation, lambda: {**body, "session": session.field(sequence)}, until_s
            )
        if completion.error in SESSION_LOST:
            self._sessions.give_up(session)
        return completion

    def close(self) -> None:
        """Close the connections. The session stays: it belongs to others too."""
        self._wire.close()

    def _session(self, sessions: SharedSession) -> Session | None:
        """Return the node's session; opening one takes no longer than a try may take."""
        share_s = max(_TRY_S_MIN, self._timeout_s / (self._tries + 1))
        session = sessions.current(self._open_session, time.monotonic() + share_s)
        if session is None:
            self._spare_the_rate()
        return session

    def _open_session(self, timeout_s: float) -> int | None:
        """Ask for a session, once: one that nobody heard of ends by itself."""
        ending = self._wire.ask(self._urls[0], {"op": "open_session"}, timeout_s)
        identity = ending.value
        return identity if type(identity) is int and identity > 0 else None

    def _perform(
        self, word: Word, invocation: Invocation, body: Callable[[], Body], until_s: float
    ) -> Completion:
        """Try until there is an answer or a refusal that another try would not mend."""
        outcome, code = EventType.FAIL, ""
        for number in range(self._tries):
            left_s = until_s - time.monotonic()
            if number > 0 and left_s < _TRY_S_MIN:
                break
            share_s = max(_TRY_S_MIN, left_s / (self._tries - number))
            url = self._urls[number % len(self._urls)]
            ending = _heard(word, invocation, self._wire.ask(url, body(), share_s))
            if ending.code is None:
                return Completion(EventType.OK, ending.value)
            code = ending.code
            if not ending.certain:
                outcome = EventType.INFO
            if code not in REPEATED:
                break
            if number + 1 < self._tries:
                self._pause(number, until_s)
            elif code == "not-connected":
                self._spare_the_rate()
        return Completion(outcome, invocation.value, code)

    def _pause(self, number: int, until_s: float) -> None:
        """Give the cluster a moment before the next try, and keep at least half for the tries."""
        left_s = max(0.0, until_s - time.monotonic())
        share_s = left_s / (self._tries - number - 1)
        time.sleep(min(_BACK_OFF_S * 2**number, _BACK_OFF_S_MAX, share_s / 2))

    def _spare_the_rate(self) -> None:
        """A node that is dead refuses in no time: without a pause its clients would take all the
        load that the rate allows, and the living nodes would get none."""
        time.sleep(min(_BACK_OFF_S, self._timeout_s / 2))


def _heard(word: Word, invocation: Invocation, ending: Ending) -> Ending:
    """Say in the words of the data what the node said."""
    if ending.code is None:
        try:
            return Ending(word.hear(invocation, ending.value))
        except Garbled:
            return failed("garbled-answer")
    if ending.certain and ending.code in word.instead:
        return Ending(word.instead[ending.code])
    return ending
