"""Who belongs to the cluster, and how that changes: joint consensus with learners.

Rules of this file:
- A configuration is a frozen value. It is in force from the moment it is in the log (Raft section
  6), and no longer when it is cut from there.
- While it is joint, elections, commits, reads and leases need a majority of the new voters AND one
  of the old (`halves`). A joint configuration is left by a second entry, once it is committed.
- Voters come in as learners and become voters when they have caught up (dissertation section 4.2.1);
  one change at a time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

NAME_CHARS_MAX = 64
MEMBERS_MAX = 64


class NotAllowed(ValueError):
    """The configuration cannot be changed so; the text says why."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Voters, learners and where they are. Names are in alphabetical order.

    `outgoing` are the voters of the configuration before, while this one is joint. `promotable` are
    learners that become voters by themselves. `addresses` has (peer, client) of every member, as
    ``host:port``. `additions` counts the members that were ever added, `generations` says the how
    manieth addition a member was: a name that was removed and added again is another member.
    """

    voters: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()
    promotable: tuple[str, ...] = ()
    addresses: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    additions: int = 0
    generations: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_joint(self) -> bool:
        """Is it one of the two halves of a change of voters?"""
        return bool(self.outgoing)

    @property
    def halves(self) -> tuple[tuple[str, ...], ...]:
        """The groups each of which must have a majority."""
        return (self.voters, self.outgoing) if self.outgoing else (self.voters,)

    @property
    def members(self) -> tuple[str, ...]:
        """Everybody who gets the log."""
        return tuple(sorted({*self.voters, *self.outgoing, *self.learners}))

    def is_voter(self, name: str) -> bool:
        """Does its vote count, in one half at least?"""
        return name in self.voters or name in self.outgoing

    def with_member(self, name: str, peer: str, client: str) -> "Configuration":
        """Add a learner that is to become a voter, or make one that is there promotable."""
        if not 0 < len(name) <= NAME_CHARS_MAX:
            raise NotAllowed(f"a name has 1 to {NAME_CHARS_MAX} characters")
        if self.is_voter(name):
            raise NotAllowed(f"{name} is a voter already")
        if len(self.members) >= MEMBERS_MAX:
            raise NotAllowed(f"a cluster has at most {MEMBERS_MAX} members")
        additions, generations = self.additions, self.generations
        if name not in self.members:
            additions += 1
            generations = {**generations, name: additions}
        return replace(
            self,
            learners=_sorted(*self.learners, name),
            promotable=_sorted(*self.promotable, name),
            addresses={**self.addresses, name: (peer, client)},
            additions=additions,
            generations=generations,
        )

    def promoting(self, name: str) -> "Configuration":
        """Make a learner a voter: joint, until left."""
        assert name in self.learners
        return replace(
            self,
            voters=_sorted(*self.voters, name),
            outgoing=self.voters,
            learners=_without(self.learners, name),
            promotable=_without(self.promotable, name),
        )

    def without(self, name: str) -> "Configuration":
        """Remove a member: at once if a learner, by a joint configuration if a voter."""
        if name in self.learners:
            return replace(
                self,
                learners=_without(self.learners, name),
                promotable=_without(self.promotable, name),
                addresses={key: at for key, at in self.addresses.items() if key != name},
                generations={key: at for key, at in self.generations.items() if key != name},
            )
        if name not in self.voters:
            raise NotAllowed(f"{name} is not a member")
        if len(self.voters) == 1:
            raise NotAllowed(f"{name} is the last voter")
        return replace(self, voters=_without(self.voters, name), outgoing=self.voters)

    def left(self) -> "Configuration":
        """What follows a joint configuration: the new voters alone."""
        assert self.is_joint
        kept = {*self.voters, *self.learners}
        return replace(
            self,
            outgoing=(),
            addresses={name: at for name, at in self.addresses.items() if name in kept},
            generations={name: at for name, at in self.generations.items() if name in kept},
        )

    def to_text(self) -> str:
        """The form in the log, in snapshots and on disk."""
        document = {
            "voters": self.voters,
            "outgoing": self.outgoing,
            "learners": self.learners,
            "promotable": self.promotable,
            "addresses": dict(sorted(self.addresses.items())),
            "additions": self.additions,
            "generations": dict(sorted(self.generations.items())),
        }
        return json.dumps(document, separators=(",", ":"))


def configuration_from_text(text: str) -> Configuration:
    """The configuration in a text; raises `ValueError` if there is none in it."""
    try:
        document = json.loads(text)
        if type(document) is not dict:
            raise ValueError("not an object")
        names = [_names(document[key]) for key in ("voters", "outgoing", "learners", "promotable")]
        addresses = {_name(name): _addresses(pair) for name, pair in document["addresses"].items()}
        additions = _count(document.get("additions", 0))
        generations = {
            _name(name): _count(number) for name, number in document.get("generations", {}).items()
        }
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a configuration: {error!r:.80}") from None
    voters, outgoing, learners, promotable = names
    if not set(promotable) <= set(learners) or set(learners) & {*voters, *outgoing}:
        raise ValueError("not a configuration: a learner votes")
    if outgoing and not voters:
        raise ValueError("not a configuration: nobody would be left")
    return Configuration(voters, outgoing, learners, promotable, addresses, additions, generations)


def _names(value: object) -> tuple[str, ...]:
    if type(value) is not list or len(value) > MEMBERS_MAX:
        raise ValueError("not a list of names")
    return _sorted(*map(_name, value))


def _name(value: object) -> str:
    if type(value) is not str or not 0 < len(value) <= NAME_CHARS_MAX:
        raise ValueError("not a name")
    return value


def _addresses(value: object) -> tuple[str, str]:
    if type(value) is not list or len(value) != 2:
        raise ValueError("not two addresses")
    return _address(value[0]), _address(value[1])


def _address(value: object) -> str:
    if type(value) is not str or len(value) > 300:
        raise ValueError("not an address")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a number of additions")
    return value


def _sorted(*names: str) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(one for one in names if one != name)
