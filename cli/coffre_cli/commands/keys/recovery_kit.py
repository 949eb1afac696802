"""`coffre keys recovery-kit`: one folder with which a stranger restores backups without Coffre."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.errors import EncryptionError, PermanentError
from coffre_cli.commands.keys.key_inventory import IdentitiesOption, KnownKey, known_keys, short, targets_of
from coffre_cli.commands.keys.list_check import TargetsOption
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.place import Place, find_place
from coffre_cli.screen import print_json, say, say_command
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre_cli.commands.keys.kit_facts import KitFacts

EXAMPLES = examples(
    'coffre keys recovery-kit ./kit --identity-at "in the safe, envelope 7"',
    "coffre keys recovery-kit ./kit --include-identity",
    "coffre keys recovery-kit ./kit --include-identity --target shop",
    "coffre keys recovery-kit ./kit --check",
)
SCRIPT: Final = Path(__file__).parent / "kit" / "restore.py"
FACTS, IDENTITY, SUMS, CONFIGURATION = "facts.json", "identity.age", "SHA256SUMS", "configuration.json"
# To be printed and deleted: not in the list of the kit's files.
SECRET_PAGE: Final = "identity.html"  # noqa: S105


class KitError(PermanentError):
    """A recovery kit would be incomplete, or cannot be read."""

    default_code = "KIT_INCOMPLETE"


def recovery_kit(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")],
    include_identity: Annotated[
        bool,
        typer.Option(
            "--include-identity", help="Include the private keys, encrypted by a passphrase, which is asked for."
        ),
    ] = False,
    identity_at: Annotated[
        str | None, typer.Option("--identity-at", metavar="TEXT", help="Say instead where the private key is kept.")
    ] = None,
    print_identity: Annotated[
        bool,
        typer.Option(
            "--print-identity", help="Write the private keys, NOT encrypted, to a page of their own, to be printed."
        ),
    ] = False,
    passphrase: Annotated[
        str | None, typer.Option(metavar="env:NAME", help="A variable with the passphrase, for scripts.")
    ] = None,
    identity: IdentitiesOption = None,
    targets: TargetsOption = None,
    is_check: Annotated[
        bool, typer.Option("--check", help="Write nothing: report what of the kit in DIR is no longer true.")
    ] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a folder with which a person who knows nothing of Coffre restores the backups.

    It contains the addresses, the keys that backups need, a page to print, and one script that needs python3 and age
    (psql and pg_restore for a database). Keep it where the account and the laptop are not, and the passphrase
    elsewhere.
    """
    place = find_place(stack)
    if is_check:
        _check(place, directory, as_json=as_json)
        return
    if include_identity == (identity_at is not None):
        raise typer.BadParameter("say how a stranger gets the private key: --include-identity, or --identity-at TEXT")
    names = targets_of(place, targets or ())
    keys = _chosen(known_keys(place, names, identity or ())) if include_identity or print_identity else []
    facts = _facts(place, names, keys, identity_at).model_copy(update={"is_of_all": not targets})
    written = _write(place, directory, facts, keys, passphrase, print_identity=print_identity)
    if as_json:
        print_json({"directory": str(directory), **written.model_dump(mode="json")})
        return
    _say_written(directory, written, print_identity=print_identity)


def _chosen(keys: Sequence[KnownKey]) -> list[KnownKey]:
    if not keys:
        raise KitError(
            "No private key is known here.",
            code="IDENTITY_MISSING",
            hint="Give it (--identity FILE), or say where it is kept: --identity-at TEXT.",
        )
    return list({one.recipient: one for one in keys}.values())


# --- Writing ---


def _facts(place: Place, targets: Sequence[str], keys: Sequence[KnownKey], identity_at: str | None) -> KitFacts:
    """Return the facts of a kit that can be of use.

    Raises
    ------
    KitError
        No backup exists, or the kit would not open the newest backup of each of its targets.
    """
    from coffre_cli.commands.keys.kit_facts import facts_of

    included = {one.recipient for one in keys}
    facts = facts_of(place, targets, [] if identity_at else [*included], identity_at, datetime.now(UTC))
    if not facts.targets:
        raise KitError(
            "No target has a backup yet: nothing could be restored.", hint="Take one: coffre backup database"
        )
    unopened = [one.name for one in facts.targets if one.recipients and not {*one.recipients} & included]
    if unopened and identity_at is None:
        raise KitError(
            f"No private key that is known here opens the newest backup of {', '.join(unopened)}.",
            hint="Give it (--identity FILE), leave such targets out (--target NAME), or say where it is kept: "
            "--identity-at TEXT.",
        )
    return facts


