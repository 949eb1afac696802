"""Lambda function `journal`: store what changed in databases between their backups."""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import once
from coffre.runtime.function import LambdaContext
from coffre.runtime.journal_function import JournalFunction

function = once(JournalFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/journal/`."""
    return function().handle(event, context)
