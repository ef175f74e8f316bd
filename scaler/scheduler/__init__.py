"""The scheduler: every task's state, and which worker runs what."""
