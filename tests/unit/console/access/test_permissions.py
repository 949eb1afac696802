"""The table of routes and roles: complete, and what a role may for some targets it may for no other."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.console.access.conftest import configuration

from coffre.model.api_key import ApiScope, KeyScope
from coffre.model.configuration import parse_configuration
from coffre.model.console import Role
from coffre.model.server import SeenDatabase
from coffre_console.access.caller import Caller, Grant
from coffre_console.access.grants import of_scopes
from coffre_console.access.permissions import (
    NOT_FOR_MACHINES,
    OPEN,
    ROLES,
    ROUTES,
    SCOPES,
    WHOLE_STACK,
    WORKFLOW_SCOPES,
    Permission,
    RouteUnknownError,
    needed_for,
)

MATRIX = [(role, route) for role in ROLES for route, needed in ROUTES.items() if needed != OPEN]
TARGETS = ("shop", "files", "billing")


def person(*grants: Grant) -> Caller:
    return Caller("person", "ada", "ada@example.com", grants)


@pytest.mark.parametrize(("role", "route"), MATRIX, ids=lambda one: str(one))
def test_each_role_passes_exactly_the_routes_of_its_permissions(role: Role, route: str) -> None:
    needed = needed_for(*route.split(" ", 1))
    assert needed is not None
    everywhere, somewhere = person(Grant.of_role(role)), person(Grant.of_role(role, ["shop"]))
    assert everywhere.may_somewhere(needed) == (needed in ROLES[role])
    assert somewhere.may_somewhere(needed) == (needed in ROLES[role] and needed not in WHOLE_STACK)
    assert somewhere.may(needed, "shop") == somewhere.may_somewhere(needed)
    assert not somewhere.may(needed, "billing")
    assert not somewhere.may(needed)


def test_a_route_without_an_entry_is_an_error() -> None:
    with pytest.raises(RouteUnknownError, match="GET /api/v1/secrets has no entry"):
        needed_for("get", "/api/v1/secrets")


def test_only_signing_in_and_the_consoles_own_files_are_open() -> None:
    assert {route for route, needed in ROUTES.items() if needed == OPEN} == {
        "GET /language",
        "GET /login",
        "GET /callback",
        "POST /logout",
        "GET /assets/<name>",
        "GET /api/v1/openapi.json",
    }
    assert needed_for("GET", "/login") is None


def test_machines_never_restore_delete_or_make_keys() -> None:
    assert {
        Permission.RESTORE,
        Permission.RESTORE_ALL,
        Permission.DELETE,
        Permission.KEYS,
        Permission.SESSIONS,
    } <= NOT_FOR_MACHINES
    assert not SCOPES & NOT_FOR_MACHINES
    assert WORKFLOW_SCOPES < SCOPES


def test_a_restorer_restores_parts_and_changes_nothing_else() -> None:
    assert ROLES["restorer"] - ROLES["viewer"] == {Permission.RESTORE}


def test_every_permission_is_needed_or_asked_inside_a_route() -> None:
    # Asked by the handlers: RESTORE_ALL by the one that knows the scope of a restore, SESSIONS about those of others.
    assert set(Permission) - {Permission.RESTORE_ALL, Permission.SESSIONS} == {
        one for one in ROUTES.values() if one != OPEN
    }


grants = st.builds(
    Grant,
    st.frozensets(st.sampled_from(Permission)),
    st.none() | st.frozensets(st.sampled_from(TARGETS)),
)


@given(st.lists(grants, max_size=4), st.sampled_from(Permission), st.none() | st.sampled_from(TARGETS))
def test_a_permission_holds_where_one_grant_gives_it_and_nowhere_else(
    given_: list[Grant], permission: Permission, target: str | None
) -> None:
    caller = Caller("key", "key", "key", tuple(given_))
    giving = [one for one in given_ if permission in one.permissions]
    expected = any(
        one.targets is None or (target is not None and target in one.targets and permission not in WHOLE_STACK)
        for one in giving
    )
    assert caller.may(permission, target) == expected
    if expected:
        assert caller.may_somewhere(permission)


CONFIGURATION = configuration()
scopes = st.builds(KeyScope, st.sampled_from(ApiScope), st.none() | st.sampled_from(TARGETS))


@given(st.lists(scopes, max_size=5), st.sampled_from(Permission), st.none() | st.sampled_from((*TARGETS, "removed")))
def test_a_key_may_what_one_of_its_scopes_names_for_a_target_that_it_names(
    chosen: list[KeyScope], permission: Permission, target: str | None
) -> None:
    caller = Caller("key", "key", "key", of_scopes(CONFIGURATION, map(str, chosen)))
    expected = any(one.scope.value == permission.value and one.target in (None, target) for one in chosen)
    # A scope for one target is never one for all: `target` None asks for all of them.
    expected &= target is not None or any(one.scope.value == permission.value and one.target is None for one in chosen)
    assert caller.may(permission, target) == expected


def test_a_server_stands_for_its_databases_and_no_other_name_does() -> None:
    seen = SeenDatabase("cluster-shop", "cluster", "shop", datetime(2026, 11, 29, tzinfo=UTC))
    server = {"name": "cluster", "secret": "coffre/database/cluster", "databases": "all"}
    document = {"encryption": "none", "targets": [server, {"name": "files", "secret": "coffre/database/files"}]}
    known = parse_configuration(json.dumps(document), where="a test").expanded([seen])
    caller = Caller("key", "key", "key", of_scopes(known, ["backup:run:cluster"]))
    names = ("cluster", "cluster-shop", "files", "cluster-other")
    assert [name for name in names if caller.may(Permission.BACKUP, name)] == ["cluster", "cluster-shop"]


# --- docs/console.md ---

ROWS = {
    "see backups, alerts, reports, metrics": {Permission.READ, Permission.METRICS},
    "back up, cancel, verify, drill, pin, hold, test alerts": {
        Permission.BACKUP,
        Permission.CANCEL,
        Permission.KEEP,
        Permission.VERIFY,
        Permission.DRILL,
        Permission.ALERTS,
    },
    "read the audit": {Permission.AUDIT},
    "restore rows, tables and objects": {Permission.RESTORE},
    "restore whole backups": {Permission.RESTORE_ALL},
    "export backups, and download the files": {Permission.EXPORT},
    "delete backups, end holds, make keys": {Permission.DELETE, Permission.KEYS},
    "see and end sessions of others": {Permission.SESSIONS},
}


def test_the_guide_says_what_each_role_may() -> None:
    text = (Path(__file__).parents[4] / "docs" / "console.md").read_text()
    head, _, *lines = text.partition("### Roles\n")[2].strip().partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, *lines)]
    shown = {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[1:]}
    assert shown == {
        row: {role: "yes" if needed <= ROLES[role] else "no" for role in ROLES} for row, needed in ROWS.items()
    }
    assert set().union(*ROWS.values()) == set(Permission)
    scopes = text.partition("| scope | what it opens |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split("`")[1] for line in scopes] == list(ApiScope)
