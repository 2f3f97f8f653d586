"""Where systems run: hosts on this machine (the lab) or hosts of an inventory file."""
