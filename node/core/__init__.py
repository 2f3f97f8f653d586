"""The Raft algorithm, pure: messages and time in, a Ready out. No clock, socket, file or chance."""
