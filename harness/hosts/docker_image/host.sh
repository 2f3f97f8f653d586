#!/bin/sh
# The first process of a container: makes a host key, says its public half, runs sshd.
#
# Rules of this file:
# - The private host key never leaves the container; what is said on standard output is how the
#   harness knows the host.
# - The harness holds the other end of standard input. When that ends, however the harness ended,
#   so does this process, and the container and its volume with it.
# - It stays a shell: whatever loses its parent in the container is reaped by its wait.
set -eu
umask 077
mkdir -p /run/sshd /run/splitbrain
chmod 755 /run/sshd /run/splitbrain
printf 'restrict,pty %s\n' "$SPLITBRAIN_KEY" >/run/splitbrain/authorized_keys
# Loop devices for the disk faults, where the container may have them.
if [ -e /dev/loop-control ]; then
  number=0
  while [ "$number" -lt 64 ]; do
    [ -e "/dev/loop$number" ] || mknod "/dev/loop$number" b 7 "$number"
    number=$((number + 1))
  done
fi
ssh-keygen -q -t ed25519 -N '' -C splitbrain-host -f /run/splitbrain/host_key
umask 022
config=/etc/splitbrain/sshd_config
# A newer sshd would shut out whoever only asks whether it is up.
penalties=
if /usr/sbin/sshd -t -f "$config" -o PerSourcePenalties=no 2>/dev/null; then
  penalties='-o PerSourcePenalties=no'
fi
# shellcheck disable=SC2086  # nothing, or two words
/usr/sbin/sshd -D -e -f "$config" $penalties &
cat /run/splitbrain/host_key.pub
cat >/dev/null
