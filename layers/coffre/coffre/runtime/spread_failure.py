"""Why a state machine ended, when no step of it has said so itself."""

from __future__ import annotations

import json
from typing import Final

from coffre.model.backup import Failure

# After many attempts: Lambda may not start one more function of this account.
_THROTTLED: Final = "Lambda.TooManyRequestsException"
# Of the map: a worker failed for good, and no worker has recorded why, since none could.
_UNSAID: Final = "States.ExceedToleratedFailureThreshold"
_UNSAID_HINT: Final = (
    "Nothing was published. The failed items of the execution, whose name is the backup's id, say why. "
    "Lambda.TooManyRequestsException: the account runs too few functions at a time; have its quota raised, or lower "
    "limits.streams (of buckets: limits.functions). Sandbox.Timedout or Runtime.ExitError: the function was killed; "
    "raise MemorySize. Then run the backup again."
)
_HINT: Final = (
    "Nothing was published. The execution of the state machine has the backup's id as its name; its events, and the "
    "function's log, say more. Run the backup again."
)


def failure_of(name: str, cause: str = "") -> Failure:
    """Return the failure of a run whose state machine caught this error.

    Parameters
    ----------
    cause
        What Step Functions has of it: the error of a function is JSON, other causes are text.
    """
    if name == _THROTTLED:
        return Failure(
            code="SPREAD_THROTTLED",
            message="The account runs too few functions at a time for the holders and workers of the backup.",
            hint="Nothing was published. Have the quota of Lambda's concurrent executions raised (a new account has "
            "10), or lower limits.streams: each worker takes four (of buckets: limits.functions). Meanwhile: "
            "limits.spread: never, or --here.",
        )
    try:
        said = json.loads(cause)
    except ValueError:
        said = {}
    text = str(said.get("errorMessage", ""))[:500] if isinstance(said, dict) else ""
    ended = f"The state machine of the backup was stopped, or a step of it could not be repeated: {name}. {text}"
    return Failure(code="SPREAD_STOPPED", message=ended.rstrip(), hint=_UNSAID_HINT if name == _UNSAID else _HINT)
