#!/usr/bin/env bash
# Makes the image `splitbrain-base` from Debian's packages, for machines that reach a Debian mirror
# but no image registry. `splitbrain test --hosts docker` uses it when it is there, and needs no
# network at all then: everything a host needs is in it.
#
#   sudo tools/docker-base.sh              into Docker
#   sudo tools/docker-base.sh --tar FILE   into a file, for `docker import FILE splitbrain-base`
#
# Rules: root, because debootstrap needs it; the image is made anew each time; what is unpacked on
# the way goes with this script.
set -euo pipefail

RELEASE="${RELEASE:-bookworm}"
MIRROR="${MIRROR:-http://deb.debian.org/debian}"
NAME=splitbrain-base
# The list of harness/hosts/docker_image/Dockerfile, which installs what a base lacks.
PACKAGES=openssh-server,python3,nftables,iproute2,procps,faketime,e2fsprogs

die() { printf 'docker-base: %s\n' "$*" >&2; exit 2; }
tar_file=
if [ "${1:-}" = --tar ]; then tar_file="${2:?--tar needs a file}"; fi
[ "$(id -u)" = 0 ] || die "run as root: sudo tools/docker-base.sh"
command -v debootstrap >/dev/null || die "debootstrap is not installed: apt-get install -y debootstrap"
if [ -z "$tar_file" ]; then
  docker version --format '{{.Server.Version}}' >/dev/null \
    || die "no Docker daemon answers: apt-get install -y docker.io, then start it"
fi

folder="$(mktemp -d -t splitbrain-base-XXXXXX)"
trap 'rm -rf "$folder"' EXIT
root="$folder/root"
if ! debootstrap --variant=minbase --include="$PACKAGES" "$RELEASE" "$root" "$MIRROR" \
    >"$folder/log" 2>&1; then
  tail -n 5 "$folder/log" >&2
  die "debootstrap failed"
fi
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
if [ -n "$tar_file" ]; then
  tar --numeric-owner -C "$root" -cf "$tar_file" .
  printf 'docker-base: %s bytes in %s\n' "$(stat -c %s "$tar_file")" "$tar_file"
else
  tar --numeric-owner -C "$root" -c . | docker import --change 'CMD ["/bin/sh"]' - "$NAME" >/dev/null
  printf 'docker-base: %s is there, %s bytes\n' "$NAME" \
    "$(docker image inspect --format '{{.Size}}' "$NAME")"
fi
