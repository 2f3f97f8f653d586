"""A second SSH server on a lab host: it lets connections through, and knows two users besides root.

`worker` may use sudo (where this machine has it), `nobody-much` may not.
"""

from pathlib import Path

from harness.hosts.lab import Lab

PORT = 2222
# A second server on the first host: it forwards, and knows users that the lab's own does not.
START = f"""
set -e
mkdir -p /run/way/home && cp /run/lab/authorized_keys /run/way/keys && chmod 644 /run/way/keys
sed -i 's/^restrict,pty //' /run/way/keys
for user in worker:4242 nobody-much:4243; do
  name=${{user%:*}} number=${{user#*:}}
  mkdir -p /run/way/$name && chown $number:$number /run/way/$name
  echo "$name:x:$number:$number::/run/way/$name:/bin/sh" >> /etc/passwd
  echo "$name:*:19000:0:99999:7:::" >> /etc/shadow
done
if [ -e /etc/sudoers ]; then
  printf 'root ALL=(ALL) ALL\\nworker ALL=(root) NOPASSWD: ALL\\n' > /run/way/sudoers
  chmod 440 /run/way/sudoers && mount --bind /run/way/sudoers /etc/sudoers
fi
sed -e 's/^Port .*/Port {PORT}/' -e 's/^AllowTcpForwarding .*/AllowTcpForwarding yes/' \\
  -e 's#^AuthorizedKeysFile .*#AuthorizedKeysFile /run/way/keys#' \\
  -e 's#^PidFile .*#PidFile /run/way/pid#' /run/lab/sshd_config > /run/way/config
$(command -v sshd || echo /usr/sbin/sshd) -f /run/way/config -E /run/way/log
"""
STOP = """
kill $(cat /run/way/pid); umount /etc/sudoers 2>/dev/null
for file in /etc/passwd /etc/shadow; do
  grep -v -e ^worker: -e ^nobody-much: $file > /run/way/new; cat /run/way/new > $file
done
rm -rf /run/way
"""


def known_hosts(lab: Lab, path: Path) -> Path:
    """Write down the keys of the lab's hosts, for their second servers too."""
    text = lab.hosts[0].known_hosts_path.read_text(encoding="ascii")
    for line in text.splitlines():
        address, _, key = line.partition(" ")
        text += f"[{address}]:{PORT} {key}\n"
    path.write_text(text, encoding="ascii")
    return path
