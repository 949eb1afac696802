"""What people read of a state machine that ended without a word of its steps."""

import pytest

from coffre.runtime.spread_failure import failure_of


@pytest.mark.parametrize(
    ("name", "cause", "code", "words"),
    [
        ("Lambda.TooManyRequestsException", "Rate Exceeded.", "SPREAD_THROTTLED", "a new account has 10"),
        (
            "TransientError",
            '{"errorMessage": "The vault asked to slow down. [STORE_THROTTLED]", "errorType": "TransientError"}',
            "SPREAD_STOPPED",
            "TransientError. The vault asked to slow down. [STORE_THROTTLED]",
        ),
        ("States.ItemReaderFailed", "The list could not be read", "SPREAD_STOPPED", "States.ItemReaderFailed."),
        (
            "States.ExceedToleratedFailureThreshold",
            "",
            "SPREAD_STOPPED",
            "Lambda.TooManyRequestsException: the account",
        ),
        ("status ABORTED", "[1]", "SPREAD_STOPPED", "status ABORTED."),
    ],
)
def test_the_failure_says_what_ended_the_run_and_what_to_do(name: str, cause: str, code: str, words: str) -> None:
    failure = failure_of(name, cause)

    assert failure.code == code
    assert words in f"{failure.message} {failure.hint}"
    assert failure.hint is not None
    assert "Nothing was published." in failure.hint
