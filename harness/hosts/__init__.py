"""Where systems run: the lab on this machine, containers, or hosts of an inventory file."""
