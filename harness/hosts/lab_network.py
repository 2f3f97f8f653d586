"""The lab's network: names, addresses, and the `ip` commands that make and unmake them.

    root namespace             switch namespace                 one namespace a host
    sb0-c 198.18.0.254 ------- c   [bridge]   n1 -------------- eth0 198.18.0.1
                                              n2 -------------- eth0 198.18.0.2

Beside each IPv4 address is an IPv6 address with the same numbers: fd5b:c612:bd3e::1, ::2 and so on.

Rules of this file:
- Everything is named after the lab's instance, so what a lab made can be found by name alone,
  also when all notes about it are lost.
- The bridge lives in a namespace of its own: in the root namespace a Docker daemon's firewall
  would drop what hosts say to each other.
- An `unreachable` route for each range is there first and goes last: nothing sent to a lab address
  can leave the machine, however little of the lab exists.
- There are no link-local addresses: a host has the addresses that are listed and no others.
- A machine with IPv6 switched off gets a lab without it; nothing is switched on outside the lab.
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
_IPV6_SETTINGS = Path("/proc/sys/net/ipv6/conf")
# Worse than any metric that a person or daemon would choose, so it never wins against a real one.
_BARRIER_METRIC = 4294967000
# Routes wider than this are default routes in disguise, and yield to ours. Nobody has a range
# inside our IPv6 prefix by chance, and a VPN with all of fd00::/8 loses nothing that it could reach.
_WIDEST = {4: 8, 6: 48}


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


def subnet6(instance: int) -> str:
    """Return the lab's IPv6 range. The prefix is a unique local one (RFC 4193), drawn once.

    Decimal digits are taken as they are: lab 12 has the subnet :12:.
    """
    return str(ipaddress.ip_network(f"fd5b:c612:bd3e:{instance}::/64"))


def address6(instance: int, name: str) -> str:
    """Return a host's IPv6 address: n3 has ::3."""
    return _within(instance, int(name.removeprefix("n")))


def controller_address6(instance: int) -> str:
    """Return the IPv6 address that the controller has towards the hosts."""
    return _within(instance, CONTROLLER_NUMBER)


def why_no_ipv6() -> str:
    """Return an empty string if a lab made now has IPv6, else the reason."""
    for scope in ("all", "default", "lo"):
        setting = _IPV6_SETTINGS / scope / "disable_ipv6"
        try:
            if setting.read_text(encoding="ascii").strip() != "0":
                return f"IPv6 is switched off on this machine (net.ipv6.conf.{scope}.disable_ipv6)"
        except OSError:
            return "this machine's kernel has no IPv6"
    return ""


def namespace(instance: int, name: str) -> str:
    """Return the name of a host's (or the switch's) network namespace."""
    return f"splitbrain-{instance}-{name}"


def namespace_path(instance: int, name: str) -> Path:
    """Return the file that stands for a network namespace."""
    return _NETNS_FOLDER / namespace(instance, name)


def controller_link(instance: int) -> str:
    """Return the name of the one interface in the root namespace; at most 15 characters."""
    return f"sb{instance}-c"


def root_batch(instance: int, names: Sequence[str], *, ipv6: bool = True) -> list[str]:
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
    ]
    if ipv6:
        lines.append(f"address add {controller_address6(instance)}/64 dev {link} nodad")
    return [*lines, f"link set {link} up"]


def switch_batch(names: Sequence[str]) -> list[str]:
    """Return the `ip` lines, run in the switch namespace, that join all ports."""
    lines = ["link add bridge type bridge stp_state 0 forward_delay 0"]
    for port in ("c", *names):
        lines += [f"link set {port} addrgenmode none master bridge", f"link set {port} up"]
    return [*lines, "link set bridge addrgenmode none", "link set bridge up"]


def make(instance: int, names: Sequence[str], *, ipv6: bool, lock_fd: int) -> None:
    """Make the network; hosts give themselves their addresses when they start."""
    refuse_foreign_routes(instance)
    keep = (lock_fd,)
    for version in (4, 6) if ipv6 else (4,):
        commands.run(_barrier(instance, "replace", version), keep_open=keep)
    _batch([], root_batch(instance, names, ipv6=ipv6), lock_fd=lock_fd)
    _batch(["-n", namespace(instance, "switch")], switch_batch(names), lock_fd=lock_fd)


