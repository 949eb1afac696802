"""Storage parameters that a destination does not know, taken out of a definition.

They stand in `WITH (...)` of whatever is created, and in `SET (...)` of whatever is altered. Everything else in a
definition is only read to find these lists: strings, comments, dollar quotes and names stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from coffre.postgres.archive.sql_tokens import Token, tokens_of

KNOWN: Final = frozenset({"pg_attver"})
"""What a server keeps for itself among a column's options, where a `pg_dump` that is older than the server finds it.

PostgreSQL 15.20 of November 2026 counts there how often a column's type changed. It means nothing to any other server.
"""

# Without these an object works, but does less to protect what it shows: it is better refused than made.
PROTECTIVE: Final = frozenset({"security_barrier", "security_invoker", "check_option"})

INVALID_OPTION: Final = frozenset({"22023", "42601"})
"""SQLSTATEs under which a server refuses an option: of relations and columns, of publications and subscriptions."""

_REST_OF_LINE: Final = re.compile(r"[ \t]*\n?")


@dataclass(frozen=True)
class _Options:
    """A list of options: the index of its opening and closing parenthesis, and from where to where its options are."""

    opening: int
    closing: int
    items: tuple[tuple[int, int], ...]


def without_known(definition: str) -> str:
    """Return a definition without what no other server knows (`KNOWN`)."""
    for name in KNOWN:
        if name in definition and (shorter := without_option(definition, name)) is not None:
            definition = shorter
    return definition


def without_option(definition: str, name: str) -> str | None:
    """Return statements without one option; None when no list of options in them has it.

    A list that would be empty goes with its `WITH`, and a `SET` without options with its statement: an empty text is
    left of a definition that did nothing else.

    Parameters
    ----------
    name
        As the server names it: `pg_attver`. An option of a TOAST table is named with or without its `toast.`.
    """
    cuts = [cut for statement in _statements(definition) for cut in statement.cuts(name)]
    if not cuts:
        return None
    kept, position = [], 0
    for start, end in cuts:
        kept.append(definition[position:start])
        position = end
    text = "".join((*kept, definition[position:]))
    return text if text.strip() else ""


def refused_option(definition: str, complaint: str) -> str | None:
    """Return the option of a definition that a server's complaint has in quotes, in whatever language it complains.

    None when it has none, or one without which the object must not be made (`PROTECTIVE`).
    """
    for statement in _statements(definition):
        for options in statement.lists():
            for name in map(statement.name, options.items):
                if name not in PROTECTIVE and _is_quoted(name, complaint):
                    return name
    return None


def _is_quoted(name: str, complaint: str) -> bool:
    """Whether a complaint has a name, or what is before or behind its dot, between quotation marks of any kind."""
    parts = "|".join(re.escape(part) for part in (name, *name.split(".")))
    return re.search(rf"[\"'«»„“”‘’「『]\s?(?:{parts})\s?[\"'«»„“”‘’」』]", complaint) is not None


class _Statement:
    """A statement of a definition, as tokens whose positions are those in the whole definition."""

    def __init__(self, definition: str, tokens: Sequence[Token]) -> None:
        self._definition = definition
        self._tokens = tokens

    def lists(self) -> Iterator[_Options]:
        """Yield the lists of options: `WITH (...)` anywhere, `SET (...)` as an action of an `ALTER`."""
        depth = 0
        for index, token in enumerate(self._tokens[:-1]):
            depth += token.depth
            is_list = token.is_word("with") or (
                token.is_word("set") and depth == 0 and self._tokens[0].is_word("alter")
            )
            if is_list and self._tokens[index + 1].is_sign("("):
                options = self._options(index + 1)
                if options is not None:
                    yield options

    def name(self, item: tuple[int, int]) -> str:
        """Return the name of an option, with its namespace if it has one."""
        parts = []
        for token in self._tokens[slice(*item)]:
            if token.kind not in ("word", "quoted") and not token.is_sign("."):
                break
            parts.append(token.value)
        return "".join(parts)

    def cuts(self, name: str) -> list[tuple[int, int]]:
        """Return the ranges of text that go with an option, in order."""
        cuts: list[tuple[int, int]] = []
        emptied: set[int] = set()
        for options in self.lists():
            kept = [item for item in options.items if not _is_option(self.name(item), name)]
            if kept and len(kept) < len(options.items):
                cuts += self._between(options, kept)
            elif not kept and options.items and self._tokens[options.opening - 1].is_word("with"):
                cuts.append((self._after(options.opening - 2), self._tokens[options.closing].end))
            elif not kept and options.items:
                emptied.add(options.opening)
        return self._without_actions(emptied, cuts) if emptied else cuts

    def _options(self, opening: int) -> _Options | None:
        """Read a list of options; None when it never ends."""
        items = []
        depth, start = 0, opening + 1
        for index in range(opening, len(self._tokens)):
            token = self._tokens[index]
            depth += token.depth
            if depth == 0 or (depth == 1 and token.is_sign(",")):
                if start < index:
                    items.append((start, index))
                start = index + 1
            if depth == 0:
                return _Options(opening, index, tuple(items))
        return None

    def _between(self, options: _Options, kept: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Yield what goes between the options that are kept: each keeps the comma before it, the first has none."""
        position = self._tokens[options.opening].end
        for number, (start, end) in enumerate(kept):
            wanted = self._tokens[start].start if number == 0 else self._tokens[start - 2].end
            if position < wanted:
                yield position, wanted
            position = self._tokens[end - 1].end
        if position < (end := self._tokens[options.closing - 1].end):
            yield position, end

    def _after(self, index: int) -> int:
        """Return where the text behind a token can be cut: right there, unless a comment follows that stays."""
        end, following = self._tokens[index].end, self._tokens[index + 1].start
        return following if self._definition[end:following].strip() else end

    def _without_actions(self, emptied: set[int], cuts: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Add what goes of an `ALTER` with the actions that have no options left; all of it when no action is left."""
        actions = self._actions(min(emptied))
        kept = [action for action in actions if emptied.isdisjoint(range(*action))]
        if not kept:
            return [(self._tokens[0].start, self._end_of_line())]
        for start, end in actions:
            if (start, end) in kept:
                continue
            if start < kept[0][0]:
                cuts.append((self._tokens[start].start, self._tokens[kept[0][0]].start))
            else:
                cuts.append((self._tokens[start - 1].start, self._tokens[end - 1].end))
        return _joined(cuts)

    def _actions(self, first: int) -> list[tuple[int, int]]:
        """Return from where to where the actions of an `ALTER` are. `first` is the opening of one of its lists."""
        borders = []
        depth = 0
        for index, token in enumerate(self._tokens):
            depth += token.depth
            if depth == 0 and token.is_sign(",", ";"):
                borders.append(index)
        if not borders or not self._tokens[-1].is_sign(";"):
            borders.append(len(self._tokens))
        start = self._start_of_action(first) if first < borders[0] else 0
        actions = []
        for border in borders:
            actions.append((start, border))
            start = border + 1
        return actions

    def _start_of_action(self, opening: int) -> int:
        """Return where the action with this list begins: at its `SET`, or at `ALTER [COLUMN] name` before that."""
        start = opening - 1
        for before in (2, 3):
            words = self._tokens[max(start - before, 1) : start - 1]
            if words and words[0].is_word("alter") and (before == 2 or words[1].is_word("column")):
                return start - before
        return start

    def _end_of_line(self) -> int:
        found = _REST_OF_LINE.match(self._definition, self._tokens[-1].end)
        return found.end() if found else self._tokens[-1].end


def _is_option(found: str, name: str) -> bool:
    return name == found or ("." in found and name in found.split("."))


def _joined(cuts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in order, those that overlap as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(cuts):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _statements(definition: str) -> Iterator[_Statement]:
    """Yield the statements that can have options. What follows a semicolon in a function's body begins otherwise."""
    tokens: list[Token] = []
    for token in tokens_of(definition):
        tokens.append(token)
        if token.is_sign(";"):
            if tokens[0].is_word("create", "alter"):
                yield _Statement(definition, tokens)
            tokens = []
    if tokens and tokens[0].is_word("create", "alter"):
        yield _Statement(definition, tokens)
