"""What of an archive is left to a provider, decided without a server."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coffre.operations.restore_database.job import Source
from coffre.operations.restore_database.provider_objects import Fate, fates, with_extensions_placed
from coffre.policy.profiles import all_profiles
from coffre.postgres.archive.reader import Section, TocEntry
from coffre.postgres.destination.destination import Destination

SUPABASE = all_profiles()["supabase"]
USERS = TocEntry(1, 1259, 101, "TABLE", "users", "auth", "supabase_auth_admin", Section.PRE_DATA)


def entry(description: str, tag: str, schema: str | None, definition: str = "", **more: Any) -> TocEntry:
    return TocEntry(9, 0, 0, description, tag, schema, "postgres", Section.POST_DATA, definition, **more)


def fate(
    one: TocEntry, *before: TocEntry, is_missing: bool, given: frozenset[str] = frozenset({"auth"})
) -> Fate | None:
    """What happens to an entry that the destination lacks, or has; what comes before it exists there."""
    destination = cast("Destination", SimpleNamespace(given=given, profile=SUPABASE))
    return fates(destination, [*before, one], lambda _: [one] if is_missing else []).get(one.dump_id)


def trigger(function: str) -> TocEntry:
    definition = f"CREATE TRIGGER t AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION {function}();\n"
    return entry("TRIGGER", "users t", "auth", definition, dependencies=(1,))


@pytest.mark.parametrize("kind", ["TABLE", "FUNCTION", "VIEW", "INDEX", "SEQUENCE"])
def test_what_the_provider_has_is_left_to_it_and_what_it_lacks_is_named(kind: str) -> None:
    assert fate(entry(kind, "one", "auth"), is_missing=False) is Fate.GIVEN
    assert fate(entry(kind, "one", "auth"), is_missing=True) is Fate.LACKING


def test_a_schema_that_the_destination_does_not_have_is_made_like_any_other() -> None:
    assert fate(entry("TABLE", "one", "auth"), is_missing=True, given=frozenset()) is None
    assert fate(entry("TABLE", "one", "storage"), is_missing=True) is None


def test_in_a_shared_schema_what_is_missing_is_made_with_its_parts() -> None:
    own = replace(entry("TABLE", "own", "extensions"), dump_id=2)
    part = entry("CONSTRAINT", "own own_pkey", "extensions", dependencies=(2,))
    destination = cast("Destination", SimpleNamespace(given=frozenset({"extensions"}), profile=SUPABASE))

    assert fates(destination, [own, part], lambda _: [own]) == {}
    assert fates(destination, [own, part], lambda _: []) == {2: Fate.GIVEN, 9: Fate.GIVEN}


@pytest.mark.parametrize(
    ("function", "is_missing", "expected"),
    [
        ("public.on_sign_up", True, None),
        ('"My App".on_sign_up', True, None),
        ("extensions.moddatetime", True, None),
        ("public.on_sign_up", False, Fate.GIVEN),
        ("auth.platform", True, Fate.GIVEN),
    ],
)
def test_a_trigger_is_the_owners_when_its_function_is_elsewhere(
    function: str, is_missing: bool, expected: Fate | None
) -> None:
    assert fate(trigger(function), USERS, is_missing=is_missing) is expected


def test_policies_that_do_not_exist_are_the_owners_but_for_those_of_extensions() -> None:
    assert fate(entry("POLICY", "users own", "auth"), is_missing=True) is None
    assert fate(entry("POLICY", "users own", "auth"), is_missing=False) is Fate.GIVEN
    cron = entry("POLICY", "job cron_job_policy", "cron")
    assert fate(cron, is_missing=True, given=frozenset({"cron"})) is Fate.GIVEN


def test_publications_of_every_project_are_not_made_and_their_tables_are_added() -> None:
    home = replace(entry("PUBLICATION", "supabase_realtime", None), dump_id=2)
    table = entry("PUBLICATION TABLE", "supabase_realtime notes", "public", dependencies=(2,))

    assert fate(home, is_missing=False) is Fate.GIVEN
    assert fate(table, home, is_missing=False) is None
    managed = replace(home, tag="supabase_realtime_messages_publication")
    assert fate(table, managed, is_missing=False) is Fate.GIVEN
    assert fate(replace(home, tag="mine"), is_missing=True) is None


def test_privileges_on_what_is_given_are_looked_at_one_by_one() -> None:
    acl = entry("ACL", "TABLE users", "auth", dependencies=(1,))
    assert fate(acl, USERS, is_missing=False) is Fate.OWN_GRANTS
    default = replace(entry("DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES", "public"), owner="supabase_admin")
    assert fate(default, is_missing=False) is Fate.GIVEN
    assert fate(replace(default, owner="postgres"), is_missing=False) is None


def test_tables_that_no_project_misses_are_not_named() -> None:
    partition = entry("TABLE", "messages_2026_11_28", "realtime")
    assert fate(partition, is_missing=True, given=frozenset({"realtime"})) is Fate.GIVEN


@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [
        ("pg_cron", " WITH SCHEMA public", " WITH SCHEMA pg_catalog"),
        ("pgmq", " WITH SCHEMA pgmq", ""),
        ("hstore", ' WITH SCHEMA "My ""App"""', ' WITH SCHEMA "My ""App"""'),
    ],
)
def test_extensions_are_made_where_the_provider_wants_them(name: str, was: str, becomes: str) -> None:
    one = entry("EXTENSION", name, None, f"CREATE EXTENSION IF NOT EXISTS {name}{was};\n")
    source = Source(cast("Any", None), cast("Any", None), cast("Any", None), None, (one,))

    (placed,) = with_extensions_placed(source, SUPABASE).toc

    assert placed.definition == f"CREATE EXTENSION IF NOT EXISTS {name}{becomes};\n"
