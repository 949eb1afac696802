"""Names of files for keys of objects: their own where that is safe everywhere, made-up ones where it is not."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

# Where keys that cannot be files under their own name go, and which is which.
FOLDER: Final = "coffre-renamed"
LIST: Final = "coffre-names.jsonl"

_MOST_SEGMENT_BYTES: Final = 255
_MOST_PATH_BYTES: Final = 1024
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")
# Names of devices on other systems, whatever their ending.
_DEVICE: Final = re.compile(r"(?i:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.DOTALL)
_ENDING: Final = re.compile(r"\.[A-Za-z0-9]{1,10}")


def is_safe_path(path: str) -> bool:
    """Return whether a path means one file below the folder that it is put in, on every system.

    Not whether it is another's: see `FileNames`.
    """
    if _UNSAFE.search(path) or len(path.encode()) > _MOST_PATH_BYTES:
        return False
    return all(_is_safe_segment(segment) for segment in path.split("/"))


def _is_safe_segment(segment: str) -> bool:
    if segment in ("", ".", "..") or segment[-1] in ". ":
        return False
    return len(segment.encode()) <= _MOST_SEGMENT_BYTES and not _DEVICE.fullmatch(segment)


class FileNames:
    """Gives every key a path of its own, also where the case of letters and the form of accents do not count.

    No path is a folder of another one. About 80 bytes are kept for a key.
    """

    def __init__(self) -> None:
        self._files = {_folded(LIST)}
        self._folders = {_folded(FOLDER)}

    def path_of(self, key: str) -> str:
        """Return the path for a key, which is asked for once."""
        if is_safe_path(key) and self._take(key):
            return key
        return self.made_up(key)

    def folder_of(self, key: str) -> str | None:
        """Return the path of a folder for a key that ends with a slash, as stores mark folders; None: it cannot be."""
        path = key.removesuffix("/")
        if not is_safe_path(path) or _folded(path) in self._files or self._is_below_a_file(path):
            return None
        if self._is_ours(path):
            return None
        self._folders.update(_folded(folder) for folder in (path, *_folders(path)))
        return path

    def made_up(self, key: str) -> str:
        """Return a path that says nothing, but what the key's own ending is."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:40]
        found = _ENDING.fullmatch(key[key.rfind(".") :]) if "." in key else None
        ending = found[0].lower() if found else ""
        path = f"{FOLDER}/{digest}{ending if not _DEVICE.fullmatch(digest + ending) else ''}"
        self._files.add(_folded(path))
        return path

    def _take(self, path: str) -> bool:
        """Take a path, unless it is another's, below another's, or above one."""
        folded = _folded(path)
        if self._is_ours(path) or folded in self._files or folded in self._folders or self._is_below_a_file(path):
            return False
        self._files.add(folded)
        self._folders.update(_folded(folder) for folder in _folders(path))
        return True

    def _is_below_a_file(self, path: str) -> bool:
        return any(_folded(folder) in self._files for folder in _folders(path))

    def _is_ours(self, path: str) -> bool:
        return _folded(path.partition("/")[0]) == _folded(FOLDER)


def _folders(path: str) -> list[str]:
    ends = [place for place, letter in enumerate(path) if letter == "/"]
    return [path[:end] for end in ends]


def _folded(path: str) -> int:
    """Return a number that paths have in common that some system takes for the same."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
    return int.from_bytes(hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest())
