"""Calls to AWS whose refusal is a fact like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from coffre.policy.checks.answers import Answer, Refused

# What AWS's services say to who may not make a call. HEAD has no body: its code is the status.
_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "UnauthorizedOperation",
        "403",
    }
)


def ask[T](action: str, call: Callable[[], T]) -> Answer[T]:
    """Return what a call answers, or why it does not.

    Parameters
    ----------
    action
        The IAM action that the call needs.
    """
    try:
        return call()
    except ClientError as error:
        answer = error.response.get("Error", {})
        code = str(answer.get("Code", ""))
        return Refused(action, f"{code}: {answer.get('Message', '')}"[:500], is_denied=code in _DENIED)
    except (BotoCoreError, ResponseParserError) as error:
        return Refused(action, f"{type(error).__name__}: {error}"[:500])


def ask_unless[T](action: str, call: Callable[[], T], absent: str, default: T) -> Answer[T]:
    """Return what a call answers; `default` when the answer is the error code `absent`: nothing is set."""
    found = ask(action, call)
    return default if isinstance(found, Refused) and found.why.startswith(f"{absent}:") else found
