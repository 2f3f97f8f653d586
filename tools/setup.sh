#!/usr/bin/env bash
# Makes this checkout ready to run: Debian packages, a virtual environment, pip packages.
#
# Rules: install only what is missing and say what it was; never leave a service running that was
# not there before (installing openssh-server would open port 22); fail with one line that says
# what to do.
set -euo pipefail

PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"
DEBIAN_PACKAGES=(python3-venv openssh-server nftables iproute2 faketime)

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

missing_packages() {
  local name
  for name in "${DEBIAN_PACKAGES[@]}"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed$' \
      || printf '%s ' "$name"
  done
}

# Debian asks /usr/sbin/policy-rc.d before it starts a freshly installed service; 101 means "no".
# A policy that somebody else put there is left alone and restored untouched.
apt_install_without_starting_services() {
  local policy=/usr/sbin/policy-rc.d ours=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy" && ours=1
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  local log
  log="$(mktemp)"
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
         apt-get install -y -q --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "could not install: $* (full log: $log); install them by hand and run make setup again"
  fi
  # systemd would still start sshd at the next boot: keep it off, as it was not there before.
  if [[ " $* " == *" openssh-server "* ]] && [ -d /run/systemd/system ]; then
    systemctl disable --now ssh.service ssh.socket >/dev/null 2>&1 || true
    say "openssh-server was installed for the lab; its system service stays off (systemctl enable ssh turns it on)"
  fi
  rm -f "$log"
  if [ "$ours" = 1 ]; then rm -f "$policy"; trap - EXIT; fi
}

install_debian_packages() {
  command -v dpkg-query >/dev/null || { say "not a Debian machine: see 'splitbrain doctor' for what is missing"; return; }
  local missing
  missing="$(missing_packages)"
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    say "not root: to use the lab, run: sudo apt-get install -y $missing"
    return
  fi
  say "installing Debian packages: $missing"
  # shellcheck disable=SC2086  # a list of names, split on purpose
  apt_install_without_starting_services $missing
}

make_virtual_environment() {
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    || die "Python 3.11 or newer is needed and '$PYTHON' is not: make setup PYTHON=/path/to/python3.11"
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$VENV"  # half made, or not at all
    "$PYTHON" -m venv "$VENV" >/dev/null \
      || { rm -rf "$VENV"; die "could not make a virtual environment: apt-get install python3-venv"; }
  fi
  say "installing Python packages into $VENV"
  "$VENV/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
  "$VENV/bin/python" -m pip install --quiet --editable . --group dev
}

# Compiled once per version, kept in the user's cache: no check waits for a compiler afterwards.
compile_kernels() {
  "$VENV/bin/python" -m checker.warm \
    || die "could not compile the checker's kernels: see the lines above, then run make setup again"
}

install_debian_packages
make_virtual_environment
compile_kernels
say "ready: $VENV/bin/splitbrain --help"
