"""Which rows of a table: those of a period, or those for which an expression is true."""

from __future__ import annotations

import re
from typing import Final, Self

from pydantic import Field, field_validator, model_validator

from coffre.model.document import Document

_SPACE: Final = r"[ \t\n\r\f\v]"
_NAME_START: Final = r"A-Za-z_\x80-\U0010ffff"
# What an expression is made of as far as its borders go: texts in quotes, names (which may hold dollars), texts in
# dollar quotes, comments, single characters. A text with backslashes continues in quotes of the next line.
_PIECES: Final = rf"""
    [eE]'(?:[^'\\]|''|\\.)*'(?:{_SPACE}*[\n\r]{_SPACE}*'(?:[^'\\]|''|\\.)*')*|'(?:[^']|'')*'|"(?:[^"]|"")*"
    |[{_NAME_START}][{_NAME_START}0-9$]*|(\$(?:[{_NAME_START}][{_NAME_START}0-9]*)?\$).*?\1|--|/\*|."""


class RowFilter(Document):
    """Which rows of a table: those of a period of one column, or those for which an SQL expression is true.

    Parameters
    ----------
    column, start, end
        `column >= start AND column < end`, in words that the server takes for values of the column; each border may be
        missing, not both.
    where
        An expression over the table's columns, for experts. It cannot have a subquery.
    """

    column: str | None = Field(default=None, min_length=1)
    start: str | None = Field(default=None, min_length=1)
    end: str | None = Field(default=None, min_length=1)
    where: str | None = Field(default=None, min_length=1)

    @field_validator("column", "start", "end", "where")
    @classmethod
    def _has_no_nul(cls, text: str | None) -> str | None:
        if text is not None and "\0" in text:
            raise ValueError("no text of PostgreSQL has a NUL character")
        return text

    @field_validator("where")
    @classmethod
    def _is_one_expression(cls, where: str | None) -> str | None:
        if where is not None and (why := why_not_an_expression(where)) is not None:
            raise ValueError(why)
        return where

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.column is None) == (self.where is None):
            raise ValueError("rows needs either a column with a period, or where")
        if self.column is not None and self.start is None and self.end is None:
            raise ValueError("a period needs a start or an end")
        if self.where is not None and not (self.start is self.end is None):
            raise ValueError("start and end need a column")
        return self


def why_not_an_expression(text: str) -> str | None:
    """Return why a text cannot stand in parentheses as one SQL expression; None when it can.

    What it means is the server's to say; here it is only made sure that it ends where its parentheses end.
    """
    depth, token = 0, re.compile(_PIECES, re.DOTALL | re.VERBOSE)  # here: 20 ms of each function's start
    for found in token.finditer(text):
        piece = found[0]
        if piece in ("--", "/*"):
            return "an expression cannot have comments"
        if piece == ";":
            return "only one expression is possible, without a semicolon"
        if piece in ("'", '"'):
            return f"a quote {piece} is not closed"
        depth += (piece == "(") - (piece == ")")
        if depth < 0:
            break
    return None if depth == 0 else "the parentheses do not match"
