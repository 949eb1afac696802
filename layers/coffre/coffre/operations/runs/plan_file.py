"""A file of a spread run's plan in the vault: written once, and read with the SHA-256 that it was written with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from coffre.model.errors import IntegrityError, ObjectMissingError

_HINT: Final = (
    "Nothing was published, and older backups are untouched. Take the backup again. Who else can write to the vault? "
    "`coffre audit accesses` shows it."
)


def read_plan_file(key: str, read: Callable[[], bytes], sha256: str) -> bytes:
    """Return the bytes that `read` returns, if they have this SHA-256.

    Raises
    ------
    IntegrityError
        `PLAN_MISSING`, or `PLAN_CHANGED`.
    """
    try:
        body = read()
    except ObjectMissingError as error:
        raise IntegrityError(
            f"The plan of this backup is not in the vault: {key}.", code="PLAN_MISSING", hint=_HINT
        ) from error
    except IntegrityError as error:
        raise plan_changed(key) from error
    if hashlib.sha256(body).hexdigest() != sha256:
        raise plan_changed(key)
    return body


def plan_changed(key: str) -> IntegrityError:
    """Return the error of a plan that is not the one that was written."""
    return IntegrityError(
        f"The plan of this backup was changed after it was written: {key}.", code="PLAN_CHANGED", hint=_HINT
    )
