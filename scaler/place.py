"""Whether this process runs tasks. Set once by the executor; forks of a task inherit it."""

inside_task = False