def _write(
    place: Place,
    directory: Path,
    facts: KitFacts,
    keys: Sequence[KnownKey],
    passphrase: str | None,
    *,
    print_identity: bool,
) -> KitFacts:
    from coffre_cli.commands.keys.kit_pages import printed_page, readme, secret_page
    from coffre_cli.kept_configuration import document_of
    from coffre_cli.output_file import new_directory, refuse_existing

    refuse_existing(directory)
    used = [one for one in keys if one.recipient in {key.recipient for key in facts.keys}]
    files = {
        "README.md": readme(facts).encode(),
        "page.html": printed_page(facts).encode(),
        "restore.py": SCRIPT.read_bytes(),
        FACTS: facts.model_dump_json(indent=1).encode() + b"\n",
    }
    if document := document_of(place):
        files[CONFIGURATION] = document.encode()
    if facts.identity_at is None:
        files[IDENTITY] = _sealed(used, passphrase)
    if isinstance(place, DeployedStack) and keys:
        what = "printed, not encrypted" if print_identity else "encrypted by a passphrase"
        listed = ", ".join(short(one.recipient) for one in used)
        place.catalog.audit.record(facts.made_at, place.caller, "key.exported", detail=f"{what}: {listed}")
    with new_directory(directory) as part:
        for name, content in files.items():
            _put(part / name, content)
        _put(part / SUMS, "".join(f"{_digest(content)}  {name}\n" for name, content in files.items()).encode())
        if print_identity:
            _put(part / SECRET_PAGE, secret_page(facts, used).encode())
    return facts


def _sealed(keys: Sequence[KnownKey], passphrase: str | None) -> bytes:
    from coffre.vault.passphrase import seal_with_passphrase

    if passphrase is None:
        given = typer.prompt("Passphrase of the kit", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = os.environ.get(passphrase.removeprefix("env:"), "")
        if not passphrase.startswith("env:") or not given:
            raise EncryptionError(
                "--passphrase names no variable with a passphrase.",
                code="PASSPHRASE_MISSING",
                hint="For example: --passphrase env:KIT_PASSPHRASE. Other users of this machine could "
                "see a passphrase in an argument.",
            )
    text = "".join(f"# public key: {one.recipient}\n{one.identity}\n" for one in keys)
    return seal_with_passphrase(text.encode(), given)


def _put(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _say_written(directory: Path, facts: KitFacts, *, print_identity: bool) -> None:
    say(f"The recovery kit is in {directory}. README.md tells a stranger what to do; page.html is to be printed.")
    if facts.identity_at is None:
        say(f"It contains the private keys, encrypted by the passphrase. Keep the passphrase apart from {directory}.")
    else:
        say(f"It contains no private key. It says that the key is kept here: {facts.identity_at}")
    if print_identity:
        say(f"{SECRET_PAGE} has the private keys as they are: print it from a private window, then delete it (browsers")
        say("and printers keep copies).", style="bold red")
    say("Move the folder away from this machine and account, and look at it once a year:")
    say_command(f"coffre keys recovery-kit {directory} --check")


# --- Checking ---


def _check(place: Place, directory: Path, *, as_json: bool) -> None:
    from pydantic import ValidationError

    from coffre_cli.commands.keys.kit_facts import KitFacts, facts_of

    try:
        kit = KitFacts.model_validate_json((directory / FACTS).read_bytes())
    except (OSError, ValidationError) as error:
        raise KitError(
            f"{directory} is not a recovery kit that this version can read.",
            code="KIT_UNREADABLE",
            detail=str(error)[:300],
            hint="Write it again: coffre keys recovery-kit DIR",
        ) from error
    of_kit = {target.name for target in kit.targets}
    names = sorted({*targets_of(place), *of_kit}) if kit.is_of_all else sorted(of_kit)
    today = facts_of(place, names, [], None, datetime.now(UTC))
    found = [*_changed_files(directory), *_compared(kit, today)]
    if as_json:
        print_json({"is_current": not found, "made_at": kit.made_at, "problems": found})
    elif found:
        for one in found:
            say(f"- {one}", style="yellow")
        say("Write a new kit: coffre keys recovery-kit NEW_DIR ...")
    else:
        say(f"The kit of {kit.made_at:%Y-%m-%d} is complete and still true.")
    if found:
        raise typer.Exit(Exit.FAILED)


def _compared(kit: KitFacts, today: KitFacts) -> list[str]:
    from coffre_cli.commands.keys.kit_facts import differences

    return differences(kit, today)


def _changed_files(directory: Path) -> list[str]:
    """Return which files are missing or not as they were written, and whether the script is an older one."""
    try:
        lines = (directory / SUMS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return [f"The kit has no readable {SUMS}."]
    found = []
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name, expected in listed.items():
        file = directory / Path(name).name
        if not file.is_file():
            found.append(f"{name} is missing.")
        elif _digest(file.read_bytes()) != expected:
            found.append(f"{name} was changed after the kit was written.")
    if listed.get("restore.py") != _digest(SCRIPT.read_bytes()):
        found.append("restore.py is that of another version of Coffre.")
    if (directory / SECRET_PAGE).exists():
        found.append(
            f"{SECRET_PAGE} with the private keys is still there, not encrypted: delete it once it is printed."
        )
    return found
