"""Exit statuses of `coffre`."""

from enum import IntEnum


class Exit(IntEnum):
    """What a script can distinguish. The option parser uses 2 for wrong usage."""

    DONE = 0
    FAILED = 1
    SKIPPED = 3
    EXCEPTIONS = 4
    UNKNOWN = 5
    INTERRUPTED = 130
