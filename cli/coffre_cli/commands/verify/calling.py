"""How `coffre verify` calls the functions and shows that it waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from coffre.model.errors import PermanentError
from coffre_cli.screen import error_console

if TYPE_CHECKING:
    from coffre_cli.deployed import DeployedStack


class VerificationError(PermanentError):
    """The function `verify` or `drill` failed; the backups may still be good."""

    default_code = "VERIFICATION_STOPPED"


def call_function(
    deployed: DeployedStack, event: Mapping[str, Any], words: str, *, quiet: bool, function: str = "verify"
) -> object:
    """Invoke a function, and return its answer; fields of the event that are None are left out.

    Raises
    ------
    VerificationError
        The function raised an error.
    """
    given = {name: value for name, value in event.items() if value is not None}
    with error_console.status(words, spinner="dots") as status:
        if quiet:
            status.stop()
        answer, succeeded = deployed.call(function, given)
    if not succeeded:
        message = answer.get("errorMessage", "") if isinstance(answer, dict) else ""
        raise VerificationError(
            "The verification stopped. This does not mean that a backup is damaged.",
            detail=str(message)[:2000],
            hint="Correct the cause, and run it again.",
        )
    return answer
