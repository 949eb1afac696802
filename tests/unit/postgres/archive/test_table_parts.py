"""A table's definition is taken apart where the server's text divides it, and nowhere else."""

from __future__ import annotations

import pytest

from coffre.postgres.archive.table_parts import PartKind, parts_of_table

TABLE = """CREATE UNLOGGED TABLE public."odd, (name" (
    id integer DEFAULT nextval('public."s;q"'::regclass) NOT NULL,
    "col, one" character varying(10) DEFAULT 'a, ) NOT NULL;'::character varying COLLATE "C",
    price numeric(10,2)[] DEFAULT NULL::numeric[],
    total ext.money(3) GENERATED ALWAYS AS (CASE WHEN (id IS NOT NULL) THEN ext.f(id, ',') ELSE NULL::ext.money END) STORED CONSTRAINT has_total NOT NULL NO INHERIT,
    at timestamp(3) without time zone NOT NULL,
    CONSTRAINT "check, one" CHECK (((id > 0) AND (note <> E'\\\\\\'), ('::text))) NOT VALID
)
PARTITION BY LIST (at);

ALTER TABLE ONLY public."odd, (name" ALTER COLUMN at SET STATISTICS 10;


"""  # noqa: E501 - lines as pg_dump writes them


def words(text: str) -> list[str]:
    return text.split()


def test_a_definition_put_together_again_is_the_same() -> None:
    table = parts_of_table(TABLE)

    assert table is not None
    assert words(table.text()) == words(TABLE)
    assert table.table == 'public."odd, (name"'


def test_each_part_has_the_statement_that_adds_it_later() -> None:
    table = parts_of_table(TABLE)

    assert table is not None
    alter = 'ALTER TABLE public."odd, (name"'
    assert [(part.kind, part.name, part.later) for part in table.optional()] == [
        (
            PartKind.DEFAULT,
            "id",
            f"{alter} ALTER COLUMN id SET DEFAULT nextval('public.\"s;q\"'::regclass);",
        ),
        (
            PartKind.DEFAULT,
            "col, one",
            f"{alter} ALTER COLUMN \"col, one\" SET DEFAULT 'a, ) NOT NULL;'::character varying;",
        ),
        (
            PartKind.COLLATION,
            "col, one",
            f'{alter} ALTER COLUMN "col, one" TYPE character varying(10) COLLATE "C";',
        ),
        (PartKind.DEFAULT, "price", f"{alter} ALTER COLUMN price SET DEFAULT NULL::numeric[];"),
        (
            PartKind.GENERATED,
            "total",
            (
                f"{alter} DROP COLUMN total;\n"
                f"{alter} ADD COLUMN total ext.money(3) GENERATED ALWAYS AS (CASE WHEN (id IS NOT NULL) THEN "
                "ext.f(id, ',') ELSE NULL::ext.money END) STORED CONSTRAINT has_total NOT NULL NO INHERIT;"
            ),
        ),
        (
            PartKind.CHECK,
            "check, one",
            (f"{alter} ADD CONSTRAINT \"check, one\" CHECK (((id > 0) AND (note <> E'\\\\\\'), ('::text))) NOT VALID;"),
        ),
        (
            PartKind.SETTING,
            'ALTER TABLE ONLY public."odd, (name" ALTER COLUMN at SET STATISTICS 10;',
            'ALTER TABLE ONLY public."odd, (name" ALTER COLUMN at SET STATISTICS 10;',
        ),
    ]


def test_a_definition_without_its_parts_has_the_columns_alone() -> None:
    table = parts_of_table(TABLE)

    assert table is not None
    types = [part for part, _ in table.types() if part.name in ("total", "price")]
    assert words(table.text([*table.optional(), *types])) == words(
        """CREATE UNLOGGED TABLE public."odd, (name" (
            id integer NOT NULL, "col, one" character varying(10), price text, total text,
            at timestamp(3) without time zone NOT NULL
        ) PARTITION BY LIST (at);"""
    )


def test_the_type_of_what_a_table_is_divided_by_stays() -> None:
    table = parts_of_table(TABLE)

    assert table is not None
    assert [part.name for part, _ in table.types()] == ["id", "col, one", "price", "total"]


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "SELECT 1;",
        "CREATE TABLE public.t OF public.kind;",
        "CREATE TABLE t OF kind (\n a WITH OPTIONS NOT NULL\n);",
    ],
)
def test_what_has_no_columns_of_its_own_has_no_parts(definition: str) -> None:
    assert parts_of_table(definition) is None


def test_a_table_without_columns_stays_one() -> None:
    table = parts_of_table("CREATE TABLE public.t (\n);\n")

    assert table is not None
    assert words(table.text()) == words("CREATE TABLE public.t ( );")
    assert table.optional() == []
