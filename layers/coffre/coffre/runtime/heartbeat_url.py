"""The dead man's switch: a URL outside AWS that is called after each good backup, and that alerts when it is not."""

from __future__ import annotations

from typing import Final

import urllib3

from coffre.model.errors import TransientError

_TIMEOUT: Final = urllib3.Timeout(connect=3, read=5)
# Three tries within at most half a minute: the backup is done, and the function is paid by the millisecond.
_RETRIES: Final = urllib3.Retry(total=2, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
_REFUSED: Final = 400


class HeartbeatError(TransientError):
    """The heartbeat URL did not answer as it should. The text never has the URL: who knows it can feign health."""

    default_code = "HEARTBEAT_NOT_SENT"


def send_heartbeat(url: str, target: str) -> None:
    """Call a URL.

    Raises
    ------
    HeartbeatError
        It could not be reached, or refused.
    """
    try:
        with urllib3.PoolManager(timeout=_TIMEOUT, retries=_RETRIES) as pool:
            status = pool.request("GET", url).status
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        # Neither its text nor its cause: both have the URL in them.
        raise _not_sent(target, type(error).__name__) from None
    if status >= _REFUSED:
        raise _not_sent(target, f"It answered {status}.")


def _not_sent(target: str, detail: str) -> HeartbeatError:
    return HeartbeatError(
        f'The heartbeat URL of "{target}" could not be called.',
        detail=detail,
        hint="The backup is good; the service behind the URL will think otherwise. Check alerts.heartbeat_url of the "
        "target, and that the function has a way to the internet.",
    )
