"""The directory on the function's own disk that exists as long as one job."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from coffre.model.errors import ScratchError

# For the operator, a quota and a limit on the size of files have the same cure.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make a directory, and remove it with everything in it.

    Raises
    ------
    ScratchError
        `SCRATCH_FULL`: something inside could not be written for lack of room.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="coffre-") as directory:
            yield Path(directory)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ScratchError(
            "The function's temporary disk is full.",
            detail=error.strerror,
            hint="Raise EphemeralStorage in template.yaml: the schema and the lists of entries go there.",
        ) from error
