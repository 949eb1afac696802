"""Facts that a service was asked for: each is known, or it is known why not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that did not come.

    Attributes
    ----------
    action
        The IAM action of the call, such as `s3:GetBucketVersioning`.
    why
        The other side's words.
    is_denied
        The caller lacks the permission `action`; otherwise the call failed in another way.
    """

    action: str
    why: str
    is_denied: bool = False


type Answer[T] = T | Refused
