"""Imports, and what is made when a process is used first, without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


@contextmanager
def kept_imports() -> Iterator[None]:
    """Import without collecting garbage, and leave out of later collections what was made.

    What imports make lives as long as the process. The collector walks it again and again while it grows, and once
    more in a request every now and then: `gc.freeze` (https://docs.python.org/3/library/gc.html) keeps it out of that.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


_first_use = iter([kept_imports])


def kept_first_use() -> AbstractContextManager[None]:
    """Return what keeps all that the first use makes, such as models' validators, templates and clients."""
    return next(_first_use, nullcontext)()
