"""Databases whose text is not UTF-8, or whose settings print and read texts in other ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.integration.journal_vault import Journal


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_databases_in_other_encodings_are_equal(make_journal: Callable[..., Journal], encoding: str) -> None:
    """In SQL_ASCII the bytes of the names and values are no UTF-8."""
    journal = make_journal(
        18,
        """DO $$ DECLARE name text := 't' || chr(233); BEGIN
        EXECUTE format('CREATE TABLE %I (%I text PRIMARY KEY, v text)', name, name);
        EXECUTE format('CREATE TABLE whole (%I text, j json)', name); ALTER TABLE whole REPLICA IDENTITY FULL;
        END $$""",
        properties=f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    scene = journal.scene
    journal.drain()
    scene.take_base()
    scene.run(
        """DO $$ DECLARE name text := 't' || chr(233); BEGIN
        EXECUTE format('INSERT INTO %I VALUES (%L, %L), (%L, NULL)', name, name, chr(255), '''' || chr(192));
        EXECUTE format('UPDATE %I SET v = %L WHERE %I = %L', name, repeat(chr(228), 3000), name, name);
        EXECUTE format('UPDATE %I SET %I = %L WHERE v IS NULL', name, name, chr(254) || chr(254));
        EXECUTE format('INSERT INTO whole VALUES (%L), (%L)', name, chr(200));
        EXECUTE format('UPDATE whole SET %I = %L WHERE %I = %L', name, chr(201), name, chr(200));
        DELETE FROM whole WHERE ctid = '(0,1)'; END $$"""
    )
    journal.drain()
    journal.replay_all()
