"""What proves who sent an event: the signature of an STS request that both sides can write down by themselves.

The caller signs `GetCallerIdentity` with its own credentials and puts the signature into its event. The function builds
the same request again from what it knows itself (its own name, this event, the STS of its own region), adds the
signature and sends it: STS answers whose credentials signed (docs/identity.md, docs/adr/0019-verified-callers.md).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from pydantic import Field

from coffre.model.document import Document

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

_BODY: Final = b"Action=GetCallerIdentity&Version=2011-06-15"
_CONTENT_TYPE: Final = "application/x-www-form-urlencoded; charset=utf-8"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
# How botocore writes the header that carries a signature.
_AUTHORIZATION: Final = re.compile(rf"{_ALGORITHM} Credential=([^/, ]+)/.*, ?Signature=([0-9a-f]{{64}})")


class Proof(Document):
    """The parts of a signature that the function cannot know by itself; everything else of the request it writes.

    `date` is when it was signed, `token` the session token of temporary credentials. No part can hold a character that
    would add a header, or end the part that it stands in.
    """

    key_id: str = Field(pattern=r"^[A-Za-z0-9_]{1,128}$", repr=False)
    date: str = Field(pattern=r"^[0-9]{8}T[0-9]{6}Z$")
    token: str | None = Field(default=None, pattern=r"^[!-~]{1,8192}$", repr=False)
    signature: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)


@dataclass(frozen=True, slots=True)
class Audience:
    """The function that an event is for, and so its proof: where it is deployed, and its name."""

    partition: str
    region: str
    account: str
    function: str

    @classmethod
    def near(cls, arn: str, region: str, function: str) -> Self:
        """Return a function in the account that an ARN names; an ARN of a function is that function itself."""
        if function.startswith("arn:"):
            _, partition, _, region, account, _, function = [*function.split(":"), *[""] * 7][:7]
            return cls(partition, region, account, function)
        parts = [*arn.split(":"), *[""] * 5]
        return cls(parts[1], region, parts[4], function)

    @property
    def arn(self) -> str:
        """The function's ARN."""
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:function:{self.function}"

    def sts_url(self, environment: Mapping[str, str]) -> str:
        """Return the address of STS: that of the function's own region, or the endpoint that the environment sets."""
        endpoint = environment.get("AWS_ENDPOINT_URL_STS") or environment.get("AWS_ENDPOINT_URL")
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"{(endpoint or f'https://sts.{self.region}.{suffix}').rstrip('/')}/"


def digest_of(event: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of an event without its proof, as canonical JSON: sorted keys, no spaces, UTF-8."""
    signed = {name: value for name, value in event.items() if name != "proof"}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def sign(event: Mapping[str, Any], audience: Audience, url: str, credentials: ReadOnlyCredentials) -> dict[str, str]:
    """Return the field `proof` for an event, signed with the caller's own credentials.

    Parameters
    ----------
    event
        What is sent, as it is sent, but for the proof.
    url
        The address of STS that the function asks: `Audience.sts_url`.
    """
    request = _request(digest_of(event), audience, url)
    SigV4Auth(credentials, "sts", audience.region).add_auth(request)
    found = _AUTHORIZATION.fullmatch(request.headers["Authorization"])
    if found is None:
        raise ValueError("botocore writes the Authorization header in another form")
    proof = Proof(
        key_id=found[1], date=request.headers["X-Amz-Date"], token=credentials.token or None, signature=found[2]
    )
    return proof.model_dump(exclude_none=True)


def signed_request(proof: Proof, digest: str, audience: Audience, url: str) -> AWSRequest:
    """Return the request that the caller signed if the proof is of this event and for this function."""
    request = _request(digest, audience, url)
    request.headers["X-Amz-Date"] = proof.date
    if proof.token is not None:
        request.headers["X-Amz-Security-Token"] = proof.token
    names = ";".join(sorted([*(name.lower() for name in request.headers), "host"]))
    scope = f"{proof.key_id}/{proof.date[:8]}/{audience.region}/sts/aws4_request"
    request.headers["Authorization"] = (
        f"{_ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature={proof.signature}"
    )
    return request


def _request(digest: str, audience: Audience, url: str) -> AWSRequest:
    headers = {"Content-Type": _CONTENT_TYPE, "X-Coffre-Event": digest, "X-Coffre-Function": audience.arn}
    return AWSRequest(method="POST", url=url, data=_BODY, headers=headers, stream_output=True)
