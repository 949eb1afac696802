"""The stack of an account that receives copies: its template and function, with the layer of the built code."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coffre_cli.deploying.bundle import Built
from coffre_cli.deploying.errors import BundleError, DeployError
from coffre_cli.deploying.template import parse_template

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

    from coffre_cli.deploying.account import Account

STACK: Final = "coffre-receiver"
COPY_ROLE: Final = "CopyRoleArn"
"""A parameter that this template alone has."""
READER_ROLES: Final = "ReaderRoleArns"
_CLI: Final = Path(__file__).parents[1]
# The wheel carries both there; a checkout has them at its root.
_CARRIED: Final = (_CLI / "receiver" / "receiver.yaml", _CLI / "receiver" / "function" / "handler.py")
_CHECKOUT: Final = (_CLI.parents[1] / "receiver.yaml", _CLI.parents[1] / "receiver" / "handler.py")
_LAYER: Final = "CoffreLayer"
_ROLES: Final = ("CopyRole", "VerifyRole", "RestoreRole")


@contextmanager
def receiver_of(built: Built) -> Iterator[Built]:
    """Give the receiver's template with its code; the layer is that of the built code.

    Raises
    ------
    BundleError
        `BUNDLE_MISSING`: this installation has no receiver.
    """
    template_file, handler = next((one for one in (_CARRIED, _CHECKOUT) if one[0].is_file()), _CARRIED)
    try:
        template = parse_template(template_file.read_text(encoding="utf-8"))
        layer = built.place / built.template["Resources"][_LAYER]["Properties"]["ContentUri"]
        with tempfile.TemporaryDirectory(prefix="coffre-receiver-") as scratch:
            shutil.copyfile(handler, Path(scratch) / "handler.py")
            template["Resources"]["RotateFunction"]["Properties"]["CodeUri"] = scratch
            template["Resources"][_LAYER]["Properties"]["ContentUri"] = str(layer)
            yield Built(built.place, template)
    except (OSError, KeyError) as error:
        raise BundleError(
            "The stack of the receiving account is not in this installation.",
            code="BUNDLE_MISSING",
            detail=str(error)[:300],
            hint="Install the command from its wheel (docs/install.md), or build the code in a checkout: sam build",
        ) from error


def refuse_other_template(deployed: Mapping[str, str], stack: str, *, is_receiver: bool) -> None:
    """Refuse to deploy a receiver over the stack that takes backups, or the other way round.

    Parameters
    ----------
    deployed
        The parameters of the stack as it is; none when it does not exist.

    Raises
    ------
    DeployError
        `STACK_OTHER`
    """
    if not deployed or (COPY_ROLE in deployed) is is_receiver:
        return
    what = "takes backups" if is_receiver else "receives copies of another account"
    hint = f"Name another stack: --stack {STACK}" if is_receiver else "Deploy it with: coffre deploy --receiver"
    raise DeployError(f"The stack {stack} {what}. Nothing was changed.", code="STACK_OTHER", hint=hint)


def parameters_for_receiver(
    client: CloudFormationClient, account: Account, partition: str, stack: str
) -> dict[str, Any]:
    """Return the receiver's parameters about this account: the ARNs of the stack's roles that copy and read.

    Raises
    ------
    DeployError
        `STACK_UNKNOWN`: no stack of this name has these roles.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    arns = []
    try:
        for role in _ROLES:
            found = client.describe_stack_resource(StackName=stack, LogicalResourceId=role)["StackResourceDetail"]
            arns.append(f"arn:{partition}:iam::{account.id}:role/{found['PhysicalResourceId']}")
    except (ClientError, BotoCoreError) as error:
        raise DeployError(
            f"The roles of the stack {stack} cannot be read.",
            code="STACK_UNKNOWN",
            detail=str(error)[:300],
            hint="Name the stack that takes backups (--stack), and use credentials of its account.",
        ) from error
    return {COPY_ROLE: arns[0], READER_ROLES: arns[1:]}
