"""The account that a stack is deployed into."""

from __future__ import annotations

from dataclasses import dataclass

from coffre_cli import aws
from coffre_cli.deploying.errors import DeployError


@dataclass(frozen=True)
class Account:
    """The AWS account and region that this process's credentials lead to."""

    id: str
    region: str

    @classmethod
    def asked(cls) -> Account:
        """Ask AWS; raises `DeployError` (`AWS_NOT_SIGNED_IN`, `REGION_MISSING`, `REGION_UNKNOWN`)."""
        from botocore.exceptions import BotoCoreError, ClientError, UnknownRegionError

        region = aws.region()
        if region is None:
            raise DeployError(
                "No AWS region is set.",
                code="REGION_MISSING",
                hint="Give the region that the database is in: AWS_REGION=eu-west-1, or `aws configure`.",
            )
        try:
            aws.session().get_partition_for_region(region)
        except UnknownRegionError as error:
            raise DeployError(
                f'No AWS region is called "{region}".',
                code="REGION_UNKNOWN",
                hint="Give the region that the database is in, such as eu-west-1: AWS_REGION, or `aws configure`.",
            ) from error
        try:
            return cls(aws.client("sts").get_caller_identity()["Account"], region)
        except (ClientError, BotoCoreError) as error:
            raise DeployError(
                "AWS does not know who you are.",
                code="AWS_NOT_SIGNED_IN",
                detail=str(error)[:300],
                hint="Sign in first: `aws configure`, `aws sso login`, or AWS_PROFILE.",
            ) from error
