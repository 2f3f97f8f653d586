#!/usr/bin/env bash
# Shows that the lab works beside a Docker daemon, whose firewall drops what is forwarded between
# bridge ports of the root namespace. Needs root and `apt-get install docker.io iptables`.
#
# Rules: the daemon runs in a network namespace of its own, so that the machine's rules and bridges
# are never touched; its state lives in a temporary folder; everything ends with this script.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != inside ]; then
  command -v dockerd >/dev/null || { echo "dockerd is not installed: apt-get install -y docker.io iptables" >&2; exit 2; }
  exec timeout 180 unshare --net --mount --pid --fork --kill-child --mount-proc \
    --propagation private bash "$0" inside
fi

state="$(mktemp -d)"
socket="unix://$state/sock"
trap 'kill %1 2>/dev/null; sleep 1; rm -rf "$state"' EXIT
ip link set lo up
mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns
dockerd --data-root "$state/data" --exec-root "$state/exec" --pidfile "$state/pid" \
  --host "$socket" >"$state/log" 2>&1 &
for _ in $(seq 60); do docker -H "$socket" info >/dev/null 2>&1 && break; sleep 0.5; done
docker -H "$socket" info 2>/dev/null | grep 'Server Version' || { tail -n 5 "$state/log"; exit 1; }
echo "firewall: $(iptables -S FORWARD | head -n 1), bridge-nf-call-iptables=$(cat /proc/sys/net/bridge/bridge-nf-call-iptables)"

lab=77
.venv/bin/splitbrain lab up --lab $lab
.venv/bin/splitbrain lab up --lab $lab
.venv/bin/splitbrain test --lab $lab --nemesis partition,kill --time-limit 12 \
  --nemesis-interval 2 --seed 4 --store "$state/store"
.venv/bin/splitbrain lab down --lab $lab
.venv/bin/splitbrain lab down --lab $lab
echo "left behind: $(ip netns list | wc -l) namespaces, $(ip -o link | grep -c "sb$lab" || true) links, $(ip route show table all | grep -c '198\.18' || true) routes"
