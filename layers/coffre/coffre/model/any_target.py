"""A target of any kind."""

from __future__ import annotations

from coffre.model.bucket_target import BucketTarget
from coffre.model.database_target import DatabaseTarget, FoundDatabase
from coffre.model.repository_target import RepositoryTarget
from coffre.model.settings_target import SettingsTarget


def is_gone(target: AnyTarget) -> bool:
    """Return whether a target is a database that its server does not have any more."""
    return isinstance(target, FoundDatabase) and target.gone_since is not None


ObjectTarget = BucketTarget | SettingsTarget | RepositoryTarget
AnyTarget = DatabaseTarget | BucketTarget | SettingsTarget | RepositoryTarget
