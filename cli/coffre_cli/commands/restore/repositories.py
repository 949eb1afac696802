"""`coffre restore repositories`: bare clones in a directory, or a push to an empty repository."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from coffre.model.kinds import TargetKind
from coffre.model.names import visible
from coffre.model.words import counted, size
from coffre_cli.audited import recorded_reading
from coffre_cli.backup_argument import BackupId
from coffre_cli.commands.restore.options import DryRunOption, TargetOption, Which
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.private_key import IdentityOption, decoder_of
from coffre_cli.reading import FromOption
from coffre_cli.screen import print_json, remark, say
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.buckets.repositories.remote import Remote
    from coffre.model.backup import Backup
    from coffre.operations.restore_repositories.clone import Cloned
    from coffre.operations.restore_repositories.stored_repositories import StoredRepository
    from coffre.vault.codec import FrameDecoder
    from coffre_cli.place import Place

EXAMPLES: Final = examples(
    "coffre restore repositories latest --output restored",
    "coffre restore repositories latest --name 'github.com/acme/*' --output restored",
    "coffre restore repositories 2026-11-17 --name github.com/acme/web --to https://github.com/acme/web-2.git "
    "--token-env GITHUB_TOKEN",
    "coffre restore repositories latest --dry-run",
    "coffre --vault /media/disk/vault restore repositories latest --target code --identity key.txt --output restored",
)

NamesOption = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="PATTERN", help="Only repositories of this name; * and ** fit others. Repeatable."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="A directory for bare clones; new or empty.")
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="URL", help="An empty repository that the one chosen is pushed to.")
]
TokenOption = Annotated[
    str | None, typer.Option("--token-env", metavar="NAME", help="With --to: the variable that holds the token.")
]


@dataclass(frozen=True)
class _Found:
    """One backup, what is wanted of it, and what opens it."""

    place: Place
    backup: Backup
    chosen: Sequence[StoredRepository]
    decoder: FrameDecoder


def restore_repositories(
    backup_id: BackupId,
    names: NamesOption = None,
    output: OutputOption = None,
    to: ToOption = None,
    token_env: TokenOption = None,
    identity: IdentityOption = None,
    source: FromOption = None,
    dry_run: DryRunOption = False,
    target: TargetOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore repositories as bare clones, with their LFS objects, or push one to an empty repository.

    It runs on this machine, with your AWS credentials and the private key. Each clone is checked: every object that a
    ref needs exists. A remote that has refs already is refused. No git is needed.
    """
    _refuse_mixture(output, to, token_env, dry_run=dry_run)
    remote = _remote(to, token_env) if to is not None else None
    found = _find(Which(backup_id, target, stack, TargetKind.REPOSITORY, source=source), names or (), identity)
    if remote is not None and len(found.chosen) != 1:
        raise typer.BadParameter(f"one repository is pushed at a time, and {len(found.chosen)} fit: name it by --name")
    if dry_run:
        _show(found.chosen, as_json=as_json)
        return
    if remote is not None:
        _push(found, remote, as_json=as_json)
    elif output is not None:
        _clone_all(found, output, as_json=as_json)


def _refuse_mixture(output: Path | None, to: str | None, token_env: str | None, *, dry_run: bool) -> None:
    if output is not None and to is not None:
        raise typer.BadParameter("--output and --to exclude each other")
    if output is None and to is None and not dry_run:
        raise typer.BadParameter("say where to: --output DIR, or --to URL; --dry-run shows what the backup has")
    if token_env is not None and to is None:
        raise typer.BadParameter("--token-env goes with --to")
    if token_env is not None and not os.environ.get(token_env):
        raise typer.BadParameter(f"the variable {token_env} is empty", param_hint="--token-env")
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise typer.BadParameter(f"{output} is not empty: name a new directory", param_hint="--output")


def _remote(to: str, token_env: str | None) -> Remote:
    import threading

    from coffre.buckets.repositories.credentials import Credentials
    from coffre.buckets.repositories.git_http import Wire
    from coffre.buckets.repositories.remote import Remote
    from coffre.model.repositories import RepositoryAddress

    try:
        address = RepositoryAddress.parse(to)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--to") from None
    if address.scheme == "ssh":
        raise typer.BadParameter(
            "a push needs an https:// address; for ssh: restore with --output, then git push --mirror",
            param_hint="--to",
        )
    token = os.environ[token_env] if token_env else None
    return Remote(address, Credentials(token=token, place=token_env or "no variable"), Wire(True, threading.Event()))


