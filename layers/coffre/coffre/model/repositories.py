"""Git repositories in the configuration: their addresses, and organisations whose repositories are found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from coffre.model.document import Document

# Their secrets are below this name: nothing else that a role may read is ever sent to the server of a URL.
_SECRET: Final = r"^coffre/repository/[A-Za-z0-9/_+=.@-]{1,400}$"  # noqa: S105 - the pattern of a name
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~][A-Za-z0-9._~+-]{0,254}")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
# With `--here` alone, for a server on the same machine: functions refuse these addresses.
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1"})
_PORTS: Final = {"https": 443, "ssh": 22, "http": 80}


@dataclass(frozen=True)
class RepositoryAddress:
    """Where a repository is. Its parts hold no character that means something to a shell, an option or a path."""

    scheme: Literal["https", "ssh", "http"]
    host: str
    port: int | None
    path: str
    user: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take a URL apart.

        Raises
        ------
        ValueError
            It is no address of a repository; the message never repeats it, since it may contain a token.
        """
        if not url.isascii() or any(sign in url for sign in "?#\\%") or url != url.strip():
            raise ValueError("should be a URL without query, fragment, escapes or spaces")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("should be a URL") from None
        host = parts.hostname or ""
        if parts.scheme not in _PORTS or (parts.scheme == "http" and host not in _THIS_MACHINE):
            raise ValueError("should begin with https:// or ssh:// (git@host:path is written ssh://git@host/path)")
        if not _HOST.fullmatch(host):
            raise ValueError("should name a host")
        if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
            raise ValueError("should contain no login: a token or a key belongs into a secret")
        if parts.username is not None and not _USER.fullmatch(parts.username):
            raise ValueError("should have a user of letters and digits")
        path = parts.path.strip("/").removesuffix(".git")
        segments = path.split("/")
        if not all(_SEGMENT.fullmatch(one) and one not in (".", "..") for one in segments):
            raise ValueError("should have a path of letters, digits and . _ ~ + - between slashes")
        if any(one.endswith(".git") for one in segments):
            raise ValueError("should have .git at its end alone")
        found: Literal["https", "ssh", "http"] = parts.scheme  # type: ignore[assignment]
        return cls(found, host, port, path, parts.username)

    @property
    def bucket(self) -> str:
        """What stands for a bucket: the host, with its port if that is an unusual one."""
        return self.host if self.port in (None, _PORTS[self.scheme]) else f"{self.host}:{self.port}"

    @property
    def folder(self) -> str:
        """Its name at the host: `acme/web.git`."""
        return f"{self.path}.git"

    @property
    def name(self) -> str:
        """Its name in a backup: `github.com/acme/web.git`."""
        return f"{self.bucket}/{self.folder}"

    @property
    def url(self) -> str:
        """The URL, without a login."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{user}{self.host}{port}/{self.folder}"


def _is_address(url: str) -> str:
    RepositoryAddress.parse(url)
    return url


def _is_host(url: str) -> str:
    parsed = RepositoryAddress.parse(f"{url.rstrip('/')}/any")
    if parsed.scheme == "ssh" or "/" in parsed.path:
        raise ValueError("should be the https:// address of a server alone")
    return url


RepositorySecret = Annotated[
    str | None,
    Field(
        pattern=_SECRET,
        description="Name of the secret with a token or a deploy key, below coffre/repository/. null: it is public.",
        examples=["coffre/repository/github"],
    ),
]


class RepositorySource(Document):
    """One repository."""

    url: Annotated[str, AfterValidator(_is_address)] = Field(
        description="Its https:// or ssh:// address, without a login.", examples=["https://github.com/acme/web.git"]
    )
    secret: RepositorySecret = None

    @property
    def address(self) -> RepositoryAddress:
        """The URL's parts."""
        return RepositoryAddress.parse(self.url)


class Organisation(Document):
    """An organisation of GitHub or a group of GitLab, whose repositories are found at each backup.

    `include` and `exclude` are patterns of names below the organisation; `*` fits no slash, `**` fits any.
    """

    forge: Literal["github", "gitlab"] = Field(description="Whose API it has.", examples=["github"])
    name: str = Field(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,19}$",
        description="The organisation, or the group with the groups that it is in.",
        examples=["acme"],
    )
    url: Annotated[str, AfterValidator(_is_host)] | None = Field(
        default=None,
        description="Address of a server of your own. null: github.com or gitlab.com.",
        examples=["https://gitlab.example.com"],
    )
    secret: RepositorySecret = None
    include: tuple[str, ...] = Field(
        default=(), description="Patterns of repositories that are backed up. Empty: all.", examples=[["web-*"]]
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="Patterns of repositories that are left out.", examples=[["*-sandbox"]]
    )
    archived: bool = Field(default=True, description="Whether archived repositories are backed up.", examples=[False])
    forks: bool = Field(default=False, description="Whether forks are backed up.", examples=[True])

    @property
    def server(self) -> str:
        """The address of the server."""
        return (self.url or f"https://{self.forge}.com").rstrip("/")

    def address_of(self, path: str) -> RepositoryAddress:
        """Return where a repository is, given its path at the server; raises as `RepositoryAddress.parse`."""
        return RepositoryAddress.parse(f"{self.server}/{path}.git")
