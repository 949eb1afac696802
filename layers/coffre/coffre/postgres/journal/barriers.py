"""Which changes of definitions a journal cannot follow.

A change stream has rows alone. Definitions are read at each drain and compared: whatever has changed in between is a
barrier, because nothing shows that the rows before and after it fit the same definitions. They are compared by marks,
because a drain cannot read what it stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from coffre.model.journal import DefinitionMark
from coffre.model.names import TableName
from coffre.postgres.journal.changes import Barrier, BarrierKind
from coffre.postgres.journal.definitions import Definitions, Table, UserType

_SHAPE_DIGITS: Final = 16
_BUILT_IN: Final = "pg_catalog."
_NAME_BYTES: Final = 63

type Emptied = Mapping[tuple[TableName, int], frozenset[TableName]]
"""Tables that a TRUNCATE has emptied, each with its transaction, and all that the same statement has emptied."""
NOTHING_EMPTIED: Final[Emptied] = MappingProxyType({})


def marks_of(definitions: Definitions) -> tuple[DefinitionMark, ...]:
    """Return one mark for each table and type, sorted."""
    found = [
        _mark(name, replace(table, file=0, version=0)).model_copy(
            update={
                "file": table.file,
                "version": table.version,
                "toast": table.toast,
                "command": table.command,
                "indexes": table.indexes,
            }
        )
        for name, table in definitions.tables.items()
    ]
    found += [_mark(name, user_type) for name, user_type in definitions.types.items()]
    return tuple(sorted(found, key=lambda mark: (mark.schema_name, mark.name, mark.shape)))


def names_of(definitions: Definitions) -> tuple[DefinitionMark, ...]:
    """Return one mark for each schema, and for the labels of each enum, sorted."""
    found = sorted(definitions.names.items())
    return tuple(DefinitionMark(schema_name=schema, name=name, shape=version) for (schema, name), version in found)


def marked(marks: Sequence[DefinitionMark]) -> str:
    """Return the SHA-256 of marks: the same one means that nothing has changed."""
    digest = hashlib.sha256()
    for mark in marks:
        digest.update(repr((mark.schema_name, mark.name, mark.shape, mark.file, mark.version)).encode())
    return digest.hexdigest()


def barriers(
    before: Sequence[DefinitionMark],
    after: Sequence[DefinitionMark],
    emptied: Emptied = NOTHING_EMPTIED,
) -> list[Barrier]:
    """Return why rows that come after the second marks cannot be applied by the definitions of the first, sorted.

    Parameters
    ----------
    emptied
        The tables that a TRUNCATE in the stream has emptied between the two.
    """
    return sorted(set(_changed(before, after, emptied)))


def touched(
    before: Sequence[DefinitionMark],
    after: Sequence[DefinitionMark],
    definitions: Definitions,
    names: Sequence[DefinitionMark] = (),
    *,
    is_part: bool = False,
) -> list[TableName]:
    """Return the tables whose rows can have been changed without a line of the stream, sorted.

    Those that were changed, dropped or given new files; those with generated columns, which a changed function computes
    in another way; where a type was changed, those with a column of a user's type, and where a table was, those with
    a column that may have its row type within; all of a schema that was renamed, as another one may have had its name.

    Parameters
    ----------
    definitions
        Those of the second marks.
    names
        `names_of` the first ones.
    is_part
        Tables that are not followed may have changed, too, and with them types that are made of their rows.
    """
    new = {(mark.schema_name, mark.name): mark for mark in after}
    changed = [mark for mark in before if not mark.is_like(new.get((mark.schema_name, mark.name)))]
    found = {(mark.schema_name, mark.name) for mark in changed if mark.version}
    other = [name for name in names if definitions.names.get((name.schema_name, name.name)) != name.shape]
    schemas = {name.schema_name for name in other if not name.name}
    found.update((mark.schema_name, mark.name) for mark in before if mark.version and mark.schema_name in schemas)
    has_types = is_part or any(not mark.version for mark in changed) or any(name.name for name in other)
    made_of = _made_of_others(definitions) if any(name in new for name in found) else frozenset()
    found.update(
        name
        for name, table in definitions.tables.items()
        for one in table.columns
        if one.generated
        or (has_types and not one.type_name.startswith(_BUILT_IN))
        or one.type_name.replace('"', "") in made_of
    )
    return sorted(found)


def _made_of_others(definitions: Definitions) -> frozenset[str]:
    """Return the types, without quotes, whose values can have the row of a table in them, and their arrays'."""
    types = [name for name, one in definitions.types.items() if one.labels is None]
    names = [(schema.replace('"', ""), name.replace('"', "")) for schema, name in (*types, *definitions.tables)]
    # An array has the name of its type with an underscore before it, or more of them where that is taken.
    return frozenset(f"{schema}.{_cut(prefix + name)}" for schema, name in names for prefix in ("", "_", "__", "___"))


def _cut(name: str) -> str:
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")


def _changed(before: Sequence[DefinitionMark], after: Sequence[DefinitionMark], emptied: Emptied) -> Iterator[Barrier]:
    # No type has the name of a table: a table's row type has it.
    old = {(mark.schema_name, mark.name): mark for mark in before}
    new = {(mark.schema_name, mark.name): mark for mark in after}
    for name in old.keys() | new.keys():
        then, now = old.get(name), new.get(name)
        if then is not None and now is not None and (then.is_like(now) or _is_emptied(then, now, emptied, new)):
            continue
        has_new_file = then is not None and now is not None and then.shape == now.shape and then.file != now.file
        yield Barrier(BarrierKind.REWRITTEN if has_new_file else BarrierKind.DEFINITION_CHANGED, name)


def _is_emptied(
    then: DefinitionMark, now: DefinitionMark, emptied: Emptied, after: Mapping[TableName, DefinitionMark]
) -> bool:
    """Return whether a TRUNCATE alone has given a table its file.

    Rows that are added between `SET UNLOGGED` and `SET LOGGED` are in no stream, and a TRUNCATE before them hides that
    the file is a third one. So the last to change the table's entry has to be the TRUNCATE: its transaction, which has
    left the TOAST table as it was (a rewrite makes another one). Where there is none, the entry has to be changed by
    one of the commands that such a TRUNCATE has when it is the first of its transaction.
    """
    name = (now.schema_name, now.name)
    together = emptied.get((name, now.version))
    if together is None or then.shape != now.shape or then.file == now.file:
        return False
    if then.toast and now.toast:
        return then.toast == now.toast
    return now.command <= sum(_commands(after[one]) for one in together if one != name and one in after)


def _commands(mark: DefinitionMark) -> int:
    """Return how many commands a TRUNCATE counts for a table: for its file, each index and the TOAST table (measured
    with PostgreSQL 14 to 18)."""
    return (1 + 2 * mark.indexes + (3 if mark.toast else 0)) if mark.file else 0


def _mark(name: TableName, defined: Table | UserType) -> DefinitionMark:
    shape = hashlib.sha256(repr(defined).encode("utf-8", "surrogatepass")).hexdigest()[:_SHAPE_DIGITS]
    return DefinitionMark(schema_name=name[0], name=name[1], shape=shape)
