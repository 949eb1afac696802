"""Exit statuses of `coffre`."""

from enum import IntEnum


class Exit(IntEnum):
    """What a script can tell apart. 2 is wrong usage, said by the option parser."""

    DONE = 0
    FAILED = 1
    SKIPPED = 3
    EXCEPTIONS = 4
    INTERRUPTED = 130
