"""The sessions of one run: what each may wait for, and how all of them end together.

A server that does not answer keeps libpq waiting without a limit, in any call. Breaking the connection below it ends
every such call with an error.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import DumpTransientError
from coffre.postgres.connection.libpq import CancelRequest, send_all

PLAIN_NAME: Final = "coffre"
"""The `application_name` of sessions that continue when a run is stopped, and of those that clear away after it."""

_SHARING: Final = "-share-"
_LOOK_SECONDS: Final = 0.1


def sharing_id(run_id: str) -> str:
    """Return a new id for an invocation that loads a share of the rows of a run: to be ended with it, or alone."""
    return f"{run_id}{_SHARING}{secrets.token_hex(4)}"


class Sessions:
    """Every session that a run has open, so that another thread can cancel and break all of them.

    Parameters
    ----------
    clearing_seconds
        How long clearing away may take from now on, once the run is stopped. None: as long as it takes.
    run_id
        Of a run that another process may continue: the name is then the same there.

    Attributes
    ----------
    name
        The `application_name` of the run's sessions and of those of its client programs: no other run's have it.
    """

    def __init__(self, clearing_seconds: Callable[[], float] | None = None, run_id: str | None = None) -> None:
        self.name = f"{PLAIN_NAME}-{run_id.lower() if run_id else secrets.token_hex(4)}"
        self._clearing_seconds = clearing_seconds
        self._lock = threading.Lock()
        self._held: dict[int, _Held] = {}
        self._has_ended = False
        self._has_opened = False
        self._was_refused = False

    @property
    def lasting_name(self) -> str:
        """The `application_name` of sessions whose statement the server finishes without its client."""
        return f"{self.name}-lasting"

    @property
    def guard_name(self) -> str:
        """The `application_name` of the session that keeps other restores out."""
        return f"{self.name}-guard"

    @property
    def sharing_name(self) -> str:
        """How the `application_name` begins of those who load a share of the rows (`sharing_id`)."""
        return f"{self.name}{_SHARING}"

    @property
    def has_ended(self) -> bool:
        """Whether the run is being stopped."""
        return self._has_ended

    def end(self) -> None:
        """From now on sessions are only opened to clear away: under the plain name, and for a limited time."""
        with self._lock:
            self._has_ended = True

    def refused(self) -> None:
        """Remember that the server refused a login."""
        self._was_refused = True

    @property
    def is_kept_out(self) -> bool:
        """Whether every login was refused so far: nothing of the run is at the server."""
        return self._was_refused and not self._has_opened

    def check(self) -> None:
        """Raise after `end`.

        Raises
        ------
        DumpTransientError
            Code `STOPPED`. Why the run is stopped is what its watch raises in the end.
        """
        if self._has_ended:
            raise stopped()

    def seconds_to_clear(self) -> float | None:
        """Return how long a session that is opened now may last; None: without a limit.

        Raises
        ------
        DumpTransientError
            `STOPPED`: there is no time left for it.
        """
        if not self._has_ended or self._clearing_seconds is None:
            return None
        seconds = self._clearing_seconds()
        if seconds <= 0:
            raise stopped()
        return seconds

    @contextmanager
    def holding(
        self,
        session: psycopg2.extensions.connection,
        *,
        stays: bool = False,
        lasts: bool = False,
        is_clearing: bool = False,
        seconds: float | None = None,
    ) -> Iterator[None]:
        """Let `cancel` and `cut` reach a session, if it is not held already.

        Parameters
        ----------
        stays
            It has to last until it is closed, unless its server is silent.
        lasts
            `abandon` leaves its statement to the server.
        is_clearing
            It was opened after `end`.
        seconds
            It is broken after so long in any case.

        Raises
        ------
        DumpTransientError
            `STOPPED`
        """
        if id(session) in self._held:
            self.check()
            yield
            return
        self._has_opened = True
        wire = socket.socket(fileno=os.dup(session.fileno()))
        # What clears away begins while the others are still being ended.
        held = _Held(CancelRequest(session), wire, stays or is_clearing, lasts)
        timer = threading.Timer(seconds, self._cut_one, (held,)) if seconds is not None else None
        try:
            with self._lock:
                if not is_clearing:
                    self.check()
                self._held[id(session)] = held
            if timer is not None:
                timer.daemon = True
                timer.start()
            yield
        finally:
            if timer is not None:
                timer.cancel()
            with self._lock:
                self._held.pop(id(session), None)
                held.close()

    def cancel(self, *, seconds: float) -> bool:
        """Cancel what the run's sessions are doing, and return whether their servers answered within the time."""
        with self._lock:
            # The thread that takes a request frees it: its session can be closed meanwhile.
            requests = [held.take_request() for held in self._held.values() if not held.stays]
        sent = [request for request in requests if request is not None]
        try:
            return send_all(sent, seconds=seconds)
        finally:
            for request in sent:
                request.close()

    def abandon(self) -> None:
        """Break the connections of sessions that last: the server finishes, and commits, what each is doing."""
        with self._lock:
            for held in self._held.values():
                if held.lasts:
                    held.cut()
                    held.stays = True  # no request to cancel reaches it any more

    def cut(self, *, all_of_them: bool) -> None:
        """Break the connections, so that no call waits for the server any more; those that stay only on request."""
        with self._lock:
            for held in self._held.values():
                if all_of_them or not held.stays:
                    held.cut()

    def _cut_one(self, held: _Held) -> None:
        with self._lock:
            held.cut()


@dataclass(eq=False)
class _Held:
    """A session as other threads reach it: its descriptor is a copy, which is no other's when libpq closes its own."""

    request: CancelRequest | None
    wire: socket.socket
    stays: bool
    lasts: bool = False

    def take_request(self) -> CancelRequest | None:
        request, self.request = self.request, None
        return request

    def cut(self) -> None:
        with suppress(OSError):
            self.wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.wire.close()
        if self.request is not None:
            self.request.close()


def stopped() -> DumpTransientError:
    """Return the error of what is asked for after the run was stopped."""
    return DumpTransientError("The run is being stopped.", code="STOPPED")


def open_patiently(
    make: Callable[[], psycopg2.extensions.connection], *, is_over: Callable[[], bool]
) -> psycopg2.extensions.connection | None:
    """Open a session in a thread of its own; None when it is over before the session is open.

    Names are resolved and servers are waited for without a way to interrupt either. A session that comes too late is
    closed immediately.
    """
    opened: Future[psycopg2.extensions.connection] = Future()

    def work() -> None:
        try:
            session = make()
        except BaseException as error:  # noqa: BLE001 - the waiting thread gets it
            if opened.set_running_or_notify_cancel():
                opened.set_exception(error)
            return
        if opened.set_running_or_notify_cancel():
            opened.set_result(session)
        else:
            session.close()

    threading.Thread(target=work, name="connect", daemon=True).start()
    while True:
        try:
            return opened.result(timeout=_LOOK_SECONDS)
        except NotYetError:
            if not opened.done() and is_over() and opened.cancel():
                return None


def after(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so much time has passed."""
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() >= deadline
