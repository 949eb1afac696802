"""The profile of Supabase against the lists of Supabase's own command, as they were on a day.

`supabase_cli.json` is a copy of those lists. To see drift: take them from the repository that it names again, write the
new date into it, and decide here about what is new.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coffre.policy.profiles import all_profiles, is_reserved

LISTS: dict[str, Any] = json.loads((Path(__file__).parent / "supabase_cli.json").read_text(encoding="utf-8"))
SUPABASE = all_profiles()["supabase"]
# Where Coffre decides otherwise, and why.
MADE = {
    "supabase_migrations": "the owner's command makes it: a fresh project does not have it",
    "timescaledb_*": "extensions make them: no archive has them, and no project of Supabase can have new ones",
    "_timescaledb_*": "the same",
}
ROWS_LOADED = {
    **MADE,
    "extensions": "an owner's table there is an owner's table",
    "graphql": "no table in it has rows that an archive could have",
    "graphql_public": "the same",
    "pgbouncer": "the same",
    "pgsodium_masks": "the same",
    "pgtle": "configuration of an extension, which its author marked as worth keeping",
    "repack": "the same",
    "tiger": "the same",
    "tiger_data": "the same",
    "topology": "the same",
}


@pytest.mark.parametrize("schema", LISTS["definitions_left_out"])
def test_its_command_and_the_profile_agree_about_definitions(schema: str) -> None:
    assert SUPABASE.is_known(schema) != (schema in MADE)


def test_the_profile_has_no_schema_that_its_command_does_not_know() -> None:
    definitions = SUPABASE.definitions
    assert {*definitions.managed, *definitions.shared} <= set(LISTS["definitions_left_out"])


@pytest.mark.parametrize("schema", LISTS["rows_left_out"])
def test_its_command_and_the_profile_agree_about_rows(schema: str) -> None:
    table = {"vault": "secrets", "pgsodium": "key"}.get(schema, "any")
    assert (SUPABASE.left_out(schema, table) is not None) != (schema in ROWS_LOADED)


@pytest.mark.parametrize("name", LISTS["tables_left_out"])
def test_its_command_and_the_profile_leave_out_the_same_tables(name: str) -> None:
    schema, _, table = name.partition(".")
    rule = SUPABASE.left_out(schema, table)
    assert rule is not None
    assert not rule.is_loss


@pytest.mark.parametrize("table", ["auth.users", "auth.identities", "storage.buckets", "storage.objects", "cron.job"])
def test_rows_of_the_owner_in_managed_schemas_are_restored(table: str) -> None:
    schema, _, name = table.partition(".")
    assert SUPABASE.left_out(schema, name) is None


@pytest.mark.parametrize("role", LISTS["reserved_roles"])
def test_reserved_roles_are_reserved(role: str) -> None:
    assert is_reserved(role.replace(".*", "x"))
