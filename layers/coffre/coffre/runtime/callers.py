"""Who sent an event: asked from STS where the event proves it, otherwise what it claims."""

from __future__ import annotations

import queue
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.httpsession import URLLib3Session

from coffre.model.audit import Actor
from coffre.model.errors import IdentityError
from coffre.runtime.caller_proof import Audience, Proof, signed_request
from coffre.stores.answer_xml import parse_xml

# How old a signature may be. STS itself accepts no older one
# (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html).
VALID_FOR: Final = timedelta(minutes=15)
# STS answers in tens of milliseconds. A network without a route to it must not hold up a restore.
_PATIENCE_SECONDS: Final = 3
# An answer has about 500 bytes.
_LONGEST_ANSWER_BYTES: Final = 16 * 1024
_NAMESPACE: Final = "{https://sts.amazonaws.com/doc/2011-06-15/}"
# Accounts, users, federated users and roles with the session's name.
_ARN: Final = re.compile(r"arn:(aws[a-z-]*):(?:iam|sts)::[0-9]{12}:[A-Za-z0-9+=,.@_/:-]{1,1024}")
_ERROR_CODE: Final = re.compile(rb"<Code>([A-Za-z.]{1,64})</Code>")


@dataclass
class Callers:
    """Asks STS about callers of one function, and remembers the last answer.

    Parameters
    ----------
    environment
        Of this process: an endpoint that it sets is the STS that is asked.
    """

    audience: Audience
    environment: Mapping[str, str]
    now: Callable[[], datetime]
    patience_seconds: float = _PATIENCE_SECONDS
    _last: tuple[Proof, str, Actor | IdentityError] | None = field(default=None, init=False)

    def verified(self, proof: Proof, digest: str) -> Actor:
        """Return whose credentials signed an event.

        Parameters
        ----------
        digest
            `digest_of` the event that was received.

        Raises
        ------
        IdentityError
            The proof is too old, of another event, for another function, or STS refused it or could not be asked. The
            detail says which.
        """
        if self._last is None or self._last[:2] != (proof, digest):
            self._last = (proof, digest, self._ask(proof, digest))
        answer = self._last[2]
        if isinstance(answer, IdentityError):
            raise answer
        return answer

    def _ask(self, proof: Proof, digest: str) -> Actor | IdentityError:
        try:
            self._refuse_old(proof)
            request = signed_request(proof, digest, self.audience, self.audience.sts_url(self.environment))
            return Actor(self._arn(_within(self.patience_seconds, lambda: self._send(request))), verified=True)
        except IdentityError as error:
            return error

    def _refuse_old(self, proof: Proof) -> None:
        try:
            signed_at = datetime.strptime(proof.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise unverified(f"The date {proof.date} of the proof does not exist.") from error
        if abs(self.now() - signed_at) > VALID_FOR:
            raise unverified(f"The proof was signed at {signed_at:%Y-%m-%d %H:%M} UTC, more than 15 minutes from now.")

    def _send(self, request: AWSRequest) -> bytes:
        """Send the request once, follow no redirect, and return the answer."""
        try:
            with closing(URLLib3Session(timeout=_PATIENCE_SECONDS)) as http:
                response = http.send(request.prepare())
                with closing(response.raw):
                    body: bytes = response.raw.read(_LONGEST_ANSWER_BYTES + 1)
        except (BotoCoreError, HTTPClientError, OSError) as error:
            raise unverified(f"STS could not be asked: {str(error)[:200]}") from error
        if len(body) > _LONGEST_ANSWER_BYTES:
            raise unverified("The answer of STS is too long to be one.")
        if response.status_code != 200:
            code = _ERROR_CODE.search(body)
            words = f" ({code[1].decode()})" if code else ""
            raise unverified(
                f"STS refused the proof with status {response.status_code}{words}: it is of another event, for another "
                "function, or of credentials that are no longer valid."
            )
        return body

    def _arn(self, body: bytes) -> str:
        """Return the ARN in an answer. Only the one place where STS writes it counts, never a text that looks so."""
        try:
            if b"<!" in body:
                raise unverified("The answer of STS is not one to GetCallerIdentity.")
            root = parse_xml(body)
        except ET.ParseError as error:
            raise unverified("The answer of STS is not XML.") from error
        found = root.findall(f"./{_NAMESPACE}GetCallerIdentityResult/{_NAMESPACE}Arn")
        arn = found[0].text or "" if len(found) == 1 else ""
        shape = _ARN.fullmatch(arn)
        if root.tag != f"{_NAMESPACE}GetCallerIdentityResponse" or shape is None or shape[1] != self.audience.partition:
            raise unverified("The answer of STS is not one to GetCallerIdentity.")
        return arn


def for_console(
    actor: Actor, named: str | None, role: str | None, audience: Audience, own: Collection[str] = ()
) -> Actor:
    """Return who used the console, if its role has signed an event: it knows who signed in there.

    No other role of the stack is a person, nor is the console's without a name: who takes over a function could be as
    many people as a session can have names.

    Parameters
    ----------
    named
        The `actor` of the event, which the signature covers.
    role
        The name of the console's role, in the function's own account; None: the stack has no console.
    own
        The names of the stack's other roles.

    Raises
    ------
    IdentityError
        A role of the stack itself has signed the event, and names no one.
    """
    start = f"arn:{audience.partition}:sts::{audience.account}:assumed-role/"
    if not actor.verified or not actor.name.startswith(start):
        return actor
    signer = actor.name.removeprefix(start).partition("/")[0]
    if signer == role and named is not None:
        return Actor.in_console(named)
    if signer == role or signer in own:
        raise unverified(f"The role {signer} of the stack itself has signed it, which is no person.")
    return actor


def unverified(why: str) -> IdentityError:
    """Return the error for an event whose sender is not verified."""
    return IdentityError(
        "It is not verified who sent this event.",
        detail=why,
        hint="Use the command coffre with AWS credentials that are valid; in a VPC, the function needs a route to STS "
        "(docs/identity.md).",
    )


def _within(seconds: float, work: Callable[[], bytes]) -> bytes:
    """Return what the work returns, or give up: a name that does not resolve has no timeout of its own."""
    outcomes: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcomes.put(work())
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that waits
            outcomes.put(error)

    threading.Thread(target=run, name="sts", daemon=True).start()
    try:
        outcome = outcomes.get(timeout=seconds)
    except queue.Empty:
        raise unverified(f"STS did not answer within {seconds:g} seconds.") from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
