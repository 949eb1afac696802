"""What a caller may do, out of the configuration that is in effect: groups, scopes and trusted jobs as grants."""

from __future__ import annotations

from collections.abc import Iterable

from coffre.model.api_key import KeyScope
from coffre.model.configuration import Configuration
from coffre.model.console import Trust
from coffre.model.errors import TargetUnknownError
from coffre_console.access.caller import Grant
from coffre_console.access.permissions import WORKFLOW_SCOPES, Permission


def of_groups(configuration: Configuration, groups: Iterable[str]) -> tuple[Grant, ...]:
    """Return what members of these groups may do; empty: nothing."""
    mine = frozenset(groups)
    roles = configuration.console.roles if configuration.console else ()
    return tuple(
        Grant.of_role(one.role, targets(configuration, one.targets) if one.targets else None)
        for one in roles
        if one.group in mine
    )


def of_scopes(configuration: Configuration, scopes: Iterable[str]) -> tuple[Grant, ...]:
    """Return what a key with these scopes may do; a scope that this version does not know gives nothing."""
    found = []
    for text in scopes:
        try:
            one = KeyScope.parse(text)
        except ValueError:
            continue
        named = targets(configuration, [one.target]) if one.target is not None else None
        found.append(Grant(frozenset({Permission(one.scope)}), named))
    return tuple(found)


def of_trust(configuration: Configuration, trust: Trust) -> tuple[Grant, ...]:
    """Return what a trusted job may do."""
    return (Grant(WORKFLOW_SCOPES, targets(configuration, trust.targets)),)


def targets(configuration: Configuration, names: Iterable[str]) -> frozenset[str]:
    """Return named targets, and the databases of those that are servers."""
    found = set(names)
    for name in tuple(found):
        try:
            found |= {one.name for one in configuration.named(name)}
        except TargetUnknownError:
            continue  # A target that was removed still has backups.
    return frozenset(found)
