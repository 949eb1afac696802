"""Which owners and privileges are given at a destination, decided without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from coffre.operations.restore_database.privileges import NO_ROLE, Privileges
from coffre.policy.profiles import all_profiles
from coffre.postgres.archive.reader import Section, TocEntry
from coffre.postgres.destination.destination import Destination


def privileges(*, is_superuser: bool = False, member_of: tuple[str, ...] = ()) -> Privileges:
    """What `app` can give where `app`, `owner` and `Odd "one"` exist."""
    place = SimpleNamespace(
        capabilities=SimpleNamespace(role="app", is_superuser=is_superuser),
        roles=frozenset({"app", "owner", 'Odd "one"'}),
        member_of=frozenset(member_of),
        profile=all_profiles()["supabase"],
    )
    return Privileges(cast("Destination", place), {})


def acl(*statements: str) -> TocEntry:
    definition = "\n".join(statements)
    return TocEntry(1, 0, 0, "ACL", "TABLE orders", "public", "owner", Section.POST_DATA, definition)


@pytest.mark.parametrize(
    ("role", "how", "reason"),
    [
        ("gone", {"is_superuser": True}, NO_ROLE),
        ("owner", {"is_superuser": True}, None),
        ("owner", {"member_of": ("owner",)}, None),
        ("owner", {}, '"app" is not a member of this role'),
    ],
)
def test_an_owner_is_given_by_who_may_act_for_it(role: str, how: dict[str, Any], reason: str | None) -> None:
    rules = privileges(**how)
    assert rules.why_not_given(role) == reason
    assert rules.may_give(role) is (reason is None)


def test_what_the_restoring_role_makes_is_its_own_already() -> None:
    assert not privileges(is_superuser=True).may_give("app")


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("GRANT SELECT ON TABLE public.orders TO owner;", None),
        ("GRANT SELECT ON TABLE public.orders TO PUBLIC;", None),
        ('GRANT SELECT ON TABLE public.orders TO "Odd ""one""" WITH GRANT OPTION;\n', None),
        ("GRANT SELECT ON TABLE public.orders TO reader WITH GRANT OPTION;", "reader"),
        ('REVOKE ALL ON TABLE public.orders FROM "Read er";', '"Read er"'),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE gone IN SCHEMA public GRANT SELECT ON TABLES TO owner;", "gone"),
    ],
)
def test_a_role_that_does_not_exist_is_found_as_the_statement_writes_it(statement: str, missing: str | None) -> None:
    assert privileges().missing_role(statement) == missing


def test_who_granted_is_kept_where_the_restoring_role_can_act_for_them() -> None:
    grant = "GRANT SELECT ON TABLE public.orders TO owner;"
    of_owner, of_gone, reset = (
        "SET SESSION AUTHORIZATION owner;", "SET SESSION AUTHORIZATION gone;", "RESET SESSION AUTHORIZATION;",
    )  # fmt: skip
    entry = acl(of_owner, grant, reset, of_gone, grant, reset)

    def given(rules: Privileges) -> list[str]:
        return [statement.strip() for statement in rules.statements(entry)]

    assert given(privileges(is_superuser=True)) == [of_owner, grant, reset, grant, reset]
    assert given(privileges()) == [grant, grant]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("GRANT SELECT ON TABLE auth.users TO owner;", False),
        ("GRANT SELECT ON TABLE auth.users TO anon;", True),
        ("GRANT SELECT ON TABLE auth.users TO PUBLIC;", True),
        ("REVOKE ALL ON TABLE auth.users FROM owner;", True),
    ],
)
def test_privileges_on_what_a_provider_makes_are_its_own_but_for_grants_to_the_owners_roles(
    statement: str, expected: bool
) -> None:
    assert privileges().is_providers(statement) is expected
