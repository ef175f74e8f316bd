"""One slot: an actor that keeps one executor busy, stops its tasks, and replaces it.

worker      the actor: decides
options     what it was told to do with its executors
cancels     how it stops tasks, when asked to or at a limit
watch       what it looks at while tasks are here
recycling   how it replaces executors in time
deaths      what becomes of the tasks of an executor that is gone
rows        rows that it makes itself
ledger      what it has sent to its executor
port        what it knows of its executor
process     the real executor: a child process
claims      the pipe that decides who has a task
"""
