"""Decisions without I/O: the life of an actor, a node's turn, deadlines, names, the codec."""
