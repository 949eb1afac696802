"""The error that a function's answer describes, for those who invoke it: the command and the console."""

from __future__ import annotations

import re
from typing import Final, Self

from coffre.model.errors import PermanentError

_WITH_CODE: Final = re.compile(r"(.+) \[([A-Z][A-Z0-9_]*)\]", re.DOTALL)


class FunctionFailedError(PermanentError):
    """A function raised an error instead of an answer."""

    default_code = "FUNCTION_FAILED"

    @classmethod
    def of(cls, function: str, answer: object) -> Self:
        """Return the error that a function's answer describes: `CoffreError.__str__` in Lambda's `errorMessage`."""
        words = str(answer.get("errorMessage", "")) if isinstance(answer, dict) else ""
        told, _, hint = words.partition("\n  What to do: ")
        first, _, detail = told.partition("\n  ")
        found = _WITH_CODE.fullmatch(first)
        message, code = (found[1], found[2]) if found else (first or f"The function {function} failed.", None)
        return cls(message, code=code, detail=detail[:2000] or None, hint=hint or None)
