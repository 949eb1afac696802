"""Things that break while a backup or a restore runs: programs that die, networks that are cut, stores that refuse."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest
from botocore.exceptions import ClientError

from coffre.postgres.connection.raw_socket import Channel

ENOUGH_BYTES = 1024 * 1024
"""Into a COPY: the rest of a slice is far more than all buffers between server and reader hold."""


def client_tools(home: Path, directory: Path, **scripts: str) -> str:
    """Return a copy of the client programs in which some are shell scripts; `{real}` in them is the real program."""
    programs = directory / "bin"
    programs.mkdir(parents=True)
    (directory / "lib").symlink_to(home / "lib")
    for program in (home / "bin").iterdir():
        (programs / program.name).symlink_to(program)
    for name, script in scripts.items():
        (programs / name).unlink()
        (programs / name).write_text(f"#!/bin/sh\n{script.format(real=home / 'bin' / name)}\n")
        (programs / name).chmod(0o755)
    return str(directory)


def during_copy(monkeypatch: pytest.MonkeyPatch, fault: Callable[[], object]) -> None:
    """Let a fault happen once, in the middle of the first COPY: the reader waits until it has."""
    receive, passed, lock = Channel.receive, [0], threading.Lock()

    def receive_and_break(self: Channel, buffer: bytearray, start: int) -> int:
        found = receive(self, buffer, start)
        with lock:
            before, passed[0] = passed[0], passed[0] + found
        if before < ENOUGH_BYTES <= passed[0]:
            fault()
        return found

    monkeypatch.setattr(Channel, "receive", receive_and_break)


def children(name: str | None = None) -> list[psutil.Process]:
    """The living processes that this one has started, servers of tests excluded."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while it was looked at
            # Node names its process after its thread.
            command = " ".join(child.cmdline())
            is_server = child.name().startswith(("postgres", "weed")) or "azurite" in command or "fake-gcs" in command
            if child.status() != psutil.STATUS_ZOMBIE and not is_server and name in (None, child.name()):
                found.append(child)
    return found


def answer(code: str, message: str = "as the test wants it", status: int = 400, call: str = "Call") -> ClientError:
    """An error that AWS would answer with."""
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        call,
    )


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port of 127.0.0.1 that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


class CutProxy:
    """Passes connections on to a port of 127.0.0.1 until `cut`, which resets all of them and refuses new ones."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._wake, self._woken = socket.socketpair()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._waiting: dict[socket.socket, bytes] = {}
        self._thread = threading.Thread(target=self._run, name="proxy")
        self.port: int = self._server.getsockname()[1]

    def cut(self) -> None:
        """Break every connection, as a network does that fails; one that bytes are on their way to may call it."""
        self._wake.send(b"x")
        self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self.cut()
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        while True:
            # Nothing is read for the one that has not taken what came before, and all others continue meanwhile.
            readable = [end for end, other in self._pairs.items() if other not in self._waiting]
            ready, writable, _ = select.select([self._server, self._woken, *readable], [*self._waiting], [])
            if self._woken in ready:
                break
            for end in writable:
                self._send(end)
            for end in ready:
                if end is self._server:
                    self._accept()
                elif end in self._pairs:
                    self._pass_on(end)
        self._server.close()
        for end in self._pairs:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()

    def _accept(self) -> None:
        near, _ = self._server.accept()
        far = socket.create_connection(("127.0.0.1", self._to))
        self._pairs |= {near: far, far: near}

    def _pass_on(self, end: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(65536)
        if data:
            self._waiting[self._pairs[end]] = data
        else:
            self._close(end)

    def _send(self, end: socket.socket) -> None:
        """Send as much of what waits for an end as there is room for."""
        if end not in self._waiting:  # it was closed meanwhile
            return
        try:
            sent = end.send(self._waiting[end], socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self._close(end)
            return
        self._waiting[end] = self._waiting[end][sent:]
        if not self._waiting[end]:
            del self._waiting[end]

    def _close(self, end: socket.socket) -> None:
        for closed in (end, self._pairs[end]):
            del self._pairs[closed]
            self._waiting.pop(closed, None)
            closed.close()


@contextlib.contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Let the system refuse files of this process above a size, as it does on a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def is_root() -> bool:
    """Whether file permissions mean nothing here."""
    return os.geteuid() == 0


class StoppedServer:
    """A PostgreSQL server whose processes can be stopped where they are: its system still answers for it.

    Parameters
    ----------
    postmaster
        Looks for its first process when it is to be stopped.
    """

    def __init__(self, postmaster: Callable[[], psutil.Process]) -> None:
        self._postmaster = postmaster
        self._stopped: list[psutil.Process] = []

    @classmethod
    def of_backend(cls, pid: int) -> Self:
        """Return the server that a backend belongs to."""
        postmaster = psutil.Process(pid).parent()
        assert postmaster is not None
        return cls(lambda: postmaster)

    def stop(self) -> None:
        """Stop all of its processes, the first one first, so that it starts no other."""
        postmaster = self._postmaster()
        postmaster.suspend()
        self._stopped = [postmaster, *postmaster.children(recursive=True)]
        for process in self._stopped[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def go_on(self) -> None:
        """Let all go on."""
        for process in self._stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


class Reset(Exception):  # noqa: N818 - nothing goes wrong: it is what a test asks for
    """The connection is to be reset here."""


type Fault = Callable[[int, bytes], bytes | None]
"""Gets how many bytes the server has sent before, over all connections, and what it sends now; returns what arrives.

None: nothing arrives any more, on no connection. It raises `Reset` to end this one.
"""


class FaultyWire:
    """Passes connections on to a port of 127.0.0.1, and does to what the server says what networks do.

    Parameters
    ----------
    bytes_per_second
        How much passes in each direction; None: as much as there is.
    """

    def __init__(self, port: int, fault: Fault = lambda _, data: data, *, bytes_per_second: int | None = None) -> None:
        self._to = port
        self._fault = fault
        self._rate = bytes_per_second
        self._server = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._passed = 0
        self._closing = threading.Event()
        self._open: list[socket.socket] = []
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="wire", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for end in self._open:
                end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                with self._lock:
                    self._open += [near, far]
                threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(4096 if self._rate else 65536):
                arrives = self._met(data) if is_answer else data
                if arrives is None:
                    self._closing.wait()
                    return
                if self._rate:
                    self._closing.wait(len(data) / self._rate)
                sink.sendall(arrives)
            sink.shutdown(socket.SHUT_WR)
        except Reset:
            with contextlib.suppress(OSError):
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sink.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it, and would keep it open
            sink.close()
            source.close()
        except OSError:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _met(self, data: bytes) -> bytes | None:
        with self._lock:
            before, self._passed = self._passed, self._passed + len(data)
        return self._fault(before, data)


def flip_at(position: int) -> Fault:
    """Change one bit of one byte."""

    def fault(before: int, data: bytes) -> bytes:
        if before <= position < before + len(data):
            at = position - before
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        return data

    return fault


def stall_at(position: int, then: Callable[[], None]) -> Fault:
    """Let nothing pass any more from a byte on. `then` is called when the first one is held back."""
    stalled = threading.Event()

    def fault(before: int, data: bytes) -> bytes | None:
        if before + len(data) <= position:
            return data
        if not stalled.is_set():
            stalled.set()
            then()
        return None

    return fault


def reset_at(position: int) -> Fault:
    """Reset every connection over which something comes from a byte on, as if the way were closed."""

    def fault(before: int, data: bytes) -> bytes:
        if before + len(data) > position:
            raise Reset
        return data

    return fault
