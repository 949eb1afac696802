"""A deployment from built code: uploaded, planned as a change set, carried out. `coffre deploy` and `init` share it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coffre_cli import aws
from coffre_cli.deploying.account import Account
from coffre_cli.deploying.bucket import DeployBucket
from coffre_cli.deploying.bundle import built_code
from coffre_cli.deploying.change_set import ChangeSet, Stack
from coffre_cli.deploying.errors import DeployError
from coffre_cli.deploying.packaging import packaged
from coffre_cli.deploying.receiver import receiver_of, refuse_other_template

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEFAULT_ARCHITECTURE: Final = "x86_64"
ARCHITECTURE: Final = "Architecture"

# What is smaller is sent before it is read.
_WORTH_A_LINE: Final = 1_000_000


@dataclass(frozen=True)
class Deployment:
    """One stack, and the code for it.

    Parameters
    ----------
    built
        A directory that `sam build` wrote. Default: what this installation carries.
    bucket
        Where code is uploaded to. Default: a bucket of the account and region for all stacks of Coffre.
    is_receiver
        It is the stack of an account that receives copies (`receiver.yaml`).
    """

    account: Account
    stack: Stack
    built: Path | None = None
    bucket: str | None = None
    on_step: Callable[[str], None] = field(default=lambda _: None)
    is_receiver: bool = False

    @classmethod
    def of(
        cls,
        account: Account,
        name: str,
        *,
        built: Path | None,
        bucket: str | None,
        on_step: Callable[[str], None],
        is_receiver: bool = False,
    ) -> Deployment:
        """Return the deployment of a stack with this process's credentials."""
        return cls(account, Stack(name, aws.client("cloudformation")), built, bucket, on_step, is_receiver)

    def propose(self, parameters: Mapping[str, str]) -> ChangeSet:
        """Upload the code, and plan what a deployment would change.

        Parameters
        ----------
        parameters
            Values of the template's parameters; the others stay as they are deployed.

        Raises
        ------
        BundleError, DeployBucketError, DeployError
            Nothing was changed in the stack.
        """
        self.stack.settled(self.on_step)
        deployed = self.stack.parameters()
        refuse_other_template(deployed, self.stack.name, is_receiver=self.is_receiver)
        architecture = parameters.get(ARCHITECTURE) or deployed.get(ARCHITECTURE, DEFAULT_ARCHITECTURE)
        self.on_step(f"Preparing the code for {architecture}")
        with ExitStack() as code:
            built = code.enter_context(built_code(architecture, self.built))
            if self.is_receiver:
                built = code.enter_context(receiver_of(built))
            known = built.template.get("Parameters", {})
            _refuse_unknown(parameters, known)
            if not self._bucket.exists():
                self.on_step(f"Making the bucket {self._bucket.name} for the code")
                self._bucket.make()
            ready = packaged(built.template, built.place, self._upload)
        key = self._bucket.store(json.dumps(ready, separators=(",", ":")).encode(), suffix=".json")
        self.on_step("Asking CloudFormation what would change")
        # The endpoint that S3 has in this region; a name with dots works in a path only.
        url = f"{self._s3.meta.endpoint_url}/{self._bucket.name}/{key}"
        return self.stack.propose(url, parameters, known)

    def _upload(self, name: str, archive: bytes) -> Mapping[str, str]:
        def told() -> None:
            if len(archive) >= _WORTH_A_LINE:
                self.on_step(f"Uploading {name} ({len(archive) / 1e6:.1f} MB)")

        return {"Bucket": self._bucket.name, "Key": self._bucket.store(archive, suffix=".zip", on_upload=told)}

    @cached_property
    def _s3(self) -> S3Client:
        s3: S3Client = aws.client("s3")
        return s3

    @cached_property
    def _bucket(self) -> DeployBucket:
        return DeployBucket.of(self.account.id, self.account.region, self._s3, self.bucket)


def read_parameters(file: Path) -> dict[str, str]:
    """Return template parameters from a YAML file of names and values, as `sam deploy` reads it too.

    Raises
    ------
    DeployError
        `PARAMETERS_INVALID`
    """
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise _invalid(file, str(error)[:300]) from error
    if not isinstance(found, dict):
        raise _invalid(file, f"it has a {type(found).__name__}, not names with values")
    return {str(name): _value(file, str(name), value) for name, value in found.items()}


def _value(file: Path, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, Sequence) and all(isinstance(part, str | int) for part in value):
        return ",".join(map(str, value))
    raise _invalid(file, f"{name} is neither a text nor a list of texts")


def _invalid(file: Path, detail: str) -> DeployError:
    return DeployError(
        f"{file} is not a file of template parameters.",
        code="PARAMETERS_INVALID",
        detail=detail,
        hint="One `Name: value` a line, such as `AlertEmail: ops@example.com` (docs/parameters.md lists the names).",
    )


def _refuse_unknown(parameters: Mapping[str, str], known: Mapping[str, object]) -> None:
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise DeployError(
            f"The template has no parameter {', '.join(unknown)}.",
            code="PARAMETERS_INVALID",
            detail=f"It has: {', '.join(sorted(known))}",
            hint="Check the spelling; docs/parameters.md lists them.",
        )
