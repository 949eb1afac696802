"""`coffre config edit`: the document in the person's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from coffre.model.errors import CoffreError, ConfigurationError, PermanentError
from coffre_cli.commands.config.change import ForceOption, How, NoteOption, YesOption, put_in_effect
from coffre_cli.commands.config.compare import show_difference
from coffre_cli.commands.config.documents import NamedDocument, file_document, in_effect, laid_out, remark_template
from coffre_cli.confirming import is_interactive, refuse_without_terminal
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.screen import remark, say, say_command, show_error
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre.model.configuration_version import CurrentConfiguration

EXAMPLES = examples(
    "coffre config edit",
    "coffre config edit --note 'files are backed up daily'",
    "EDITOR='code --wait' coffre config edit",
)


class EditorError(PermanentError):
    """The editor could not be started, or ended with an error."""

    default_code = "EDITOR_FAILED"


def edit(
    note: NoteOption = None,
    yes: YesOption = False,
    force: ForceOption = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open the document in $VISUAL or $EDITOR (default: vi); when the editor ends, check it and put it in effect.

    What changes is shown and asked for first. A draft with mistakes is kept, and can be edited again.
    """
    refuse_vault("config")
    deployed = find_stack(stack)
    if not yes:
        refuse_without_terminal("the configuration")
    current = deployed.current_configuration
    remark_template(current)
    with _draft(_for_people(in_effect(current).text)) as draft:
        before = draft.read_bytes()
        wanted = _edited(draft)
        if draft.read_bytes() == before:
            say("Nothing was changed in the editor; nothing was written.")
            return
        try:
            put_in_effect(deployed, wanted, note, How(yes=yes, force=force, as_json=as_json))
        except CoffreError as error:
            if error.code == "CONFIGURATION_CHANGED":
                _show_other_change(deployed, current)
            raise


def _for_people(text: str) -> str:
    """Return the document as it was written, or laid out in lines: the template's is one line."""
    return text if "\n" in text.strip() else f"{laid_out(text)}\n"


def _edited(draft: Path) -> NamedDocument:
    """Let a person edit a draft until it has no mistakes; raises the last error when they stop."""
    from coffre.model.configuration_mistakes import read_new_document

    while True:
        _run_editor(draft)
        try:
            wanted = file_document(str(draft))
            read_new_document(wanted.text, where=wanted.label)
            return wanted
        except ConfigurationError as error:
            if not is_interactive():
                raise
            show_error(error)
            if not typer.confirm("Edit it again?", default=True, err=True):
                raise


@contextmanager
def _draft(text: str) -> Iterator[Path]:
    """Yield a file with the text, for its owner alone; it stays if the change does not succeed."""
    folder = Path(tempfile.mkdtemp(prefix="coffre-config-"))
    draft = folder / "configuration.json"
    draft.touch(0o600)
    draft.write_text(text, encoding="utf-8")
    try:
        yield draft
    except BaseException:
        if draft.exists() and draft.read_bytes() != text.encode():
            remark("Your draft is kept. To look for mistakes in it, and to put it in effect:")
            say_command(f"coffre config check {shlex.quote(str(draft))}")
            say_command(f"coffre config set {shlex.quote(str(draft))}")
        else:
            _remove(folder)
        raise
    _remove(folder)


def _remove(folder: Path) -> None:
    for left in folder.iterdir():  # editors leave copies of their own
        if left.is_file():
            left.unlink()
    folder.rmdir()


def _run_editor(draft: Path) -> None:
    command = _editor()
    try:
        status = subprocess.run([*command, str(draft)], check=False).returncode
    except OSError as error:
        raise EditorError(
            f"The editor {command[0]} could not be started.",
            code="EDITOR_MISSING",
            detail=error.strerror,
            hint="Name one: EDITOR=nano coffre config edit. Or: coffre config show > FILE, change it, then "
            "coffre config set FILE. Nothing was changed.",
        ) from error
    if status != 0 or not draft.exists():
        why = f"ended with status {status}" if status else "left no file"
        raise EditorError(f"The editor {command[0]} {why}.", hint="Nothing was changed. Run the command again.")


def _editor() -> Sequence[str]:
    said = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        words = shlex.split(said)
    except ValueError:
        words = []
    return words or [said]


def _show_other_change(deployed: DeployedStack, before: CurrentConfiguration) -> None:
    newest = deployed.catalog.configurations.newest()
    if newest is not None:
        other = NamedDocument(f"version {newest.number} of {newest.actor}", newest.document, newest)
        remark("This is what was changed meanwhile:")
        show_difference(in_effect(before), other)
