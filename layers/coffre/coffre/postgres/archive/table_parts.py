"""The definition of a table in parts: those that it can be made without, so that its rows can be loaded.

`pg_dump` writes one `CREATE TABLE` with columns, defaults, generated columns and checks, then `ALTER TABLE` statements
with settings of single columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from coffre.postgres.archive.sql_tokens import Token, tokens_of


class PartKind(StrEnum):
    """What a table can be made without, in a person's words."""

    DEFAULT = "default"
    GENERATED = "generated column"
    COLLATION = "collation"
    TYPE = "type"
    CHECK = "constraint"
    SETTING = "setting"


@dataclass(frozen=True)
class Part:
    """A part that a table can be made without.

    Parameters
    ----------
    name
        Of the column or constraint; of a setting its statement.
    later
        The SQL that adds it to the table when the reason is gone.
    """

    kind: PartKind
    name: str
    later: str


@dataclass(frozen=True)
class _Column:
    """A column as the archive has it: its name, its type, and its clauses by their first word in lower case."""

    name: str
    quoted: str
    type_text: str
    clauses: dict[str, str] = field(default_factory=dict)

    def text(self, without: Collection[Part]) -> str:
        """Return the column; as `text` when its type is left out, and with no clause that says more of it then."""
        kinds = {part.kind for part in without if part.name == self.name}
        dropped = set()
        if PartKind.GENERATED in kinds:
            dropped |= {"generated", "not", "constraint"}
        if PartKind.TYPE in kinds:
            dropped |= {"default", "collate"}
        if PartKind.DEFAULT in kinds:
            dropped.add("default")
        if PartKind.COLLATION in kinds:
            dropped.add("collate")
        type_text = "text" if PartKind.TYPE in kinds else self.type_text
        return " ".join([self.quoted, type_text, *(text for word, text in self.clauses.items() if word not in dropped)])


@dataclass(frozen=True)
class TableDefinition:
    """A table's definition: `table` is its name as the definition has it, `tail` what follows the list of columns."""

    head: str
    table: str
    elements: Sequence[_Column | Part]
    texts: Sequence[str]
    tail: str
    tail_words: frozenset[str]
    settings: Sequence[str]

    def text(self, without: Collection[Part] = ()) -> str:
        """Return the definition without some parts."""
        listed = [
            element.text(without) if isinstance(element, _Column) else text
            for element, text in zip(self.elements, self.texts, strict=True)
            if isinstance(element, _Column) or element not in without
        ]
        left = {part.name for part in without if part.kind is PartKind.SETTING}
        settings = [statement for statement in self.settings if statement not in left]
        return "\n\n".join([f"{self.head}(\n    {',\n    '.join(listed)}\n){self.tail}", *settings]) + "\n"

    def optional(self) -> list[Part]:
        """Return what the table can be made without, apart from the types of its columns."""
        parts: list[Part] = []
        for element in self.elements:
            parts += self._of_column(element) if isinstance(element, _Column) else [element]
        return parts + [Part(PartKind.SETTING, statement, statement) for statement in self.settings]

    def types(self) -> Iterator[tuple[Part, str]]:
        """Yield the type of each column as a part, with a table of this column alone.

        No column that the table is partitioned by: where its rows belong depends on its type.
        """
        for column in self.elements:
            if isinstance(column, _Column) and column.name not in self.tail_words:
                using = f" USING {column.quoted}::{column.type_text}"
                later = [self._altered(column, f"TYPE {_joined(column, 'collate')}{using}")]
                if "default" in column.clauses:
                    later.append(self._altered(column, f"SET {column.clauses['default']}"))
                probe = f"CREATE TABLE {self.table} ({column.quoted} {column.type_text});"
                yield Part(PartKind.TYPE, column.name, "\n".join(later)), probe

    def written_types(self) -> dict[str, str]:
        """Return the types of the columns, by name."""
        return {column.name: column.type_text for column in self.elements if isinstance(column, _Column)}

    def _of_column(self, column: _Column) -> Iterator[Part]:
        if "default" in column.clauses:
            later = self._altered(column, f"SET {column.clauses['default']}")
            yield Part(PartKind.DEFAULT, column.name, later)
        if "generated" in column.clauses:
            this = _joined(column, "generated", "not", "constraint", "collate")
            later = (
                f"ALTER TABLE {self.table} DROP COLUMN {column.quoted};\n"
                f"ALTER TABLE {self.table} ADD COLUMN {column.quoted} {this};"
            )
            yield Part(PartKind.GENERATED, column.name, later)
        if "collate" in column.clauses:
            yield Part(PartKind.COLLATION, column.name, self._altered(column, f"TYPE {_joined(column, 'collate')}"))

    def _altered(self, column: _Column, action: str) -> str:
        return f"ALTER TABLE {self.table} ALTER COLUMN {column.quoted} {action};"


