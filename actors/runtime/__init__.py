"""Where decisions meet the world: the poll loop, node threads, the launcher and its children."""
