"""Lambda function `verify`: check that backups are recent, complete, and as they were stored."""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import once
from coffre.runtime.function import LambdaContext
from coffre.runtime.verify_function import VerifyFunction

function = once(VerifyFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/verify/`."""
    return function().handle(event, context)
