"""Lambda function `verify`: are there recent backups, is all of them there, is every byte as it was stored?"""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import once
from coffre.runtime.function import LambdaContext
from coffre.runtime.verify_function import VerifyFunction

function = once(VerifyFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/verify/`."""
    return function().handle(event, context)
