"""Decisions without I/O: the life of an actor, open asks, timers, names, the codec."""
