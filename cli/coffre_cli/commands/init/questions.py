"""The questions of `coffre init`: each is also an option, and an option that is given is not asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from getpass import getpass

from coffre.model.errors import PermanentError
from coffre_cli.screen import remark


class InitError(PermanentError):
    """An answer that `init` cannot work with, or one that is missing."""

    default_code = "INIT_ANSWER"


@dataclass(frozen=True)
class Questions:
    """Asks on a terminal; without one, options and defaults have to do.

    Parameters
    ----------
    read, read_hidden
        Called with a prompt; return a line.
    """

    is_terminal: bool
    read: Callable[[str], str]
    read_hidden: Callable[[str], str]

    @classmethod
    def of_this_terminal(cls) -> Questions:
        """Return questions to the person at the terminal: prompts go to stderr."""

        def read(prompt: str) -> str:
            sys.stderr.write(prompt)
            sys.stderr.flush()
            line = sys.stdin.readline()
            if not line:
                raise InitError("The answer ended before it began.", hint="Run it again: it continues where it was.")
            return line.strip()

        return cls(sys.stdin.isatty(), read, lambda prompt: getpass(prompt, stream=sys.stderr).strip())

    def text(self, about: str, prompt: str, default: str) -> str:
        """Ask for a line; Enter, or no terminal, takes the default."""
        if not self.is_terminal:
            return default
        remark("")
        remark(about)
        shown = f" [{default}]" if default else ""
        return self.read(f"{prompt}{shown}: ") or default

    def hidden(self, about: str, prompt: str, option: str) -> str:
        """Ask for a line that is not shown while it is typed; raises `InitError` without a terminal."""
        if not self.is_terminal:
            raise InitError(
                f"{option} is missing, and there is no terminal to ask at.", hint=f"Give it: {option} env:NAME"
            )
        remark("")
        remark(about)
        return self.read_hidden(f"{prompt}: ")

    def names(self, about: str, prompt: str, default: Sequence[str]) -> tuple[str, ...]:
        """Ask for names, separated by commas or spaces; `-` is none."""
        answer = self.text(about, prompt, ",".join(default))
        return () if answer == "-" else tuple(dict.fromkeys(answer.replace(",", " ").split()))
