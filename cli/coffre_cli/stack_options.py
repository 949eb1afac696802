"""Options that commands of a stack have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StackOption = Annotated[
    str | None,
    typer.Option(
        "--stack", metavar="NAME", help="The CloudFormation stack in AWS. Default: the local stack if it is up."
    ),
]
HereOption = Annotated[
    bool,
    typer.Option(
        "--here", help="Run it in this process, without a time limit, with your own AWS credentials: on any machine."
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--postgres-home",
        metavar="DIR",
        help="With --here: DIR/bin has PostgreSQL's programs. Default: they are looked for.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]
