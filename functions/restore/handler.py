"""Lambda function `restore`: restore one backup into a new or empty database."""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import once
from coffre.runtime.function import LambdaContext
from coffre.runtime.restore_function import RestoreFunction

function = once(RestoreFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/restore/`."""
    return function().handle(event, context)
