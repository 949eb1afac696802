"""Clients of AWS with the user's usual credentials.

botocore alone: importing boto3 costs each command 0.1 s for resources and transfers that nothing here uses.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.session import Session


def session() -> Session:
    """Return the session of all clients; it is another one after the variables of AWS have changed."""
    return _session(tuple(sorted((name, text) for name, text in os.environ.items() if name.startswith("AWS_"))))


def client(service: str, config: Config | None = None) -> Any:
    """Return a new client of a service (`s3`, `cloudformation` ...)."""
    return session().create_client(service, config=config)


def region() -> str | None:
    """Return the region that clients ask."""
    found: str | None = session().get_config_variable("region")
    return found


def asked_place() -> str:
    """Return the region, and the endpoint if any, that AWS clients of this process use."""
    where, endpoint = region() or "no region", os.environ.get("AWS_ENDPOINT_URL")
    return f"{where} at {endpoint}" if endpoint else where


@lru_cache(maxsize=1)
def _session(variables: tuple[tuple[str, str], ...]) -> Session:
    del variables
    from botocore.session import get_session

    return get_session()
