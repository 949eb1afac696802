"""What the answers of Git servers and of their APIs mean, in Coffre's errors."""

from __future__ import annotations

from collections.abc import Mapping

from coffre.buckets.repositories.credentials import Credentials
from coffre.model.errors import CoffreError, StoreError, StoreTransientError


def refusal(what: str, status: int, headers: Mapping[str, str], credentials: Credentials) -> CoffreError:
    """Return the error of an answer that is not 200. Nothing of its body is passed on.

    GitHub answers 403 or 429 over the limit of its API, with `x-ratelimit-remaining: 0` or `retry-after`; and 404 for
    what a token may not see (GitHub's REST documentation, 2026-11).
    """
    secret, has_token = credentials.place, credentials.token is not None
    if status == 429 or (status == 403 and (headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers)):
        wait = headers.get("retry-after")
        return StoreTransientError(
            f"{what} cannot be read now: the server's limit of requests is reached.",
            code="RATE_LIMITED",
            detail=f"It asks to wait {wait[:20]} s." if wait else None,
            hint="The next backup tries again. A token of a GitHub App has a higher limit than that of a user.",
        )
    if status == 401:
        return StoreError(
            f"{what} cannot be read: the server refuses the token."
            if has_token
            else f"{what} cannot be read without a token.",
            code="TOKEN_REFUSED",
            hint=f"It may have expired or been revoked. Make a new one, and put it into the secret {secret}."
            if has_token
            else "Name a secret with a token in the configuration (docs/repositories.md).",
        )
    if status == 403:
        return StoreError(
            f"{what} may not be read with this token.",
            code="ACCESS_DENIED",
            hint=f"The token in {secret} needs to read contents and metadata, and has to be authorised for the "
            "organisation if that uses single sign-on.",
        )
    if status in (404, 410):
        return StoreError(
            f"{what} does not exist, or the token may not see it.",
            code="REPOSITORY_GONE",
            hint="If it was deleted or renamed, correct the configuration; earlier backups still have it. Otherwise "
            f"give the token in {secret} access to it.",
        )
    if 300 <= status < 400:
        return StoreError(
            f"{what} has moved; redirects are not followed.",
            code="REPOSITORY_MOVED",
            hint="Correct its URL in the configuration.",
        )
    if status >= 500:
        return StoreTransientError(f"{what} cannot be read now: the server answered {status}.", code="SERVER_FAILED")
    return StoreError(f"{what} cannot be read: the server answered {status}.", code="SERVER_REFUSED")
