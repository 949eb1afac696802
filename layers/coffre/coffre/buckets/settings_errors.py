"""What AWS refuses of settings, as our errors: a detail is a code alone, since messages can repeat what was sent."""

from __future__ import annotations

from typing import Final

from coffre.model.errors import CoffreError, ObjectMissingError, StoreError, StoreTransientError

_MISSING: Final = frozenset({"ResourceNotFoundException", "ParameterNotFound"})

_DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"})

_KMS: Final = frozenset({"DecryptionFailure", "InvalidKeyId", "KMSAccessDeniedException"})

_TRANSIENT: Final = frozenset(
    {"ThrottlingException", "TooManyUpdates", "InternalServiceError", "InternalServerError", "ServiceUnavailable"}
)


def settings_error(action: str, code: str) -> CoffreError:
    """Return the error for what AWS answered an action with."""
    if code in _MISSING:
        return ObjectMissingError("It has no current value, or does not exist any more.", detail=code)
    if code in _DENIED:
        return StoreError(f"{action} was denied.", code="STORE_DENIED", detail=code)
    if code in _KMS:
        return StoreError(
            f"{action} failed: its KMS key cannot be used. Name the key in SettingsKeys.",
            code="KMS_UNUSABLE",
            detail=code,
        )
    if code in _TRANSIENT:
        return StoreTransientError(f"AWS is too busy for {action}.", detail=code)
    return StoreError(f"{action} failed.", detail=code)
