"""The lab's network: names, addresses, and the `ip` commands that make and unmake them.

    root namespace             switch namespace                 one namespace a host
    sb0-c 198.18.0.254 ------- c   [bridge]   n1 -------------- eth0 198.18.0.1
                                              n2 -------------- eth0 198.18.0.2

Rules of this file:
- Everything is named after the lab's instance, so what a lab made can be found by name alone,
  also when all notes about it are lost.
- The bridge lives in a namespace of its own: in the root namespace a Docker daemon's firewall
  would drop what hosts say to each other.
- An `unreachable` route for the whole range is there first and goes last: nothing sent to a lab
  address can leave the machine, however little of the lab exists.
- One veth is all that the root namespace gets to see.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.hosts import commands

INSTANCE_MAX = 255
NODES_MAX = 99
CONTROLLER_NUMBER = 254

_NETNS_FOLDER = Path("/run/netns")
# Worse than any metric that a person or daemon would choose, so it never wins against a real one.
_BARRIER_METRIC = 4294967000


def host_names(nodes: int) -> list[str]:
    """Return the names of a lab's hosts: n1, n2, ..."""
    return [f"n{number}" for number in range(1, nodes + 1)]


def subnet(instance: int) -> str:
    """Return the lab's range. 198.18.0.0/15 is reserved for benchmarks (RFC 2544)."""
    return f"198.18.{instance}.0/24"


def address(instance: int, name: str) -> str:
    """Return a host's address: n3 has .3."""
    return f"198.18.{instance}.{int(name.removeprefix('n'))}"


def controller_address(instance: int) -> str:
    """Return the address that the controller has towards the hosts."""
    return f"198.18.{instance}.{CONTROLLER_NUMBER}"


def namespace(instance: int, name: str) -> str:
    """Return the name of a host's (or the switch's) network namespace."""
    return f"splitbrain-{instance}-{name}"


def namespace_path(instance: int, name: str) -> Path:
    """Return the file that stands for a network namespace."""
    return _NETNS_FOLDER / namespace(instance, name)


def controller_link(instance: int) -> str:
    """Return the name of the one interface in the root namespace; at most 15 characters."""
    return f"sb{instance}-c"


def root_batch(instance: int, names: Sequence[str]) -> list[str]:
    """Return the `ip` lines, run in the root namespace, that make the lab's network."""
    switch = namespace(instance, "switch")
    link = controller_link(instance)
    lines = [f"netns add {namespace(instance, name)}" for name in ("switch", *names)]
    lines.append(f"link add {link} type veth peer name c netns {switch}")
    lines += [
        f"link add eth0 netns {namespace(instance, name)} type veth peer name {name} netns {switch}"
        for name in names
    ]
    lines += [
        f"link set {link} addrgenmode none",
        f"address add {controller_address(instance)}/24 dev {link}",
        f"link set {link} up",
    ]
    return lines


def switch_batch(names: Sequence[str]) -> list[str]:
    """Return the `ip` lines, run in the switch namespace, that join all ports."""
    lines = ["link add bridge type bridge stp_state 0 forward_delay 0"]
    for port in ("c", *names):
        lines += [f"link set {port} addrgenmode none master bridge", f"link set {port} up"]
    return [*lines, "link set bridge addrgenmode none", "link set bridge up"]


def make(instance: int, names: Sequence[str], *, lock_fd: int) -> None:
    """Make the network; hosts give themselves their addresses when they start."""
    refuse_foreign_routes(instance)
    keep = (lock_fd,)
    commands.run(["ip", *_barrier(instance, "replace")], keep_open=keep)
    _batch([], root_batch(instance, names), lock_fd=lock_fd)
    _batch(["-n", namespace(instance, "switch")], switch_batch(names), lock_fd=lock_fd)


def unmake(instance: int, *, lock_fd: int) -> None:
    """Take away everything that `make` makes, whatever of it exists. The barrier goes last."""
    keep = (lock_fd,)
    link = controller_link(instance)
    if Path("/sys/class/net", link).exists():
        # The other end may be gone already, and this end with it, once the kernel gets to it.
        commands.run(["ip", "link", "delete", link], keep_open=keep, check=False)
    for name in existing_namespaces(instance):
        commands.run(["ip", "netns", "delete", name], keep_open=keep)
    if Path("/sys/class/net", link).exists():
        raise HarnessError(f"could not delete the interface {link}; try: ip link delete {link}")
    if has_barrier(instance):
        commands.run(["ip", *_barrier(instance, "delete")], keep_open=keep)


def existing_namespaces(instance: int) -> list[str]:
    """Return the names of this lab's network namespaces that exist, by name alone."""
    return sorted(path.name for path in _NETNS_FOLDER.glob(namespace(instance, "*")))


def has_barrier(instance: int) -> bool:
    """Say whether the lab's `unreachable` route is in place."""
    routes = _routes("exact", subnet(instance))
    return any(route.get("metric") == _BARRIER_METRIC for route in routes)


def refuse_foreign_routes(instance: int) -> None:
    """Raise if somebody else on this machine already uses (part of) the lab's range."""
    found = foreign_route(instance)
    if found is not None:
        raise HarnessError(
            f"the lab's range {subnet(instance)} is already in use on this machine: route {found}; "
            "choose another with --lab, or take down what uses it (a VPN or proxy?)"
        )


def foreign_route(instance: int) -> str | None:
    """Return somebody else's route that overlaps the lab's range, if there is one."""
    ours = ipaddress.ip_network(subnet(instance))
    for route in _routes("table", "all"):
        destination = str(route.get("dst", "default"))
        if destination == "default" or ":" in destination:
            continue
        theirs = ipaddress.ip_network(destination, strict=False)
        mine = route.get("dev") == controller_link(instance)
        mine = mine or (theirs == ours and route.get("metric") == _BARRIER_METRIC)
        # A route for (nearly) everything is a default route in disguise and yields to ours.
        if not mine and theirs.prefixlen >= 8 and theirs.overlaps(ours):
            return f"{destination} dev {route.get('dev', '?')}"
    return None


def _routes(*selector: str) -> list[dict[str, object]]:
    done = commands.run(["ip", "-4", "-json", "route", "show", *selector])
    routes = json.loads(done.stdout or "[]")
    assert isinstance(routes, list)
    return routes


def _barrier(instance: int, verb: str) -> list[str]:
    return ["route", verb, "unreachable", subnet(instance), "metric", str(_BARRIER_METRIC)]


def _batch(options: Sequence[str], lines: Sequence[str], *, lock_fd: int) -> None:
    text = "\n".join(lines) + "\n"
    commands.run(["ip", *options, "-batch", "-"], stdin=text, keep_open=(lock_fd,))
