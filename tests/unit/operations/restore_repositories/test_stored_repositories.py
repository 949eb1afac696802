"""Names in a vault are not trusted: clones are made under them."""

from __future__ import annotations

from typing import Any

import pytest

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, EntryKind
from coffre.operations.restore_repositories.stored_repositories import stored_repositories


class Holding:
    """A vault with these entries."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def entries(self, _: Any) -> list[Entry]:
        return [Entry(name=name, kind=EntryKind.OBJECT, size=0, sha256="0" * 64, frames=()) for name in self.names]


@pytest.mark.parametrize(
    "name",
    [
        "host/../../../root/.ssh/x.git/bundles/000001-full.bundle",
        "../acme/x.git/HEAD",
        "host//root/x.git/HEAD",
        "host/a\\b.git/HEAD",
        "host/acme/x.git/lfs/..",
        "host/acme/x.git/lfs/../../hooks/post-update",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    vault: Any = Holding(name)

    with pytest.raises(IntegrityError) as refused:
        list(stored_repositories(vault, vault))

    assert refused.value.code == "REPOSITORY_BROKEN"


def test_names_that_backups_write_are_taken() -> None:
    names = ("git.example.com:8443/a/b-c_d.git/HEAD", "github.com/acme/.github.git/lfs/" + "a" * 64)
    vault: Any = Holding(*names)

    assert [one.name for one in stored_repositories(vault, vault)] == [
        "git.example.com:8443/a/b-c_d.git",
        "github.com/acme/.github.git",
    ]
