"""`coffre recover`: after a disaster, everything from one copy of the vault, by one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coffre_cli.commands.restore.options import StreamsOption
from coffre_cli.examples import examples
from coffre_cli.stack_options import JsonOption

EXAMPLES = examples(
    "coffre recover --kit ./kit --to shop=env:NEW_DATABASE --to files=s3://acme-files-new",
    "coffre recover --from directory:/media/disk/coffre --identity ./key.txt --to shop=./new-database.txt",
    "coffre recover --kit ./kit --at 2026-11-17T14:30 --target shop --dry-run",
    "coffre recover --kit ./kit --point latest --to shop=env:NEW_DATABASE --to files=s3:// --to settings=aws --dry-run",
    "coffre recover --resume",
    "coffre recover --kit ./kit --rehearse --limit 60 --stack coffre",
)


def recover(
    kit: Annotated[
        Path | None, typer.Option("--kit", metavar="DIR", help="The recovery kit: it knows the copies and the keys.")
    ] = None,
    addresses: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="ADDRESS",
            help="A copy of the vault, in place of those in the kit: directory:DIR, s3://BUCKET/PREFIX, gs://... or "
            "azure://...; repeatable. The best of several is chosen.",
        ),
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option("--endpoint-url", metavar="URL", help="With --from s3://...: a store other than AWS.")
    ] = None,
    identity: Annotated[
        list[str] | None,
        typer.Option("--identity", metavar="FILE|env:NAME", help="A private key, in place of the kit's; repeatable."),
    ] = None,
    passphrase: Annotated[
        str | None,
        typer.Option(metavar="env:NAME", help="A variable with the passphrase of the kit. Default: it is asked for."),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="TARGET=WHERE",
            help="Where a target is restored to; repeatable. A database: env:NAME, a file or secret:NAME with its URL, "
            "never a password itself; it is created. Objects: s3://BUCKET/PREFIX, s3:// (buckets of the same names), "
            "or directory:/PATH. Settings: aws (Secrets Manager and SSM) or directory:/PATH. Default: it is asked for.",
        ),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            "--store",
            metavar="TARGET=FILE|env:NAME",
            help="For objects that go to a store other than AWS: its description, as coffre restore objects takes it.",
        ),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="Only this target; repeatable. Default: all of the copy."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="The newest good backups until this day or time in UTC. Default: the newest of all."
        ),
    ] = None,
    point: Annotated[
        str | None,
        typer.Option(
            "--point",
            metavar="ID|NAME|latest",
            help="A restore point: its database and its buckets as of that moment. Other targets: their newest good "
            "backups.",
        ),
    ] = None,
    safety: Annotated[
        str | None,
        typer.Option(
            "--safety",
            metavar="ADDRESS",
            help="A destination in use is backed up to this vault first (directory:DIR, s3://BUCKET/PREFIX; it may be "
            "the copy), and then replaced. Default: it is refused.",
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where progress and report are written. Default: ./coffre-recovery"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the recovery in the working directory: what is done stays done.")
    ] = False,
    rehearse: Annotated[
        bool,
        typer.Option("--rehearse", help="Restore everything to scratch places, measure the time, and remove it."),
    ] = False,
    scratch: Annotated[
        str | None,
        typer.Option(
            metavar="env:NAME|FILE",
            help="With --rehearse: a server for scratch databases. Default: one is started here (PostgreSQL 18).",
        ),
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option(
            "--stack", metavar="NAME", help="With --rehearse: note the times in this stack, next to its objectives."
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES", min=0.01, help="How long all of it may take. Default: the longest drill.rto_minutes."
        ),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="ARN|env:NAME|FILE", help="Who is notified in the end: a topic, or a webhook's URL in a variable."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Confirm the plan without asking.")] = False,
    streams: StreamsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore everything after a disaster, from the recovery kit and one copy of the vault alone.

    It looks at all copies, chooses the best, shows the plan, asks for a name, restores settings, databases and then
    objects, asks your own SQL checks, and writes a report. Killed anywhere, it continues with --resume. What exists is
    refused, or (--safety) backed up and then replaced; secrets and parameters get new versions. The exit status is 1 if
    something failed or it took longer than the limit, 4 with exceptions.
    """
    from coffre_cli.commands.recover import run
    from coffre_cli.commands.recover.choice import Source, choice_of

    how = run.How(notify, scratch, rehearse, dry_run, yes, streams, as_json, stack)
    if resume:
        if rehearse or dry_run or any((kit, addresses, identity, to, store, targets, at, limit, point, safety)):
            raise typer.BadParameter("--resume continues what the progress file says: leave the other options out")
        run.resume(work, passphrase, how)
        return
    if scratch is not None and not rehearse:
        raise typer.BadParameter("--scratch is for --rehearse")
    if stack is not None and not rehearse:
        raise typer.BadParameter("--stack is for --rehearse")
    if safety is not None and rehearse:
        raise typer.BadParameter("--safety is for destinations in use: a rehearsal has scratch places of its own")
    if at is not None and point is not None:
        raise typer.BadParameter("--at and --point exclude each other: a restore point has its own time")
    source = Source(kit, tuple(addresses or ()), endpoint_url, tuple(identity or ()), passphrase)
    run.begin(work, source, choice_of(to or (), store or (), targets or (), at, limit, point, safety), how)
