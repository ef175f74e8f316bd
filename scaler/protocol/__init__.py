"""The messages between client, scheduler, worker and executor. Values only, no behaviour."""
