"""One repository at its server: its refs, and a pack of everything that they reach. No program named git is run.

dulwich speaks the protocol; connections are ours. It reads no configuration, runs no hooks, knows no `ext::` and
follows no submodules: what a repository contains is data.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dulwich.client import GitClient, SSHGitClient
from dulwich.errors import GitProtocolError
from dulwich.object_store import ObjectStoreGraphWalker
from dulwich.refs import check_ref_format

from coffre.buckets.repositories.credentials import Credentials
from coffre.buckets.repositories.git_http import Wire
from coffre.buckets.repositories.transports import HttpClient, Ssh, private_file
from coffre.model.errors import CoffreError, StoreError, StoreTransientError
from coffre.model.names import visible
from coffre.model.repositories import RepositoryAddress

# Refs that forges make and do not accept back: of pull and merge requests, pipelines, environments, and reviews.
_OF_FORGES: Final = tuple(
    f"refs/{one}/".encode()
    for one in ("pull", "merge-requests", "pipelines", "keep-around", "environments", "changes", "pull-requests")
)
_PEELED: Final = b"^{}"
_MOST_REFS: Final = 200_000


def is_of_forge(name: bytes) -> bool:
    """Return whether a forge makes refs of this name, and refuses them when they are pushed."""
    return name.startswith(_OF_FORGES)


@dataclass(frozen=True)
class Refs:
    """The refs of a repository by name, each with the id of its object; `head` is the ref that HEAD stands for.

    `strange` are names that no ref may have.
    """

    ids: Mapping[bytes, bytes]
    head: bytes | None = None
    strange: tuple[str, ...] = ()

    @property
    def tips(self) -> list[bytes]:
        """Every object that a ref names, once, sorted."""
        return sorted(set(self.ids.values()))

    def digest(self, *choices: object) -> str:
        """Return what identifies these refs, together with what is chosen of them."""
        text = hashlib.sha256(repr(choices).encode() + (self.head or b"") + b"\n")
        for name in sorted(self.ids):
            text.update(self.ids[name] + b" " + name + b"\n")
        return f"refs-{text.hexdigest()[:40]}"


@dataclass(frozen=True)
class Remote:
    """A repository at its server.

    Parameters
    ----------
    with_forge_refs
        Whether the forge's own refs are wanted too.
    """

    address: RepositoryAddress
    credentials: Credentials
    wire: Wire
    with_forge_refs: bool = False
    ssh: str = "ssh"

    def refs(self) -> Refs:
        """Return its refs; none if it is empty.

        Raises
        ------
        StoreError
            `TOKEN_REFUSED`, `ACCESS_DENIED`, `REPOSITORY_GONE`, `REPOSITORY_MOVED`, `GIT_FAILED`, `SSH_NEEDS_HERE`.
        StoreTransientError
        """
        with self._client() as (client, path):
            found = client.get_refs(path)
            return self._chosen(found.refs, found.symrefs, found.object_format)

    def fetch(self, write: Callable[[bytes], int]) -> Refs:
        """Write a pack with everything that the refs reach, and return them as they were then; raises as `refs`."""
        seen: list[Refs] = []

        def wanted(refs: Mapping[Any, Any], depth: int | None = None) -> list[Any]:  # noqa: ARG001 - of dulwich
            return self._chosen(refs, {}, None).tips

        with self._client() as (client, path):
            walker = ObjectStoreGraphWalker([], get_parents=lambda _: [])
            found = client.fetch_pack(path, wanted, walker, write)
            seen.append(self._chosen(found.refs, found.symrefs, found.object_format))
        return seen[0]

    def push(self, refs: Mapping[bytes, bytes], pack_data: Any) -> Mapping[bytes, str | None]:
        """Push refs to it, which has to be empty; return why each was refused, or None.

        Raises
        ------
        StoreError
            As `refs`, and `REMOTE_NOT_EMPTY`: nothing was sent.
        """

        def update(existing: Mapping[Any, Any]) -> dict[Any, Any]:
            if any(value for name, value in existing.items() if name != b"capabilities^{}"):
                raise StoreError(
                    f"{self.address.name} is not empty: it has {len(existing):,} refs.",
                    code="REMOTE_NOT_EMPTY",
                    hint="Nothing was pushed. Push to a new, empty repository, made without a README.",
                )
            return dict(refs)

        with self._client() as (client, path):
            answer = client.send_pack(path, update, pack_data)
            return dict(answer.ref_status or {})

    @contextmanager
    def _client(self) -> Iterator[tuple[GitClient, bytes]]:
        """Give what speaks the protocol, and the path to ask it for; errors are Coffre's."""
        with tempfile.TemporaryDirectory(prefix="coffre-ssh-") as folder:
            try:
                if self.address.scheme == "ssh":
                    yield self._over_ssh(Path(folder)), f"/{self.address.folder}".encode()
                else:
                    yield HttpClient(self.address, self.credentials, self.wire), b""
            except CoffreError:
                raise
            except Exception as error:  # noqa: BLE001 - a hostile server makes the parser raise anything
                self.wire.check()
                raise self._failed(error) from None

    def _over_ssh(self, folder: Path) -> GitClient:
        program = shutil.which(self.ssh) if self.wire.is_here else None
        if program is None:
            raise StoreError(
                f"{self.address.name} is reached over ssh, and no program ssh is here.",
                code="SSH_NEEDS_HERE",
                hint="Back it up where ssh is: coffre backup repositories TARGET --here, in CI or on your machine. Or "
                "give its https:// address and a token: functions can use that.",
            )
        if self.credentials.private_key is None:
            raise StoreError(
                f"{self.address.name} is reached over ssh, and its secret has no deploy key.",
                code="KEY_MISSING",
                hint='Store {"private_key": "...", "known_hosts": "..."} in the secret (docs/repositories.md).',
            )
        vendor = Ssh(program, private_file(folder / "key", self.credentials.private_key), folder / "known_hosts")
        private_file(folder / "known_hosts", self.credentials.known_hosts)
        return SSHGitClient(
            self.address.host,
            port=self.address.port,
            username=self.address.user or "git",
            vendor=vendor,
            thin_packs=False,
        )

    def _chosen(self, refs: Mapping[Any, Any], symrefs: Mapping[Any, Any], object_format: object) -> Refs:
        if len(refs) > _MOST_REFS:
            raise self._failed(ValueError(f"It has more than {_MOST_REFS:,} refs."))
        ids: dict[bytes, bytes] = {}
        strange: list[str] = []
        for name, value in refs.items():
            if value is None or name == b"HEAD" or name.endswith(_PEELED):
                continue
            if is_of_forge(name) and not self.with_forge_refs:
                continue
            if not name.startswith(b"refs/") or not check_ref_format(name):
                strange.append(visible(name.decode(errors="backslashreplace")))
                continue
            ids[bytes(name)] = bytes(value)
        if getattr(object_format, "name", "sha1") != "sha1" or any(len(value) != 40 for value in ids.values()):
            raise StoreError(
                f"{self.address.name} is a repository with SHA-256 ids, which bundles of this kind cannot hold.",
                code="OBJECT_FORMAT",
                hint="Leave it out (exclude), and report it: forges make no such repositories by themselves.",
            )
        head = symrefs.get(b"HEAD")
        return Refs(ids, bytes(head) if head in ids else None, tuple(strange))

    def _failed(self, error: Exception) -> CoffreError:
        name = type(error).__name__
        if name in {"NotGitRepository", "HangupException"}:
            return StoreError(
                f"{self.address.name} does not exist, or the key may not see it.",
                code="REPOSITORY_GONE",
                hint="Check the URL, the deploy key, and known_hosts in the secret.",
            )
        if isinstance(error, OSError):
            return StoreTransientError(
                f"{self.address.name} cannot be read now.", code="SERVER_UNREACHABLE", detail=name
            )
        return StoreError(
            f"{self.address.name} did not answer as a Git server does.",
            code="GIT_FAILED",
            detail=f"{name}: {error}"[:300] if isinstance(error, GitProtocolError | ValueError) else name,
            hint="Check that the URL is one that git clone takes.",
        )
