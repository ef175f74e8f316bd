"""One slot: an actor that keeps one executor busy, stops its tasks, and replaces it.

worker      the actor: decides
port        what it knows of its executor
process     the real executor: a child process
claims      the pipe that decides who has a task
"""
