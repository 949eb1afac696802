"""Repositories as backups read them: one page of objects for each, which are refs, bundles and LFS objects.

A repository is looked at when its page is asked for. If its refs are those of the previous backup, nothing is fetched.
Otherwise all of it is fetched, proven, and what is new becomes a bundle, which stays on the disk until it is stored.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Self

from coffre.buckets.object_facts import Listed
from coffre.buckets.plain_source import PlainSource
from coffre.buckets.reader import Piece
from coffre.buckets.repositories.credentials import Credentials
from coffre.buckets.repositories.fetched_files import OnDisk
from coffre.buckets.repositories.git_http import Wire
from coffre.buckets.repositories.lfs import LfsServer, needed
from coffre.buckets.repositories.local_repository import LocalRepository
from coffre.buckets.repositories.one_look import Looks
from coffre.buckets.repositories.remote import Refs, Remote
from coffre.buckets.repositories.stored_objects import BUNDLES, HEAD, LFS, REFS, Chain, as_before, kind_of
from coffre.buckets.s3_xml import ListingPage
from coffre.model.errors import CoffreError, RunStoppedError, StoreError
from coffre.model.manifest import Entry, ObjectFacts
from coffre.model.repositories import RepositoryAddress
from coffre.policy.bundle_chain import is_full_due


@dataclass(frozen=True)
class Wanted:
    """A repository that is backed up, and what opens it."""

    address: RepositoryAddress
    credentials: Credentials


@dataclass
class RepositoryReader(PlainSource):
    """Lists and reads repositories; see `ObjectSource`. A context manager.

    Parameters
    ----------
    find
        Returns the repositories of the target, by host; asked once.
    previous
        Returns the previous backup's entries whose names start with a text.
    usable
        Keys of the packs that may be pointed at.
    is_full
        Whether everything is fetched and stored again.
    folder
        A directory for clones, which does not exist yet.
    """

    wire: Wire
    find: Callable[[], Sequence[Wanted]]
    folder: Path
    now: Callable[[], datetime]
    previous: Callable[[str], Iterator[Entry]] = lambda _: iter(())
    usable: frozenset[str] = frozenset()
    is_full: bool = False
    with_lfs: bool = True
    with_forge_refs: bool = False
    _found: Mapping[str, Sequence[Wanted]] | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _read_any: bool = False
    _first_error: CoffreError | None = None
    _looks: Looks = field(default_factory=Looks)

    def __post_init__(self) -> None:
        self._disk = OnDisk(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """Nowhere in particular: each repository has its own server."""
        return "https://"

    @property
    def region(self) -> str:
        """None."""
        return ""

    @property
    def requests(self) -> Counter[str]:
        """The number of requests so far, by what they were."""
        return self.wire.requests

    @property
    def received_bytes(self) -> int:
        """The number of bytes that answers had so far."""
        return self.wire.received_bytes

    @property
    def stopping(self) -> threading.Event:
        """Set it to make every request end soon."""
        return self.wire.stopping

    def page(self, bucket: str, prefix: str, *, token: str | None = None, after: str | None = None) -> ListingPage:
        """Return what one repository of a host has: the one with the token's number, or the next after a key.

        Raises
        ------
        StoreError
            No repository of the target could be read.
        """
        wanted = self.repositories().get(bucket, ())
        number = int(token or 0)
        while number < len(wanted) and after is not None and _is_before(wanted[number], after):
            number, self._read_any = number + 1, True  # an earlier invocation has read it
        if number >= len(wanted):
            return ListingPage([], None, is_truncated=False)
        found = self._look(wanted[number], after)
        objects = [one for one in found if one.key.startswith(prefix)]
        self._looks.keep(bucket, wanted[number].address.folder, objects)
        is_last = number + 1 == len(wanted)
        if is_last:
            self._refuse_nothing(bucket)
        return ListingPage(
            sorted(objects, key=lambda found: found.key), None if is_last else str(number + 1), not is_last
        )

    def rest_of_page(self, bucket: str, after: str) -> Sequence[Listed] | None:
        """Return what a repository has after a key, as its refs were when it was looked at."""
        return self._looks.rest(bucket, after)

    def take_up(self, rest: Sequence[Listed]) -> None:
        """Take what an earlier invocation has left of the repository that it ended in."""
        self._looks.taken_up = rest

    def piece(
        self,
        bucket: str,
        listed: Listed,
        offset: int,
        *,
        etag: str | None = None,  # noqa: ARG002 - of the contract
    ) -> Piece:
        """Return up to `PIECE_BYTES` of a ref, a bundle or an LFS object.

        Raises
        ------
        StoreError
        StoreTransientError
        """
        self.wire.check()
        place = (bucket, listed.key)
        body = self._disk.piece(place, listed, offset)
        if body is None and kind_of(listed.key) in (REFS, HEAD):
            body = f"{listed.etag}\n".encode()
        if body is None:
            raise StoreError(
                "What is stored of it is damaged, and its repository could not be read now.", code="BUNDLE_DAMAGED"
            )
        self._disk.done_with(place, listed.size, len(body))
        modified = format_datetime(listed.last_modified) if listed.last_modified else ""
        headers = {"etag": listed.etag or "", "last-modified": modified}
        return Piece(body, listed.size, {name: value for name, value in headers.items() if value})

    def is_listed(self, bucket: str, key: str) -> bool:  # noqa: ARG002 - of the contract
        """Return that it exists: what was listed is kept until it is stored."""
        return True

    def denied_hint(self, bucket: str) -> str:  # noqa: ARG002 - of the contract
        """Return what to do when nothing of a host may be read."""
        return "Check the token in the secret that the configuration names for it (docs/repositories.md)."

    # --- listing ---

    def repositories(self) -> Mapping[str, Sequence[Wanted]]:
        """Return the repositories by host, each once, in the order of their names; raises what finding them raises."""
        if self._found is None:
            once = {wanted.address.name: wanted for wanted in reversed(self.find())}
            found = defaultdict[str, list[Wanted]](list)
            for wanted in sorted(once.values(), key=lambda one: f"{one.address.folder}/"):
                found[wanted.address.bucket].append(wanted)
            self._found = found
        return self._found

    def remote(self, wanted: Wanted) -> Remote:
        """Return a repository at its server."""
        return Remote(wanted.address, wanted.credentials, self.wire, self.with_forge_refs)

    def _refuse_nothing(self, bucket: str) -> None:
        """Refuse a backup in which no repository could be read, when all have been looked at."""
        is_over = bucket == max(self.repositories())
        if is_over and not self._read_any and self._first_error is not None:
            raise self._first_error

    def _look(self, wanted: Wanted, after: str | None) -> Sequence[Listed]:
        address = wanted.address
        left = self._looks.left_of(address.folder, after)
        if left is not None:
            self._read_any = True
            self._expect_lfs(wanted, left)
            return left
        chain = Chain(list(self.previous(f"{address.name}/")), self.usable)
        try:
            objects = self._of_now(wanted, chain)
        except RunStoppedError:
            raise
        except CoffreError as error:
            self._first_error = self._first_error or error
            kept = bool(chain.below(address.name, BUNDLES))
            self.miss(
                f"{address.name} could not be read: {error.message} [{error.code}] "
                + (f"{error.hint} " if error.hint else "")
                + ("The backup has it as the one before." if kept else "It is not in this backup.")
            )
            return [as_before(entry) for entry in chain.entries]
        self._read_any = True
        return objects

    def _of_now(self, wanted: Wanted, chain: Chain) -> list[Listed]:
        remote = self.remote(wanted)
        refs = remote.refs()
        for name in refs.strange:
            self.miss(f"A ref of {wanted.address.name} is not in this backup, because of its name: {name}")
        if not refs.ids:
            self.note(f"{wanted.address.name} is empty.")
            return []
        bundles = [] if self.is_full else chain.bundles(wanted.address.name)
        facts = bundles[-1].object if bundles else None
        if facts is not None and facts.etag == self._digest(refs):
            stored = [as_before(entry) for entry in (*bundles, *chain.below(wanted.address.name, LFS))]
            self._expect_lfs(wanted, stored)
            return [*_names(wanted, refs), *stored]
        return self._changed(wanted, remote, bundles)

    def _changed(self, wanted: Wanted, remote: Remote, bundles: Sequence[Entry]) -> list[Listed]:
        """Fetch and prove a repository, and make a bundle of what is new; return all that it has."""
        address = wanted.address
        place = self.folder / f"clone-{next(self._numbers)}"
        with LocalRepository.make(place, address.name) as clone:
            refs = clone.add_pack(remote.fetch)
            if not refs.ids:
                return []
            reached = clone.reached(refs.tips)
            sizes = needed(clone, reached) if self.with_lfs else {}
            before = [] if is_full_due([entry.size for entry in bundles]) else list(bundles)
            addition = None
            if before:
                tips = self._tips_before(address)
                addition = clone.bundle_since(refs, tips, place.with_suffix(".pack"))
            bundle = addition or clone.full_bundle(refs)
        if addition is not None:
            shutil.rmtree(place, ignore_errors=True)
        number = 1 + max((int(entry.name.rpartition("/")[2][:6]) for entry in bundles), default=0)
        key = f"{address.folder}/{BUNDLES}{number:06d}-{'more' if addition else 'full'}.bundle"
        self._disk.keep((address.bucket, key), bundle)
        self._looks.keep_bundle((address.bucket, key))
        stored = [as_before(entry) for entry in before] if addition else []
        stored.append(Listed(key, bundle.size, self._digest(refs), self.now().replace(microsecond=0)))
        objects = [Listed(f"{address.folder}/{LFS}{oid}", size, oid) for oid, size in sizes.items()]
        self._expect_lfs(wanted, objects)
        return [*_names(wanted, refs), *stored, *objects]

    def _tips_before(self, address: RepositoryAddress) -> list[bytes]:
        refs = self.previous(f"{address.name}/{REFS}")
        return [(entry.object or ObjectFacts()).etag.encode() for entry in refs if entry.object and entry.object.etag]  # type: ignore[union-attr]

    def _digest(self, refs: Refs) -> str:
        return refs.digest(self.with_lfs, self.with_forge_refs)

    def _expect_lfs(self, wanted: Wanted, objects: Sequence[Listed]) -> None:
        server = LfsServer(wanted.address, wanted.credentials, self.wire)
        for found in objects:
            if kind_of(found.key) == LFS:
                self._disk.expect((wanted.address.bucket, found.key), server)


def _is_before(wanted: Wanted, after: str) -> bool:
    folder = f"{wanted.address.folder}/"
    return folder < after and not after.startswith(folder)


def _names(wanted: Wanted, refs: Refs) -> Iterator[Listed]:
    """Yield the refs as objects; bytes of a name that are no text are written out."""
    folder = wanted.address.folder
    for name, one in refs.ids.items():
        yield Listed(f"{folder}/{name.decode(errors='backslashreplace')}", len(one) + 1, one.decode())
    if refs.head is not None:
        text = f"ref: {refs.head.decode(errors='backslashreplace')}"
        yield Listed(f"{folder}/{HEAD}", len(text.encode()) + 1, text)
