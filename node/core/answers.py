"""What is said to somebody who acts in an old term.

Rules of this file: requests are answered, with the new term; old answers are dropped. An old leader
must be answered too: it is how a node whose term ran ahead of the majority's gets back (dissertation
section 9.6).
"""

from node.core.messages import (
    AppendReply,
    AppendRequest,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVoteReply,
    PreVoteRequest,
    ReadIndexReply,
    ReadIndexRequest,
    SnapshotChunk,
    SnapshotReply,
    VoteReply,
    VoteRequest,
)


def refusal(message: Message, name: str, term: int) -> Message | None:
    """The answer of `name`, whose term is newer than the message; None if none is due."""
    source = message.source
    match message:
        case AppendRequest():
            index = message.prev_index
            return AppendReply(
                name, source, term, success=False, index=index, hint_index=0, hint_term=0
            )
        case Heartbeat():
            return HeartbeatReply(name, source, term, 0)
        case PreVoteRequest():
            return PreVoteReply(name, source, term, granted=False)
        case VoteRequest():
            return VoteReply(name, source, term, granted=False)
        case ReadIndexRequest():
            request = message.request
            return ReadIndexReply(name, source, term, request, granted=False, index=0)
        case SnapshotChunk():
            return SnapshotReply(name, source, term, message.index, 0, success=False)
        case _:
            return None
