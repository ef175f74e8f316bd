"""The caller's side: futures, credit, callbacks, map.

outcome       what a cancel came to, what a task cost, what a future needs of its client
lazy          a standard future that is cheap until somebody waits
future        `ScalerFuture`
callbacks     the thread that runs the user's callbacks
loops         is this a coroutine, a callback of a loop, a notebook's cell?
credit        what a client may have in flight
chunking      how many items of a map ride in one task
mapping       map and imap over chunks
"""
