"""Checks of the way in: does the server answer, with TLS that is worth something, and does it accept the role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coffre.model.backup import Failure
from coffre.model.checkup import Severity
from coffre.policy.checks.check import Finding, check

# Long enough to be seen by a check that runs each week. Certificates of 90 days are renewed by themselves when a third
# of their life is left.
_ENDS_WITHIN: Final = timedelta(days=90)
_SHARE_OF_LIFE: Final = 5

_UNREACHABLE: Final = frozenset({"HOST_UNREACHABLE", "CONNECTION_REFUSED", "CONNECTION_TIMEOUT"})
_REFUSED: Final = frozenset({"AUTHENTICATION_FAILED", "CONNECTION_NOT_ALLOWED"})


@dataclass(frozen=True)
class Login:
    """How connecting went: `problem` is why it failed."""

    problem: Failure | None = None


@dataclass(frozen=True)
class Encryption:
    """The TLS of a session. `begins` and `ends` are of the certificate that ends first of those that were verified.

    `is_local`: the server is on the same machine, where there is no wire to listen on.

    """

    mode: str
    in_use: bool
    is_local: bool
    now: datetime
    name: str | None = None
    begins: datetime | None = None
    ends: datetime | None = None

    @property
    def is_verified(self) -> bool:
        """Whether the server's certificate was checked."""
        return self.in_use and self.mode.startswith("verify-")


def _found(wanted: Callable[[str], bool], login: Login) -> Iterator[Finding]:
    problem = login.problem
    if problem is not None and wanted(problem.code):
        yield Finding(problem.message, evidence=problem.code, cure=problem.hint)


@check(
    "HOST_UNKNOWN",
    Severity.BLOCKER,
    Login,
    fine="The host's name is known.",
    cure="Correct the host in the target's secret; a function in a VPC needs a resolver that knows the name.",
)
def host_unknown(login: Login) -> Iterator[Finding]:
    """Find a name that the function's network cannot resolve."""
    yield from _found(lambda code: code == "HOST_UNKNOWN", login)


@check(
    "SERVER_UNREACHABLE",
    Severity.BLOCKER,
    Login,
    fine="The server answers.",
    cure="Allow the function's subnet or address in the database's firewall, and check host and port.",
)
def server_unreachable(login: Login) -> Iterator[Finding]:
    """Find a server that does not answer."""
    yield from _found(lambda code: code in _UNREACHABLE, login)


@check(
    "TLS_FAILED",
    Severity.BLOCKER,
    Login,
    fine="The server's TLS is as the target wants it.",
    cure="Put the provider's CA (PEM) into the target's tls.ca: docs/roles.md.",
)
def tls_failed(login: Login) -> Iterator[Finding]:
    """Find TLS that is refused, or a certificate that cannot be verified."""
    yield from _found(lambda code: code.startswith("TLS_"), login)


@check(
    "LOGIN_REFUSED",
    Severity.BLOCKER,
    Login,
    fine="The server accepts the role and its password.",
    cure="Put the role's present name and password into the target's secret.",
)
def login_refused(login: Login) -> Iterator[Finding]:
    """Find a role or password that the server refuses."""
    yield from _found(lambda code: code in _REFUSED, login)


@check(
    "CONNECTION_FAILED",
    Severity.BLOCKER,
    Login,
    fine="A session can be opened.",
    cure="Look at the server's log, and at the proxies on the way.",
)
def connection_failed(login: Login) -> Iterator[Finding]:
    """Find every other reason why no session can be opened: no room, no such database, a cut connection."""
    known = _UNREACHABLE | _REFUSED | {"HOST_UNKNOWN"}
    yield from _found(lambda code: code not in known and not code.startswith("TLS_"), login)


@check(
    "TLS_NOT_VERIFIED",
    Severity.WARNING,
    Encryption,
    fine="The server's certificate is verified, or the server is on the same machine.",
    cure="Set the target's tls.ca to the provider's CA; \"system\" if a public authority signed the certificate.",
)
def tls_not_verified(encryption: Encryption) -> Iterator[Finding]:
    """Find a session that anybody between here and the server could have answered."""
    if encryption.is_local or encryption.is_verified:
        return
    if not encryption.in_use:
        yield Finding(
            "The connection is not encrypted: everybody on the way can read the rows and change them.",
            evidence=f"sslmode={encryption.mode}, no TLS",
            cure="Turn TLS on at the server, then set the target's tls.mode to verify-full and its tls.ca.",
        )
    else:
        yield Finding(
            "The server's certificate is not verified: another server on the way could pose as the server.",
            evidence=f"sslmode={encryption.mode}",
        )


@check(
    "TLS_CA_EXPIRES",
    Severity.WARNING,
    Encryption,
    fine="No certificate of the server's chain ends soon, among those that are verified.",
    cure="Put the provider's present CA into the target's tls.ca, or renew the server's certificate.",
)
def tls_ca_expires(encryption: Encryption) -> Iterator[Finding]:
    """Find a certificate, or an authority, that ends within 90 days (or the last fifth of a shorter life)."""
    begins, ends = encryption.begins, encryption.ends
    if begins is None or ends is None:
        return
    left = ends - encryption.now
    if left < min(_ENDS_WITHIN, (ends - begins) / _SHARE_OF_LIFE):
        yield Finding(
            f"A certificate that the server is verified with ends in {max(left.days, 0)} days. Then no backup can "
            "connect.",
            evidence=f"{encryption.name}: {ends:%Y-%m-%d}",
        )
