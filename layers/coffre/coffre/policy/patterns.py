"""Patterns for names of tables and schemas, as `pg_dump` and `psql` understand them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Final

from coffre.model.errors import EventError
from coffre.model.names import shown

# A quoted piece, where nothing is special, or a single character, folded to lower case.
_PIECE: Final = re.compile(r'"((?:[^"]|"")*)"|(.)', re.DOTALL)
_STAGING_START: Final = "restored_"
_STAGING_SCHEMA: Final = re.compile(rf"{_STAGING_START}[0-7][0-9a-hjkmnp-tv-z]{{25}}")
_STAGING_DATABASE: Final = re.compile(r".*_(restored|before)_[0-7][0-9a-hjkmnp-tv-z]{25}", re.DOTALL)
_WILD: Final = {"*": ".*", "?": "."}


def table_pattern(pattern: str) -> Callable[[str, str], bool]:
    """Return whether a schema and a table name (raw) fit a pattern: `orders`, `public.order_*`, `"Odd.Name"`.

    Without a schema, tables of every schema fit. `*` stands for any text, `?` for one character; letters outside of
    double quotes are taken in lower case.
    """
    *schema, table = _split(pattern)
    wanted_schema = re.compile(schema[0], re.DOTALL) if schema else None
    wanted_table = re.compile(table, re.DOTALL)

    def fits(schema_name: str, table_name: str) -> bool:
        is_schema = wanted_schema is None or wanted_schema.fullmatch(schema_name) is not None
        return is_schema and wanted_table.fullmatch(table_name) is not None

    return fits


def restored_pattern(pattern: str) -> Callable[[str, str], bool]:
    """Return `table_pattern`, but of the schemas that restores stage in only for a pattern that names one.

    A backup that was taken between two restores has them too: `orders` does not mean those.
    """
    fits = table_pattern(pattern)
    if pattern.lstrip('"').startswith(_STAGING_START):
        return fits
    return lambda schema_name, table_name: not is_staging_schema(schema_name) and fits(schema_name, table_name)


def is_staging_schema(name: str) -> bool:
    """Return whether a schema is one that a restore of tables has made."""
    return _STAGING_SCHEMA.fullmatch(name) is not None


def is_left_database(name: str) -> bool:
    """Return whether a database is one that a restore with --replace has kept: the new one, or the one before it."""
    return _STAGING_DATABASE.fullmatch(name) is not None


def schema_pattern(pattern: str) -> Callable[[str], bool]:
    """Return whether a schema's raw name fits a pattern."""
    pieces = _split(pattern)
    wanted = re.compile(pieces[0], re.DOTALL)
    return lambda name: len(pieces) == 1 and wanted.fullmatch(name) is not None


def database_pattern(pattern: str) -> Callable[[str], bool]:
    """Return whether a database's raw name fits a pattern. A dot is a character as any other: nothing is divided.

    Raises
    ------
    EventError
        `PATTERN_INVALID`: it is empty.
    """
    wanted = re.compile(r"\.".join(_pieces(pattern)), re.DOTALL)
    if not pattern:
        raise _invalid(pattern)
    return lambda name: wanted.fullmatch(name) is not None


def chosen[T](
    tables: Iterable[T], name_of: Callable[[T], tuple[str, str]], table_patterns: Iterable[str], schemas: Iterable[str]
) -> list[T]:
    """Return the tables that fit any of the patterns, in their order.

    Raises
    ------
    EventError
        Code `PATTERN_UNMATCHED`: a pattern that no table fits, with names that are near it.
    """
    candidates = list(tables)
    names = [name_of(table) for table in candidates]
    fitting: set[int] = set()
    wanted = [(pattern, restored_pattern(pattern)) for pattern in table_patterns]
    wanted += [(f"{pattern}.*", _whole_schema(pattern)) for pattern in schemas]
    for pattern, fits in wanted:
        found = {index for index, name in enumerate(names) if fits(*name)}
        if not found:
            raise _unmatched(pattern, names)
        fitting |= found
    return [candidates[index] for index in sorted(fitting)]


def _whole_schema(pattern: str) -> Callable[[str, str], bool]:
    fits = schema_pattern(pattern)
    return lambda schema_name, _: fits(schema_name)


def _unmatched(pattern: str, names: list[tuple[str, str]]) -> EventError:
    known = [shown(*name) for name in names]
    last = pattern.rpartition(".")[2]
    near = get_close_matches(pattern, known, n=3) or [
        shown(*name) for name in names if get_close_matches(last, [name[1]], n=1)
    ]
    hint = f"Did you mean {', '.join(near[:3])}?" if near else "`coffre show ID` lists the tables of a backup."
    return EventError(f'No table of the backup matches "{pattern}".', code="PATTERN_UNMATCHED", hint=hint)


def _split(pattern: str) -> list[str]:
    """Return the regular expressions of a pattern's names: one, or two."""
    pieces = _pieces(pattern)
    if not all(pieces) or len(pieces) > 2:
        raise _invalid(pattern)
    return pieces


def _pieces(pattern: str) -> list[str]:
    """Return the regular expressions of a pattern's names; dots outside of quotes divide them."""
    pieces = [""]
    for found in _PIECE.finditer(pattern):
        text, character = found[1], found[2]
        if text is not None:
            pieces[-1] += re.escape(text.replace('""', '"'))
        elif character == ".":
            pieces.append("")
        else:
            pieces[-1] += _WILD.get(character) or re.escape(character.lower())
    return pieces


def _invalid(pattern: str) -> EventError:
    return EventError(
        f'"{pattern}" is not a name or a pattern.',
        code="PATTERN_INVALID",
        hint='Write a table, or schema.table; names with dots or capital letters in double quotes: public."Order".',
    )
