"""What is known of an identity provider: its endpoints and its keys, each kept for an hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from coffre_console.access.web import Fetch, IssuerError, is_protected, unavailable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

KEPT: Final = timedelta(hours=1)
ASKED_AGAIN: Final = timedelta(minutes=1)
"""A token with an unknown key lets the keys be read again, at most this often: a flood of them asks no more."""
ALGORITHMS: Final[Mapping[str, str]] = {"RS256": "RSA", "ES256": "EC"}
"""The signatures that count -> the type of key that each needs. `none` and shared secrets never do."""
_RSA_BITS: Final = range(2048, 8193)
_MOST_KEYS: Final = 100

type PublicKey = RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where people sign in and out, where a code becomes a token, and where the keys are."""

    authorization: str
    token: str
    keys: str
    end_session: str | None
    basic: bool  # A client's secret is sent in the header, not in the form.


@dataclass
class Issuer:
    """One identity provider, as long as the function's process lives.

    `url` is exactly what `iss` of its tokens has to be.
    """

    url: str
    fetch: Fetch
    _endpoints: tuple[datetime, Endpoints] | None = field(default=None, init=False)
    _keys: tuple[datetime, Sequence[Mapping[str, Any]]] | None = field(default=None, init=False)

    def endpoints(self, now: datetime) -> Endpoints:
        """Return its endpoints; raises IssuerError."""
        if self._endpoints is None or now - self._endpoints[0] >= KEPT:
            self._endpoints = (now, self._discover())
        return self._endpoints[1]

    def key(self, kid: str | None, algorithm: str, now: datetime) -> PublicKey | None:
        """Return the key that a token names, for one of `ALGORITHMS`; None: no key of this issuer fits.

        Raises
        ------
        IssuerError
            Its keys could not be read.
        """
        keys = self._current(now, KEPT)
        found = _fitting(keys, kid, algorithm)
        if found is None:
            found = _fitting(self._current(now, ASKED_AGAIN), kid, algorithm)
        return found

    def _current(self, now: datetime, kept: timedelta) -> Sequence[Mapping[str, Any]]:
        if self._keys is None or now - self._keys[0] >= kept:
            previous = self._keys[1] if self._keys is not None and now - self._keys[0] < KEPT else None
            self._keys = (now, self._read_keys(now, previous))
        return self._keys[1]

    def _read_keys(self, now: datetime, previous: Sequence[Mapping[str, Any]] | None) -> Sequence[Mapping[str, Any]]:
        """Read the keys. Those that are known still count for their hour when only a look for more fails."""
        try:
            url = self.endpoints(now).keys
            keys = self.fetch(url).get("keys")
            if not isinstance(keys, list) or len(keys) > _MOST_KEYS or not all(isinstance(one, dict) for one in keys):
                raise unavailable(url, "no set of keys")
        except IssuerError:
            if previous is None:
                raise
            return previous
        return keys

    def _discover(self) -> Endpoints:
        url = f"{self.url.rstrip('/')}/.well-known/openid-configuration"
        said = self.fetch(url)
        if said.get("issuer") != self.url:
            raise unavailable(url, f"it is of another issuer than {self.url}")
        ends = said.get("end_session_endpoint")
        ways = said.get("token_endpoint_auth_methods_supported")
        return Endpoints(
            authorization=self._address(url, said, "authorization_endpoint"),
            token=self._address(url, said, "token_endpoint"),
            keys=self._address(url, said, "jwks_uri"),
            end_session=self._address(url, said, "end_session_endpoint") if ends is not None else None,
            basic=not isinstance(ways, list) or "client_secret_basic" in ways or "client_secret_post" not in ways,
        )

    def _address(self, url: str, said: Mapping[str, Any], name: str) -> str:
        address = said.get(name)
        if not isinstance(address, str) or not is_protected(address):
            raise unavailable(url, f"{name} is no https:// address")
        if self.url.startswith("https:") and not address.startswith("https:"):
            raise unavailable(url, f"{name} is no https:// address")
        return address


def _fitting(keys: Sequence[Mapping[str, Any]], kid: str | None, algorithm: str) -> PublicKey | None:
    """Return the one key for a token: named by it, or the only one if it names none."""
    kind = ALGORITHMS[algorithm]
    fitting = [
        one
        for one in keys
        if one.get("kty") == kind
        and one.get("use", "sig") == "sig"
        and one.get("alg", algorithm) == algorithm
        and kid in (None, one.get("kid"))
    ]
    if len(fitting) != 1:
        return None
    # Here, for pages and keys of the API need no signature: a twelfth of a start.
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key = jwt.PyJWK.from_dict(dict(fitting[0]), algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey):
        return key if key.key_size in _RSA_BITS else None
    return key if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1) else None
