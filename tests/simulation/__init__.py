"""The whole of scaler in virtual time: production actors, modelled executors, users and faults.

plans      what a seed does, as data: options, tasks, what users do, faults
drawing    how a seed draws its plan
truth      what really happened, written down by the models; what must hold at each step
verdicts   what each future may have become, by that truth
rest       what must be left when all has ended: nothing
executor   what a worker sees of an executor: page, claims, the wish to interrupt and to kill
process    the model of its process: how it claims, runs, answers, unwinds, dies
steps      what such a process does one after the other
host       the model of a host, whose launcher starts executors
payloads   what rows carry
client     the model of a client with its user: real futures, a real future manager
world      all of it put together
runner     seeds, one or many
shrinking  smaller scripts that still fail
marks      what must happen sometimes
"""
