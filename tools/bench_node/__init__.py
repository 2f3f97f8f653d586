"""The benchmark of the node beside etcd and PySyncObj: one client, one place, one table.

`command` has the options; `throughput` and `growth` say what is measured; `servers` knows the
systems, `node_command` the command line of ours; `clients` makes the load; `measures` the table.
"""
