"""A clone pushed to an empty repository at a server, with its LFS objects first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dulwich.repo import Repo

from coffre.buckets.repositories.lfs import LfsServer, oids_below
from coffre.buckets.repositories.remote import Remote, is_of_forge
from coffre.model.errors import StoreError
from coffre.operations.restore_repositories.clone import Cloned


@dataclass(frozen=True)
class Pushed:
    """What became of a push. `left_out` are refs that forges keep for themselves; `refused` says why, by ref."""

    refs: int
    lfs: int
    left_out: int
    refused: Mapping[str, str]


def refuse_used(remote: Remote) -> None:
    """Refuse a remote that has refs, before anything is restored.

    Raises
    ------
    StoreError
        `REMOTE_NOT_EMPTY`, and what `Remote.refs` raises.
    """
    found = remote.refs()
    if found.ids:
        raise StoreError(
            f"{remote.address.name} is not empty: it has {len(found.ids):,} refs.",
            code="REMOTE_NOT_EMPTY",
            hint="Nothing was pushed. Push to a new, empty repository, made without a README.",
        )


def push_clone(cloned: Cloned, remote: Remote) -> Pushed:
    """Push everything; raises what `Remote.push` and the LFS server raise."""
    server, count = LfsServer(remote.address, remote.credentials, remote.wire), 0
    for oid, file in oids_below(Path(cloned.folder)):
        server.upload(oid, file.stat().st_size, file)
        count += 1
    wanted = {name: one for name, one in cloned.refs.ids.items() if not is_of_forge(name)}
    with Repo(str(cloned.folder)) as repo:
        store: Any = repo.object_store
        answers = remote.push(wanted, store.generate_pack_data)
    refused = {name.decode(errors="backslashreplace"): str(why) for name, why in answers.items() if why}
    return Pushed(len(wanted) - len(refused), count, len(cloned.refs.ids) - len(wanted), refused)