def _find(which: Which, names: Sequence[str], identity: str | None) -> _Found:
    from coffre.operations.restore_repositories.stored_repositories import choose_repositories
    from coffre.operations.stored_backup.open_backup import open_manifest

    place, backup = which.find()
    manifest = open_manifest(place.vault, backup)
    chosen = choose_repositories(place.vault, manifest, names)
    return _Found(place, backup, chosen, decoder_of(place, backup, identity).of_recipients(manifest.recipients))


def _show(chosen: Sequence[StoredRepository], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"name": one.name, "refs": len(one.refs), "bundles": len(one.bundles), "lfs": len(one.lfs)}
                for one in chosen
            ]
        )
        return
    for one in chosen:
        lfs = f", {counted(len(one.lfs), 'LFS object')}" if one.lfs else ""
        say(f"{visible(one.name)}: {counted(len(one.refs), 'ref')}, {size(one.size_bytes)}{lfs}")
        _show_unread(one)


def _show_unread(one: StoredRepository) -> None:
    for unread in one.unread:
        say(f"  not in the backup: {visible(unread)}", style="red")


def _clone_all(found: _Found, output: Path, *, as_json: bool) -> None:
    from coffre.model.errors import CoffreError
    from coffre.operations.restore_repositories.clone import make_clone

    done: list[dict[str, Any]] = []
    names = ", ".join(one.name for one in found.chosen)
    with recorded_reading(found.place, found.backup, "repositories.restored", names[:1000]):
        for one in found.chosen:
            remark(f"Cloning {visible(one.name)} ({size(one.size_bytes)}).")
            try:
                cloned = make_clone(found.place.vault, found.decoder, one, output / one.name)
                done.append({"name": one.name, **_numbers(cloned), "folder": str(cloned.folder)})
            except CoffreError as error:
                done.append({"name": one.name, "code": error.code, "why": error.message, "detail": error.detail})
    if as_json:
        print_json(done)
    for one_done in () if as_json else done:
        say(_line(one_done), style="red" if "code" in one_done else "")
    if any("code" in one for one in done):
        raise typer.Exit(Exit.FAILED)
    if any(one.unread for one in found.chosen):
        remark("Not everything was in the backup: coffre restore repositories ID --dry-run names what is missing.")
        raise typer.Exit(Exit.EXCEPTIONS)


def _numbers(cloned: Cloned) -> dict[str, int]:
    return {"refs": len(cloned.refs.ids), "objects": cloned.objects, "lfs": cloned.lfs}


def _line(done: dict[str, Any]) -> str:
    if "code" in done:
        return f"{visible(done['name'])} FAILED: {done['why']} {visible(done['detail'] or '')} [{done['code']}]"
    lfs = f", {counted(done['lfs'], 'LFS object')}" if done["lfs"] else ""
    return f"{done['folder']}: {counted(done['refs'], 'ref')}, {counted(done['objects'], 'object')}{lfs}"


def _push(found: _Found, remote: Remote, *, as_json: bool) -> None:
    from coffre.operations.restore_repositories.clone import make_clone
    from coffre.operations.restore_repositories.push import push_clone, refuse_used

    refuse_used(remote)
    [one] = found.chosen
    detail = f"{one.name} to {remote.address.url}"
    with (
        tempfile.TemporaryDirectory(prefix="coffre-") as scratch,
        recorded_reading(found.place, found.backup, "repositories.restored", detail),
    ):
        remark(f"Cloning {visible(one.name)} ({size(one.size_bytes)}).")
        cloned = make_clone(found.place.vault, found.decoder, one, Path(scratch) / "clone.git")
        remark(f"Pushing it to {remote.address.url}.")
        pushed = push_clone(cloned, remote)
    if as_json:
        print_json(
            {
                "name": one.name,
                "to": remote.address.url,
                "refs": pushed.refs,
                "lfs": pushed.lfs,
                "left_out": pushed.left_out,
                "refused": dict(pushed.refused),
                "unread": one.unread,
            }
        )
    else:
        say(f"Pushed {counted(pushed.refs, 'ref')} to {remote.address.url}.", style="green")
        if pushed.left_out:
            say(f"{counted(pushed.left_out, 'ref')} of pull requests were left out: forges refuse them.")
        for name, why in pushed.refused.items():
            say(f"{visible(name)} was refused: {visible(why)}", style="red")
        _show_unread(one)
    if pushed.refused:
        raise typer.Exit(Exit.FAILED)
    if one.unread:
        raise typer.Exit(Exit.EXCEPTIONS)
