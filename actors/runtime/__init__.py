"""Where cores meet the machine: the poll loop, threads, processes. Decides nothing."""
