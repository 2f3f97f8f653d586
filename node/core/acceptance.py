"""What a follower does to its log when its leader says so.

Rules of this file:
- The term and the leader have been looked at before; here it is about entries alone.
- The log is cut at a real conflict only, and never at or below the commit index.
- What is accepted is what the message vouches for, never more: own entries behind it may be those
  of a lost leadership.
"""

from dataclasses import dataclass

from node.core.ledger import Ledger
from node.core.log import RaftLog
from node.core.membership import Configuration
from node.core.messages import AppendRequest


@dataclass(frozen=True, slots=True)
class Accepted:
    """The logs agree up to `index`, or (no success) not at `index`; then perhaps at `hint`.

    `commit` is how far the message says that the log is committed.
    """

    success: bool
    index: int
    hint: int
    commit: int


def accept(
    log: RaftLog, ledger: Ledger, commit_index: int, message: AppendRequest
) -> Accepted | None:
    """AppendEntries (Raft section 5.3); the consistency check holds for empty ones too.

    `None`: it contradicts what is committed, which no leader of this term can.
    """
    prev_index, prev_term = message.prev_index, message.prev_term
    last_new = prev_index + len(message.entries)
    # An entry at or below the commit index agrees with any leader of this term, and may be gone
    # into a snapshot: a prev_index down there is a match, not a conflict.
    if prev_index >= commit_index and log.term(prev_index) != prev_term:
        hint = log.last_agreeable(prev_index, prev_term)
        return Accepted(success=False, index=prev_index, hint=hint, commit=0)
    entries = [entry for entry in message.entries if entry.index >= log.base_index]
    conflict = log.find_conflict(entries)
    if conflict is not None:
        if conflict <= commit_index:
            return None
        if conflict <= log.last_index:
            log.truncate_from(conflict)
            ledger.truncated(conflict)
        log.append(entries[conflict - entries[0].index :])
    return Accepted(success=True, index=last_new, hint=0, commit=min(message.commit, last_new))


def install(
    log: RaftLog, ledger: Ledger, index: int, term: int, configuration: Configuration
) -> None:
    """Let a snapshot take the place of the log up to `index` (Raft section 7, figure 13).

    Entries behind it are kept if the log agrees with the snapshot there: they may have been
    acknowledged. Otherwise all of the log goes.
    """
    if log.term(index) == term:
        log.compact(index)
        ledger.compacted(index, term)
        return
    log.restart(index, term, configuration)
    ledger.restarted(index, term)
