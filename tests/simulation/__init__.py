"""The whole of scaler in virtual time: production actors, modelled executors, users and faults.

plans      what a seed does, as data: options, tasks, what users do, faults
drawing    how a seed draws its plan
truth      what really happened, written down by the models; what must hold at each step
verdicts   what each future may have become, by that truth
rest       what must be left when all has ended: nothing
executor   the model of an executor, and of the host whose launcher starts them
client     the model of a client with its user: real futures, a real future manager
world      all of it put together
runner     seeds, replays, and the shrinking of scripts that fail
"""
