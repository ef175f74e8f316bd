"""The child process that runs user code for one worker, one task at a time, on its main thread.

    main           where the process starts, and its loop: claim, run, answer
    guard          one attempt: whatever the task does, a row comes out
    interrupt      the signal that stops a task, and the window in which it may
    output         what the task prints
    surroundings   put back after each task: directory, environment, signals, streams
    grants         and what the kernel grants: limits, priority, cores, umask, timers
    leftovers      threads and processes that a stopped task left behind
    channel        the pipes from and to the worker

Nothing here decides; the worker does.
"""
