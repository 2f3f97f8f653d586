"""What operators ask of a node: members in and out, another leader, a snapshot now.

Rules of this file:
- A change of members is asked of the leader and answered when its entry is applied; whether a new
  member has become a voter is seen in /v1/members.
- One hand-over at a time; it is answered when the other one leads, or when it did not come about.
"""

import json
from typing import TYPE_CHECKING

from node.admin import AdminRequest
from node.core.membership import Configuration, NotAllowed
from node.core.raft import Raft
from node.core.settings import Role
from node.operations import Answer, failed
from node.waiters import Reply, Waiter

if TYPE_CHECKING:
    from node.requests import Requests
    from node.snapshotting import Snapshots


class Administration:
    """The operators' requests at one node."""

    def __init__(self, core: Raft, requests: "Requests", snapshots: "Snapshots") -> None:
        self._core = core
        self._requests = requests
        self._snapshots = snapshots
        self._transfer: tuple[str, Waiter] | None = None

    def submit(self, request: AdminRequest, reply: Reply) -> None:
        """Carry out a request."""
        waiter = self._requests.admit(reply)
        if waiter is None:
            return
        if request.op in ("snapshot", "compact"):
            self._take_snapshot(waiter, keeps=request.op == "snapshot")
        elif self._core.role is not Role.LEADER:
            waiter.answer(failed("not-leader", self._core.name))
        elif request.op == "transfer":
            self._begin_transfer(request.to, waiter)
        else:
            self._change(request, waiter)

    def look(self) -> None:
        """See whether a hand-over has come to an end."""
        if self._transfer is None:
            return
        target, waiter = self._transfer
        core = self._core
        if waiter.done:
            self._transfer = None
        elif core.role is not Role.LEADER and core.leader == target:
            self._transfer = None
            waiter.answer(Answer("", json.dumps(target), core.commit_index, core.term, core.name))
        elif core.role is not Role.LEADER and core.leader is not None:
            self._transfer = None
            waiter.answer(failed("not-leader", core.name))  # somebody else was elected
        elif core.role is Role.LEADER and not core.is_transferring:
            self._transfer = None
            waiter.answer(failed("transferring", core.name))

    def _take_snapshot(self, waiter: Waiter, *, keeps: bool) -> None:
        core = self._core

        def done(index: int) -> None:
            waiter.answer(Answer("", str(index), index, core.term, core.name))

        if not self._snapshots.take(done, keeps=keeps):
            waiter.answer(failed("change-in-progress", core.name))

    def _begin_transfer(self, target: str, waiter: Waiter) -> None:
        core = self._core
        if target not in core.log.configuration.voters or target == core.name:
            waiter.answer(failed("unknown-member", core.name))
        elif not core.transfer(target):
            waiter.answer(failed("change-in-progress", core.name))
        else:
            self._transfer = (target, waiter)

    def _change(self, request: AdminRequest, waiter: Waiter) -> None:
        core = self._core
        try:
            to = _changed(core.log.configuration, request)
        except NotAllowed:
            waiter.answer(failed("unknown-member", core.name))
            return
        proposed = core.change(to)
        if proposed is None:
            waiter.answer(failed("change-in-progress", core.name))
        else:
            self._requests.waiters.entry(*proposed, waiter)


def _changed(configuration: Configuration, request: AdminRequest) -> Configuration:
    if request.op == "add_member":
        return configuration.with_member(request.name, request.peer, request.client)
    return configuration.without(request.name)
