"""The session of all clients of a process."""

from __future__ import annotations

from threading import Lock
from typing import Any

import botocore.session


class SharedSession(botocore.session.Session):
    """A session whose clients are made one after another, whichever threads ask: botocore's own allows one thread."""

    def __init__(self) -> None:
        super().__init__()
        self._making = Lock()

    def create_client(self, *arguments: Any, **named: Any) -> Any:
        """Return a new client, as botocore makes it."""
        with self._making:
            return super().create_client(*arguments, **named)
