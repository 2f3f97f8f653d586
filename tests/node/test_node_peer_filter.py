"""Messages that a test has a node drop: the rule, against an obvious twin, and in real processes."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from driven import Driven
from hypothesis import example, given
from hypothesis import strategies as st
from local_cluster import LocalCluster, until

from node.core.messages import KINDS
from node.peer_filter import CLASSES, PeerFilter

ELECTION_MS = 300
OPTIONS = ["--election-timeout-ms", str(ELECTION_MS), "--heartbeat-interval-ms", "30"]
TESTING = [*OPTIONS, "--testing-faults"]
PROTOCOL = Path(__file__).parents[2] / "node" / "PROTOCOL.md"

names = st.sampled_from(["n1", "n2", "n3"])
kinds = (
    st.sampled_from([*KINDS, "forward", "forward_reply", "unheard_of"]) | st.none() | st.just([1])
)
rules = st.tuples(
    st.just("drop"),
    st.lists(st.sampled_from(sorted(CLASSES)), unique=True),
    st.lists(names, unique=True, max_size=2),
    st.integers(0, 20),
)
messages = st.tuples(st.just("message"), names, kinds, st.integers(0, 3))


def test_every_message_between_nodes_belongs_to_exactly_one_class() -> None:
    listed = [kind for kinds in CLASSES.values() for kind in kinds]
    assert sorted(listed) == sorted([*KINDS, "forward", "forward_reply"])


def test_the_protocol_lists_the_classes_as_they_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`\w+`(?:, `\w+`)*) \|$", PROTOCOL.read_text(), re.MULTILINE)
    told = {name: tuple(re.findall(r"\w+", kinds)) for name, kinds in rows if name in CLASSES}
    assert told == CLASSES


@given(st.lists(rules | messages))
@example(
    [
        ("drop", ["votes", "reads"], ["n1"], 3),
        ("message", "n1", "vote_reply", 2),
        ("message", "n2", "vote_reply", 0),
        ("message", "n1", "heartbeat", 0),
        ("message", "n1", "vote_reply", 1),  # the moment at which it is over
        ("drop", [], [], 9),
        ("message", "n1", "vote_reply", 0),
    ]
)
def test_the_filter_drops_and_counts_what_a_plain_look_at_all_of_the_past_does(
    steps: list[Any],
) -> None:
    """The twin keeps no state: for each message it looks for the newest rule before it."""
    tested, now_ns = PeerFilter(), 0
    past: list[Any] = []
    counted: Counter[tuple[str, str]] = Counter()
    for step in steps:
        if step[0] == "drop":
            _, classes, peers, lasts_ns = step
            tested.drop(classes, peers, now_ns + lasts_ns)
            past.append((classes, peers, now_ns + lasts_ns))
            continue
        _, source, kind, later_ns = step
        now_ns += later_ns
        (classes, peers, until_ns) = past[-1] if past else ([], [], 0)
        wanted = [
            name
            for name in classes
            if kind in CLASSES[name] and (not peers or source in peers) and now_ns < until_ns
        ]
        assert tested.admits(source, kind, now_ns) == (not wanted)
        counted.update((name, source) for name in wanted)
    flat = {
        (name, source): count
        for name, sources in tested.dropped().items()
        for source, count in sources.items()
    }
    assert flat == counted
    for name in CLASSES:
        assert tested.total(name) == sum(n for (one, _), n in counted.items() if one == name)


def test_compacting_leaves_no_entry_for_a_late_follower() -> None:
    for op, kept in (("snapshot", 3), ("compact", 0)):
        driven = Driven(entries=3)
        driven.write("k", "1")
        driven.ask(op)
        driven.fakes.saved[-1][2]()
        log = driven.replica.core.log
        assert driven.last_answer() == ("", str(log.last_index))
        assert log.first_index == max(1, log.last_index - kept + 1), op


def drop(cluster: LocalCluster, node: str, *classes: str, for_ms: int = 30_000, **more: Any) -> Any:
    """Ask one node; what it has dropped by now."""
    given = {"peers": [], **more, "classes": classes, "for_ms": for_ms}
    status, answer = cluster.admin(node, op="drop_messages", **given)
    assert status == 200, answer
    return answer["value"]


def terms(cluster: LocalCluster, *nodes: str) -> list[int]:
    return [cluster.status(node)["term"] for node in nodes]


def test_without_votes_nobody_follows_a_dead_leader_and_the_lease_ends_it(tmp_path: Path) -> None:
    with LocalCluster(tmp_path, options=TESTING) as cluster:
        leader = cluster.leader()
        others = [name for name in cluster.names if name != leader]
        before = terms(cluster, *others)
        for name in others:
            assert drop(cluster, name, "votes") == {}
        cluster.write(others[0], "k", 1)
        cluster.kill(leader)
        until(lambda: sum(drop(cluster, others[0], "votes").get("votes", {}).values()) > 3, "votes")
        assert terms(cluster, *others) == before, "a pre-vote that nobody hears changes no term"
        assert all(cluster.status(name)["role"] != "leader" for name in others)
        counts = drop(cluster, others[0], "votes", for_ms=1)
        assert set(counts) == {"votes"}
        assert set(counts["votes"]) == {others[1]}
        metrics = scrape(cluster, others[0])
        assert f"node_votes_not_heard_total {counts['votes'][others[1]]}\n" in metrics
        drop(cluster, others[1], "votes", for_ms=1)
        assert cluster.leader(others) in others
        assert cluster.read(others[1], "k") == 1


def scrape(cluster: LocalCluster, node: str) -> str:
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{cluster.clients[node]}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def test_without_appends_of_one_peer_a_follower_stands_still_and_an_empty_request_ends_it(
    tmp_path: Path,
) -> None:
    with LocalCluster(tmp_path, options=TESTING) as cluster:
        leader = cluster.leader()
        late, other = (name for name in cluster.names if name != leader)
        drop(cluster, late, "appends", peers=[leader])
        drop(cluster, other, "appends", peers=[late])
        for number in range(3):
            cluster.write(leader, "k", number)
        wanted = cluster.status(leader)["commit_index"]
        until(lambda: cluster.status(other)["applied_index"] >= wanted, "the other's progress")
        assert cluster.status(late)["applied_index"] < wanted
        assert cluster.status(late)["leader"] == leader, "heartbeats are another class"
        counts = drop(cluster, late)
        assert set(counts) == {"appends"}
        assert set(counts["appends"]) == {leader}
        until(lambda: cluster.status(late)["applied_index"] >= wanted, "catching up")


def test_without_the_flag_the_operation_is_one_that_nobody_knows(tmp_path: Path) -> None:
    with LocalCluster(tmp_path, size=1, options=OPTIONS) as cluster:
        answers = [
            cluster.admin("n1", op=op, classes=["votes"], peers=[], for_ms=5)
            for op in ("drop_messages", "no_such_thing")
        ]
        assert answers[0] == answers[1]
        assert answers[0][0] == 400
        assert answers[0][1]["error"]["code"] == "bad-request"
