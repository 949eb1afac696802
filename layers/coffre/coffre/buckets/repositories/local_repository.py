"""A repository on this disk, made from packs or bundles, and proven to be complete. It has no remotes and no hooks."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.object_store import MissingObjectFinder
from dulwich.objects import Blob, Commit, Tag, Tree
from dulwich.pack import write_pack_from_container
from dulwich.repo import Repo

from coffre.buckets.repositories.remote import Refs
from coffre.model.errors import CoffreError, IntegrityError, StoreError

# What stays free: the index of the pack, and what else runs.
_RESERVE_BYTES: Final = 128 * 1024 * 1024
_LOOK_EVERY_BYTES: Final = 4 * 1024 * 1024
_SIGNATURE: Final = b"# v2 git bundle\n"
_HEADER_LINES: Final = 1_000_000


@dataclass(frozen=True)
class Bundle:
    """A bundle file: a header that names refs and what has to exist, and the pack that follows."""

    header: bytes
    pack: Path
    size: int

    @classmethod
    def of(cls, header: bytes, pack: Path) -> Bundle:
        """Return a bundle with its size."""
        return cls(header, pack, len(header) + pack.stat().st_size)

    def read(self, offset: int, amount: int) -> bytes:
        """Return bytes of it."""
        found = self.header[offset : offset + amount]
        if len(found) < amount:
            with self.pack.open("rb") as file:
                file.seek(max(0, offset - len(self.header)))
                found += file.read(amount - len(found))
        return found

    def chunks(self) -> Iterator[bytes]:
        """Yield all of it."""
        for offset in range(0, self.size, 1024 * 1024):
            yield self.read(offset, 1024 * 1024)


@dataclass
class LocalRepository:
    """A bare repository in a directory of its own; a context manager that closes it."""

    repo: Repo
    name: str

    @classmethod
    def make(cls, folder: Path, name: str) -> LocalRepository:
        """Make an empty one in a new directory."""
        folder.mkdir(parents=True)
        return cls(Repo.init_bare(str(folder)), name)

    def __enter__(self) -> LocalRepository:
        return self

    def __exit__(self, *_: object) -> None:
        self.repo.close()

    @property
    def folder(self) -> Path:
        """Where it is."""
        return Path(self.repo.controldir())

    def add_pack(self, fill: Callable[[Callable[[bytes], int]], Any]) -> Any:
        """Add a pack, whose objects are hashed and parsed, and return what `fill` returns.

        Raises
        ------
        StoreError
            `REPOSITORY_TOO_LARGE`
        IntegrityError
            `REPOSITORY_BROKEN`
        CoffreError
            Of `fill`.
        """
        file, commit, abort = self.repo.object_store.add_pack()
        writer = Limited(file.write, self.folder, self.name)
        try:
            result = fill(writer)
            if writer.written:
                self._checked(commit)
            return result
        finally:
            if not file.closed:  # it was not taken over
                abort()

    def _checked(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except (CoffreError, OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - bytes of a stranger make the parser raise anything
            raise self._broken(f"{type(error).__name__}: its objects cannot be read.") from None

    def add_bundle(self, chunks: Iterator[bytes]) -> Refs:
        """Add the pack of a bundle, and return the refs that its header names; raises as `add_pack`."""
        buffer = _Header(chunks, self.name)
        ids, _ = buffer.parse()
        head = ids.pop(b"HEAD", None)
        self.add_pack(lambda write: [write(piece) for piece in buffer.rest()])
        return Refs(ids, next((name for name, value in ids.items() if head == value), None))

    def set_refs(self, refs: Refs) -> None:
        """Make the refs."""
        for name, value in refs.ids.items():
            self.repo.refs[name] = value  # type: ignore[index, assignment]
        if refs.head is not None:
            self.repo.refs.set_symbolic_ref(b"HEAD", refs.head)  # type: ignore[arg-type]

    def reached(self, tips: Iterable[bytes], given: Collection[bytes] = frozenset()) -> Reached:
        """Return every object that some objects need; each has to exist, or to be among those that are `given`.

        Raises
        ------
        IntegrityError
            `REPOSITORY_BROKEN`: an object is missing.
        """
        store: Any = self.repo.object_store
        found, attributes, todo = set[bytes](), set[bytes](), list(tips)
        while todo:
            one = todo.pop()
            if one in found or one in given:
                continue
            found.add(one)
            try:
                item = store[one]
            except KeyError:
                raise self._broken(f"The object {one.decode('ascii', 'replace')} is missing.") from None
            if isinstance(item, Commit):
                todo += [item.tree, *item.parents]
            elif isinstance(item, Tag):
                todo.append(item.object[1])
            elif isinstance(item, Tree):
                self._look_into(item, store, found, given, attributes, todo)
        return Reached(found, attributes)

    def _look_into(
        self,
        tree: Tree,
        store: Any,
        found: set[bytes],
        given: Collection[bytes],
        attributes: set[bytes],
        todo: list[bytes],
    ) -> None:
        for name, mode, one in tree.iteritems():
            if stat.S_ISDIR(mode):
                todo.append(one)
            elif stat.S_IFMT(mode) != 0o160000 and one not in found and one not in given:  # no submodule
                if one not in store:
                    raise self._broken(f"The object {one.decode('ascii', 'replace')} is missing.")
                found.add(one)
            if name == b".gitattributes":
                attributes.add(one)

    def content(self, one: bytes) -> bytes:
        """Return the content of a file."""
        item = self.repo.object_store[one]  # type: ignore[index]
        return item.data if isinstance(item, Blob) else b""

    def full_bundle(self, refs: Refs) -> Bundle:
        """Return everything, as one bundle: the pack is the one that the server sent, checked meanwhile."""
        [pack] = (self.folder / "objects" / "pack").glob("*.pack")
        return Bundle.of(_header(refs, ()), pack)

    def bundle_since(self, refs: Refs, before: Sequence[bytes], file: Path) -> Bundle | None:
        """Return a bundle of what came after some objects; None if none of them is a commit of this history."""
        store: Any = self.repo.object_store
        base = sorted({one for one in before if one in store and isinstance(store[one], Commit)})
        if not base:
            return None
        missing = list(MissingObjectFinder(store, haves=base, wants=refs.tips))  # type: ignore[arg-type]
        with file.open("wb") as output:
            writer = Limited(output.write, file.parent, self.name)
            write_pack_from_container(writer, store, missing, object_format=DEFAULT_OBJECT_FORMAT)
        bundle = Bundle.of(_header(refs, base), file)
        self._prove(bundle, refs, base)
        return bundle

    def _prove(self, bundle: Bundle, refs: Refs, base: Sequence[bytes]) -> None:
        """Clone an addition next to this repository: with what it builds on, it has to have everything."""
        folder = bundle.pack.with_suffix(".clone")
        try:
            with LocalRepository.make(folder, self.name) as clone:
                seen = clone.add_bundle(bundle.chunks())
                if seen.ids != refs.ids:
                    raise self._broken("A bundle that was made of it names other refs.")
                clone.reached(refs.tips, given=self.reached(base).objects)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _broken(self, detail: str) -> IntegrityError:
        return IntegrityError(
            f"The repository {self.name} is not complete, or damaged.",
            code="REPOSITORY_BROKEN",
            detail=detail,
            hint="Run `git fsck --full` in a clone of it. Earlier backups are untouched.",
        )


@dataclass(frozen=True)
class Reached:
    """Objects that refs reach, and those of them that are files named .gitattributes."""

    objects: set[bytes]
    attributes: set[bytes]


def _header(refs: Refs, base: Sequence[bytes]) -> bytes:
    lines = [_SIGNATURE, *(b"-" + one + b" \n" for one in base)]
    if refs.head is not None:
        lines.append(refs.ids[refs.head] + b" HEAD\n")
    return b"".join([*lines, *(refs.ids[name] + b" " + name + b"\n" for name in sorted(refs.ids)), b"\n"])


class _Header:
    """Reads the lines before the pack of a bundle."""

    def __init__(self, chunks: Iterator[bytes], name: str) -> None:
        self._chunks, self._name, self._buffer = chunks, name, b""

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            more = next(self._chunks, None)
            if more is None or len(self._buffer) > _LOOK_EVERY_BYTES:
                raise IntegrityError(f"A bundle of {self._name} has no header.", code="REPOSITORY_BROKEN")
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def parse(self) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Return the refs, and what has to exist."""
        refs, needed = dict[bytes, bytes](), list[bytes]()
        if self._line() + b"\n" != _SIGNATURE:
            raise IntegrityError(f"What is stored of {self._name} is no bundle.", code="REPOSITORY_BROKEN")
        for _ in range(_HEADER_LINES):
            line = self._line()
            if not line:
                break
            one, _, name = line.lstrip(b"-").partition(b" ")
            if line.startswith(b"-"):
                needed.append(one)
            else:
                refs[name] = one
        return refs, needed

    def rest(self) -> Iterator[bytes]:
        """Yield the pack."""
        yield self._buffer
        yield from self._chunks


class Limited:
    """Writes as long as the disk has room."""

    def __init__(self, write: Callable[[Any], int], folder: Path, name: str) -> None:
        self._write, self._folder, self._name = write, folder, name
        self.written = 0
        self._looked_at = 0

    def __call__(self, data: bytes | bytearray | memoryview) -> int:
        if self.written >= self._looked_at:
            self._looked_at = self.written + _LOOK_EVERY_BYTES
            if shutil.disk_usage(self._folder).free < _RESERVE_BYTES:
                raise too_large(self._name)
        self.written += len(data)
        return self._write(data)


def too_large(name: str) -> StoreError:
    """Return the error of what does not fit on the disk."""
    return StoreError(
        f"{name} does not fit on this disk.",
        code="REPOSITORY_TOO_LARGE",
        hint="Back it up where the disk is larger: coffre backup repositories TARGET --here, in CI or on your machine. "
        "Or raise the parameter RepositoryStorageSize of the template (up to 10240 MB).",
    )
