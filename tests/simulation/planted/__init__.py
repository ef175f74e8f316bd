"""Bugs to be planted, by what they break."""