def unmake(instance: int, *, lock_fd: int) -> None:
    """Take away everything that `make` makes, whatever of it exists. The barriers go last."""
    keep = (lock_fd,)
    link = controller_link(instance)
    if Path("/sys/class/net", link).exists():
        # The other end may be gone already, and this end with it, once the kernel gets to it.
        commands.run(["ip", "link", "delete", link], keep_open=keep, check=False)
    for name in existing_namespaces(instance):
        commands.run(["ip", "netns", "delete", name], keep_open=keep)
    if Path("/sys/class/net", link).exists():
        raise HarnessError(f"could not delete the interface {link}; try: ip link delete {link}")
    for version in _barriers(instance):
        commands.run(_barrier(instance, "delete", version), keep_open=keep)


def existing_namespaces(instance: int) -> list[str]:
    """Return the names of this lab's network namespaces that exist, by name alone."""
    return sorted(path.name for path in _NETNS_FOLDER.glob(namespace(instance, "*")))


def has_barrier(instance: int) -> bool:
    """Say whether an `unreachable` route of the lab is in place."""
    return bool(_barriers(instance))


def refuse_foreign_routes(instance: int) -> None:
    """Raise if somebody else on this machine already uses (part of) the lab's range."""
    found = foreign_route(instance)
    if found is not None:
        raise HarnessError(
            f"the lab's ranges {subnet(instance)} and {subnet6(instance)} must be free, but one is "
            f"already in use on this machine: route {found}; choose another with --lab, or "
            "take down what uses it (a VPN or proxy?)"
        )


def foreign_route(instance: int) -> str | None:
    """Return somebody else's route that overlaps one of the lab's ranges, if there is one."""
    for version in (4, 6):
        ours = ipaddress.ip_network(_subnet(instance, version))
        for route in _routes(version, "table", "all"):
            destination = str(route.get("dst", "default"))
            if destination == "default":
                continue
            theirs = ipaddress.ip_network(destination, strict=False)
            mine = route.get("dev") == controller_link(instance)
            mine = mine or (theirs == ours and route.get("metric") == _BARRIER_METRIC)
            near = theirs.version == version and theirs.prefixlen >= _WIDEST[version]
            if near and not mine and theirs.overlaps(ours):
                return f"{destination} dev {route.get('dev', '?')}"
    return None


def _within(instance: int, number: int) -> str:
    # As everybody else writes it: for lab 0 there is one colon less.
    return str(ipaddress.ip_address(f"fd5b:c612:bd3e:{instance}::{number}"))


def _subnet(instance: int, version: int) -> str:
    return subnet(instance) if version == 4 else subnet6(instance)


def _barriers(instance: int) -> list[int]:
    """Return the IP versions whose `unreachable` route is in place."""
    return [
        version
        for version in (4, 6)
        for route in _routes(version, "exact", _subnet(instance, version))
        if route.get("metric") == _BARRIER_METRIC
    ]


def _routes(version: int, *selector: str) -> list[dict[str, object]]:
    if version == 6 and not _IPV6_SETTINGS.exists():
        return []  # asking a kernel without IPv6 is an error
    done = commands.run(["ip", f"-{version}", "-json", "route", "show", *selector])
    routes = json.loads(done.stdout or "[]")
    assert isinstance(routes, list)
    return routes


def _barrier(instance: int, verb: str, version: int) -> list[str]:
    route = ["unreachable", _subnet(instance, version), "metric", str(_BARRIER_METRIC)]
    return ["ip", f"-{version}", "route", verb, *route]


def _batch(options: Sequence[str], lines: Sequence[str], *, lock_fd: int) -> None:
    text = "\n".join(lines) + "\n"
    commands.run(["ip", *options, "-batch", "-"], stdin=text, keep_open=(lock_fd,))