def parts_of_table(definition: str) -> TableDefinition | None:
    """Take a table's definition apart; None when it has no list of columns of its own (`OF` a type)."""
    tokens = list(tokens_of(definition))
    ends = [index + 1 for index, token in enumerate(tokens) if token.is_sign(";")]
    statements = [tokens[start:end] for start, end in pairwise([0, *ends])]
    if not statements:
        return None
    create, *others = statements
    start = next((index + 1 for index, token in enumerate(create) if token.is_word("table")), len(create))
    opening = start
    while opening < len(create) and (create[opening].kind in ("word", "quoted") or create[opening].is_sign(".")):
        opening += 1
    if opening in (start, len(create)) or not create[opening].is_sign("(") or create[opening - 1].is_word("of"):
        return None
    table = definition[create[start].start : create[opening - 1].end]
    if any(token.is_word("of") for token in create[start:opening]):
        return None
    groups, closing = _listed(create, opening)
    texts = [_text(definition, group) for group in groups]
    return TableDefinition(
        head=definition[create[0].start : create[opening].start],
        table=table,
        elements=[_element(definition, group, table) for group in groups],
        texts=texts,
        tail=definition[create[closing].end : create[-1].end],
        tail_words=frozenset(token.value for token in create[closing:] if token.kind in ("word", "quoted")),
        settings=[_text(definition, statement) for statement in others],
    )


def _listed(tokens: Sequence[Token], opening: int) -> tuple[list[Sequence[Token]], int]:
    """Return what stands between commas in parentheses, and the index of the closing one."""
    depth, start, groups = 0, opening + 1, []
    for index in range(opening, len(tokens)):
        depth += tokens[index].depth
        if depth == 0 or (depth == 1 and tokens[index].is_sign(",")):
            if start < index:
                groups.append(tokens[start:index])
            start = index + 1
        if depth == 0:
            return groups, index
    return groups, len(tokens) - 1


def _element(definition: str, tokens: Sequence[Token], table: str) -> _Column | Part:
    if tokens[0].is_word("constraint") and len(tokens) > 1:
        later = f"ALTER TABLE {table} ADD {_text(definition, tokens)};"
        return Part(PartKind.CHECK, tokens[1].value, later)
    starts = [1]
    depth = 0
    for index in range(2, len(tokens)):
        if depth == 0 and _begins_clause(tokens, index):
            starts.append(index)
        depth += tokens[index].depth
    type_tokens, *clauses = [tokens[start:end] for start, end in pairwise([*starts, len(tokens)])]
    return _Column(
        name=tokens[0].value,
        quoted=_text(definition, tokens[:1]),
        type_text=_text(definition, type_tokens),
        clauses={clause[0].value: _text(definition, clause) for clause in clauses},
    )


def _begins_clause(tokens: Sequence[Token], index: int) -> bool:
    """Whether a clause of a column begins here. What the server writes inside of expressions is in parentheses."""
    if tokens[index].is_word("not"):
        # `CONSTRAINT name NOT NULL` is one clause.
        is_named = tokens[index - 2].is_word("constraint")
        return not is_named and index + 1 < len(tokens) and tokens[index + 1].is_word("null")
    return tokens[index].is_word("default", "generated", "collate", "constraint")


def _joined(column: _Column, *words: str) -> str:
    return " ".join([column.type_text, *(text for word, text in column.clauses.items() if word in words)])


def _text(definition: str, tokens: Sequence[Token]) -> str:
    return definition[tokens[0].start : tokens[-1].end]
