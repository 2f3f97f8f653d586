"""The whole node in one process and virtual time: one seed decides everything."""
