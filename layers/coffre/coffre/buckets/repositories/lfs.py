"""Objects of Git LFS: which ones a repository needs, and the batch API (git-lfs, docs/api/batch.md, 2026-11).

The server is the repository's own; what `.lfsconfig` in a repository says is not followed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from coffre.buckets.repositories.credentials import Credentials
from coffre.buckets.repositories.git_errors import refusal
from coffre.buckets.repositories.git_http import Wire
from coffre.buckets.repositories.local_repository import LocalRepository, Reached, too_large
from coffre.model.document import parse_json
from coffre.model.errors import StoreError, StoreTransientError
from coffre.model.repositories import RepositoryAddress

_POINTER: Final = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,15})\n"
)
_LONGEST_POINTER: Final = 1024
_MEDIA: Final = "application/vnd.git-lfs+json"
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,100}")
_VALUE: Final = re.compile(r"[\x20-\x7e]{0,8000}")


def needed(repository: LocalRepository, reached: Reached) -> dict[str, int]:
    """Return the sizes of the LFS objects that files of any commit point at, by their ids.

    All files are looked at if one named .gitattributes mentions LFS, otherwise none.
    """
    if not any(b"filter=lfs" in repository.content(one) for one in reached.attributes):
        return {}
    found: dict[str, int] = {}
    for one in reached.objects:
        content = repository.content(one)
        match = _POINTER.match(content) if len(content) <= _LONGEST_POINTER else None
        if match is not None:
            found[match[1].decode()] = int(match[2])
    return found


@dataclass(frozen=True)
class LfsServer:
    """The LFS server of one repository."""

    address: RepositoryAddress
    credentials: Credentials
    wire: Wire

    def download(self, oid: str, size: int, file: Path) -> None:
        """Write an object to a new file, checked against its id.

        Raises
        ------
        StoreError
            `LFS_MISSING`, `LFS_DAMAGED`, `REPOSITORY_TOO_LARGE`, and those of `refusal`.
        StoreTransientError
        """
        action = self._action("download", oid, size)
        if action is None:
            raise self._missing(oid, "the server offers no download")
        response = self.wire.request("lfs", "GET", action.href, headers=self._headers(action))
        if response.status != 200:
            response.close()
            raise refusal(f"The LFS object {oid}", response.status, {}, self.credentials)
        digest, length = hashlib.sha256(), 0
        with file.open("xb") as output:
            for chunk in self.wire.chunks(response):
                length += len(chunk)
                if length > size:
                    break
                if shutil.disk_usage(file.parent).free < size - length:
                    raise too_large(f"The LFS object {oid} of {self.address.name}")
                digest.update(chunk)
                output.write(chunk)
        if digest.hexdigest() != oid or length != size:
            raise StoreError(
                f"The LFS server of {self.address.name} has other bytes than the object {oid} names.",
                code="LFS_DAMAGED",
                hint="Run `git lfs fsck` in a clone that has it, and push it again: git lfs push --object-id.",
            )

    def upload(self, oid: str, size: int, file: Path) -> None:
        """Upload an object, unless the server has it; raises as `download`."""
        action = self._action("upload", oid, size)
        if action is None:
            return
        headers = {
            "Content-Type": "application/octet-stream",
            **self._headers(action),
            "Content-Length": str(size),
        }
        with file.open("rb") as body:
            response = self.wire.request("lfs", "PUT", action.href, headers=headers, body=body)
        self.wire.text(response)
        if response.status not in (200, 201):
            raise refusal(f"The LFS object {oid}", response.status, {}, self.credentials)
        if action.verify is not None:
            body_ = json.dumps({"oid": oid, "size": size}).encode()
            headers = {"Content-Type": _MEDIA, "Accept": _MEDIA, **self._headers(action.verify)}
            answer = self.wire.request("lfs", "POST", action.verify.href, headers=headers, body=body_)
            self.wire.text(answer)
            if answer.status != 200:
                raise refusal(f"The LFS object {oid}", answer.status, {}, self.credentials)

    def _action(self, operation: str, oid: str, size: int) -> _Action | None:
        if self.address.scheme == "ssh":
            raise StoreError(
                f"{self.address.name} is reached over ssh, and its LFS objects only over https.",
                code="LFS_NEEDS_HTTPS",
                hint="Give its https:// address and a token, or turn LFS off for this target (lfs: false).",
            )
        body = json.dumps(
            {
                "operation": operation,
                "transfers": ["basic"],
                "objects": [{"oid": oid, "size": size}],
                "hash_algo": "sha256",
            }
        ).encode()
        url = f"{self.address.url}/info/lfs/objects/batch"
        headers = {"Content-Type": _MEDIA, "Accept": _MEDIA, **self.credentials.basic}
        response = self.wire.request("lfs", "POST", url, headers=headers, body=body)
        answer = self.wire.text(response)
        if response.status != 200:
            lower = {name.lower(): value for name, value in response.headers.items()}
            raise refusal(f"The LFS server of {self.address.name}", response.status, lower, self.credentials)
        return self._action_of(answer, operation, oid)

    def _action_of(self, answer: bytes, operation: str, oid: str) -> _Action | None:
        try:
            [item] = parse_json(answer)["objects"]
            if item.get("error"):
                raise self._missing(oid, f"the server says {int(item['error']['code'])}")
            actions = item.get("actions") or {}
            found = _Action.of(actions[operation]) if operation in actions else None
            verify = _Action.of(actions["verify"]) if found and "verify" in actions else None
            return _Action(found.href, found.header, verify) if found else None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise StoreTransientError(
                f"The LFS server of {self.address.name} did not answer as one does.", code="SERVER_FAILED"
            ) from None

    def _headers(self, action: _Action) -> dict[str, str]:
        """Return the headers of a transfer: its own, or the token if it is at the repository's own server."""
        own, here = urlsplit(self.address.url), urlsplit(action.href)
        is_same = (own.scheme, own.netloc) == (here.scheme, here.netloc)
        has_own = any(name.lower() == "authorization" for name in action.header)
        return {**(self.credentials.basic if is_same and not has_own else {}), **action.header}

    def _missing(self, oid: str, why: str) -> StoreError:
        return StoreError(
            f"The LFS server of {self.address.name} does not have the object {oid}: {why}.",
            code="LFS_MISSING",
            hint="If a clone has it: git lfs push --object-id REMOTE OID. Otherwise the file is lost for everybody.",
        )


@dataclass(frozen=True)
class _Action:
    """Where a transfer goes, as the server says."""

    href: str
    header: Mapping[str, str]
    verify: _Action | None = None

    @classmethod
    def of(cls, value: Any) -> _Action:
        href, header = str(value["href"]), dict(value.get("header") or {})
        if urlsplit(href).scheme not in ("https", "http") or not href.isascii() or any(one <= " " for one in href):
            raise ValueError("no URL")
        if not all(_HEADER.fullmatch(name) and _VALUE.fullmatch(str(text)) for name, text in header.items()):
            raise ValueError("no header")
        return cls(href, {name: str(text) for name, text in header.items()})


def oids_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the LFS objects of a bare clone, where git-lfs keeps them."""
    for file in sorted((folder / "lfs" / "objects").glob("*/*/*")):
        yield file.name, file


def place_of(folder: Path, oid: str) -> Path:
    """Return where git-lfs keeps an object of a bare clone."""
    return folder / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
