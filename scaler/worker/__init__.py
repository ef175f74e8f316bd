"""One slot: an actor that keeps one executor busy, stops its tasks, and replaces it.

worker      the actor: decides
cancels     how it stops tasks
ledger      what it has sent to its executor
port        what it knows of its executor
process     the real executor: a child process
claims      the pipe that decides who has a task
"""
