"""The life of a run, for every job: admission, heartbeat and deadline, work in parallel, the record of its end."""
