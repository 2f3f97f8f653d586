"""Makes runs happen: spec, hosts, systems, nemesis, interpreter, store, command."""
