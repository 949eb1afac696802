"""The database's name in statements of `pg_dump` is replaced where it stands, whatever else they hold."""

from __future__ import annotations

import pytest

from coffre.postgres.connection.database_properties import _rename, _shown


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER DATABASE {} SET work_mem TO '7MB';",
        "ALTER DATABASE {} CONNECTION LIMIT = 5;",
        "ALTER DATABASE {} SET \"app.x\" TO 'ALTER DATABASE shop SET y';",
        'ALTER ROLE "a IN DATABASE shop " IN DATABASE {} SET x TO 1;',
        "COMMENT ON DATABASE {} IS 'COMMENT ON DATABASE shop IS';",
        'GRANT CREATE,CONNECT ON DATABASE {} TO "x ON DATABASE shop TO";',
        "REVOKE GRANT OPTION FOR ALL ON DATABASE {} FROM PUBLIC;",
        "SECURITY LABEL FOR \"p ON DATABASE x\" ON DATABASE {} IS 'x';",
        "SET SESSION AUTHORIZATION alice;",
    ],
)
@pytest.mark.parametrize(("written", "name"), [("shop", "shop"), ('"it\'s ""my"" db"', 'it\'s "my" db')])
def test_the_name_is_replaced_where_it_stands(statement: str, written: str, name: str) -> None:
    assert _rename(statement.format(written), name, "new db") == statement.format('"new db"')


@pytest.mark.parametrize(
    "statement",
    ["ALTER DATABASE another SET x TO 1;", "DROP DATABASE shop;", "ALTER ROLE shop SET work_mem TO '7MB';"],
)
def test_statements_about_something_else_are_not_taken(statement: str) -> None:
    assert _rename(statement, "shop", "new") is None


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER DATABASE shop SET \"app.jwt_secret\" TO 'hunter2';",
        "ALTER ROLE a IN DATABASE shop SET app.jwt_secret TO 'hunter2';",
        "COMMENT ON DATABASE shop IS 'hunter2';",
    ],
)
def test_values_are_not_repeated(statement: str) -> None:
    assert "hunter2" not in _shown(statement)
