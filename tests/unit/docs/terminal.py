"""A terminal of 120 columns in front of the command: what is typed and both streams in one text, as on a screen."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from tests import snapshots

from coffre_cli import app

WIDTH: Final = 120
_PIPE: Final = Path("pipe")
# Which stack answers is the first line of every command, and left out in the documentation.
_STACK: Final = re.compile(r"^(?:Stack|The local stack) \S+ in .*\n", re.MULTILINE)


class _Keyboard:
    """What a person types; the terminal shows it."""

    def __init__(self, typed: str) -> None:
        self._lines = io.StringIO(typed)

    def readline(self) -> str:
        line = self._lines.readline()
        sys.stdout.write(line)
        sys.stdout.flush()
        return line

    def left(self) -> str:
        """What was not asked for."""
        return self._lines.read()


@dataclass
class Terminal:
    """Runs lines of a shell whose only program is `coffre`; others, that get its output by a pipe, are left out.

    `values` replaces words of the line (shortened ids), `statuses` are those of the commands so far.
    """

    monkeypatch: pytest.MonkeyPatch
    folder: Path
    values: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        snapshots.at_terminal(self.monkeypatch, WIDTH)
        # A bar shows a moment, and leaves nothing behind.
        for name in ("progress.Progress", "status.Status"):
            for act in ("start", "stop"):
                self.monkeypatch.setattr(f"rich.{name}.{act}", lambda _: None)

    @property
    def piped(self) -> bytes:
        """What the other program of a pipe got."""
        return _PIPE.read_bytes()

    def run(self, text: str, typed: str = "") -> str:
        """Return what is on the screen after a line, of which `typed` answers the questions."""
        screen = self._empty()
        keyboard = _Keyboard(typed)
        self.monkeypatch.setattr("sys.stdin", keyboard)
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";>|")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if word != ";":
                command.append(word)
            elif command:
                self._one(command, screen)
                command = []
        assert not keyboard.left(), "not all that is typed was asked for"
        return self._text(screen)

    def call(self, function: Callable[[], object]) -> str:
        """Return what is on the screen after a part of a command."""
        screen = self._empty()
        with self._shown(screen, screen):
            function()
        return self._text(screen)

    def _empty(self) -> Path:
        screen = self.folder / "screen.txt"
        screen.write_text("")
        return screen

    def _text(self, screen: Path) -> str:
        with screen.open(newline="") as file:
            return "".join(f"{line.rstrip()}\n" for line in _seen(_STACK.sub("", file.read())))

    def _one(self, command: list[str], screen: Path) -> None:
        command, output = _redirected(command, screen)
        while "=" in command[0]:
            name, _, value = command.pop(0).partition("=")
            self.monkeypatch.setenv(name, value)
        program, *arguments = command
        arguments = [self.values.get(word, word) for word in arguments]
        if program == "export":
            for word in arguments:
                self.monkeypatch.setenv(*word.split("=", 1))
        elif program == "echo":
            assert arguments == ["$?"]
            with screen.open("a") as file:
                file.write(f"{self.statuses[-1]}\n")
        else:
            assert program == "coffre"
            self.statuses.append(self._coffre(arguments, output, screen))

    def _coffre(self, arguments: list[str], output: Path, screen: Path) -> int:
        self.monkeypatch.setattr("sys.argv", ["coffre", *arguments])
        with self._shown(output, screen), pytest.raises(SystemExit) as ended:
            app.main()
        assert isinstance(ended.value.code, int | None)
        return ended.value.code or 0

    @contextmanager
    def _shown(self, output: Path, screen: Path) -> Iterator[None]:
        files = {1: output, 2: screen}
        kept = {number: os.dup(number) for number in files}
        try:
            for number, file in files.items():
                opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.dup2(opened, number)
                os.close(opened)
            self._patch_streams()
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, before in kept.items():
                os.dup2(before, number)
                os.close(before)

    def _patch_streams(self) -> None:
        for number, name in ((1, "sys.stdout"), (2, "sys.stderr")):
            stream = io.TextIOWrapper(
                io.FileIO(number, "w", closefd=False), encoding="utf-8", write_through=True, newline=""
            )
            self.monkeypatch.setattr(name, stream)


def _seen(text: str) -> Iterator[str]:
    """Yield the lines of a screen. Of one that is written again and again, a countdown, the first version stays."""
    for line in text.removesuffix("\n").split("\n") if text else ():
        first, *others = line.split("\r")
        yield first
        yield from others[-1:]


def _redirected(command: list[str], screen: Path) -> tuple[list[str], Path]:
    """Return a command without what its output goes to, and the file that gets its output."""
    for sign in ("|", ">"):
        if sign in command:
            at = command.index(sign)
            target = Path(command[at + 1]) if sign == ">" else _PIPE
            return command[:at], target
    return command, screen
