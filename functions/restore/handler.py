"""Lambda function `restore`: restore one backup into a new or empty database."""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import restore_function
from coffre.runtime.function import LambdaContext


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/restore/`."""
    return restore_function().handle(event, context)
