"""How functions, arguments, results and exceptions become bytes, and objects again.

    by_value      what cannot be imported by name travels by value: cloudpickle, imported late
    snapshot      everything a function by value was made of, to see cheaply that it changed
    functions     `FunctionPickler` (client), `load_function` (executor)
    reasons       what errors say
    values        arguments, chunks of arguments, results
    tracebacks    frames as plain rows, and tracebacks made of them again
    exception_body    one error by itself, in the way that suits its class
    exceptions    errors with chain, groups, notes and remote traceback

Only callers and executors open these bytes; to everyone between they are opaque.
"""
