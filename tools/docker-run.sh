#!/usr/bin/env bash
# A real test on Docker hosts, without a registry: makes the base image, starts a daemon of its own,
# runs partitions, kills, pauses and clock faults on containers, and stops the daemon again.
# Needs root and `apt-get install docker.io iptables debootstrap`.
#
#   tools/docker-run.sh                  the tests of Docker hosts, then the run
#   tools/docker-run.sh COMMAND...       COMMAND with that daemon and base image (a shell, a test)
#
# Rules: the daemon runs in network, mount and PID namespaces of its own, so that the machine's rules
# and bridges are never touched; its state lives in a temporary folder; everything ends with this
# script, its control groups too. $SPLITBRAIN_BASE_TAR names a base made earlier (docker-base.sh --tar), to save its minute.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${VENV:-.venv}/bin/python"

if [ "${1:-}" != --inside ]; then
  for tool in dockerd debootstrap iptables; do
    command -v "$tool" >/dev/null \
      || { echo "$tool is not installed: apt-get install -y docker.io iptables debootstrap" >&2; exit 2; }
  done
  STATE="$(mktemp -d -t splitbrain-dockerd-XXXXXX)"
  finish() {
    find /sys/fs/cgroup -depth -type d -path "*/${STATE##*/}*" -exec rmdir {} + 2>/dev/null || true
    rm -rf "$STATE"
  }
  trap finish EXIT
  if [ -z "${SPLITBRAIN_BASE_TAR:-}" ]; then
    # Out here, because in there nothing outside can be reached.
    SPLITBRAIN_BASE_TAR="$STATE/base.tar"
    tools/docker-base.sh --tar "$SPLITBRAIN_BASE_TAR"
  fi
  export STATE SPLITBRAIN_BASE_TAR
  timeout --foreground "${LIMIT_S:-1200}" unshare --net --mount --pid --fork --kill-child \
    --mount-proc --propagation private bash "$0" --inside "$@"
  exit
fi
shift

export DOCKER_HOST="unix://$STATE/sock"
ip link set lo up
mount -t tmpfs tmpfs /run && mkdir /run/netns
# All containers together would get as much of a busy machine as one process outside.
group="/sys/fs/cgroup/cpu/${STATE##*/}"
if [ -w /sys/fs/cgroup/cpu/cpu.shares ]; then mkdir -p "$group" && echo 10240 >"$group/cpu.shares"; fi
dockerd --data-root "$STATE/data" --exec-root "$STATE/exec" --pidfile "$STATE/pid" \
  --host "$DOCKER_HOST" --cgroup-parent "/${STATE##*/}" >"$STATE/log" 2>&1 &
trap 'kill %1 2>/dev/null && wait %1 2>/dev/null || true' EXIT
for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
docker version --format 'dockerd {{.Server.Version}}' || { tail -n 5 "$STATE/log" >&2; exit 1; }
docker import --change 'CMD ["/bin/sh"]' "$SPLITBRAIN_BASE_TAR" splitbrain-base >/dev/null

if [ $# -gt 0 ]; then "$@"; exit; fi
"$PYTHON" -m pytest -q tests/harness/hosts/test_docker.py
"$PYTHON" -m harness.cli test --hosts docker --nodes 5 --nemesis partition,kill,pause,clock \
  --time-limit 60 --store "${STORE:-store/docker}"
