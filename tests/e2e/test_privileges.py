"""Every role and policy of the template on the local AWS with IAM on: what is allowed passes, what is not is refused.

Two evaluators judge the same policies here: the emulator's, and ours (`tests.template.policies`). The emulator sets
neither `dynamodb:LeadingKeys` nor `s3:if-none-match`, and takes calls without TLS: the local template leaves out what
would refuse every call for that, and ours alone judges it (`tests/template/test_privileges.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.template import rendering
from tests.template.privileges import EVERYTHING, FUNCTIONS, PEOPLE, Call, Privileges
from tests.template.rendering import STACK, read_template, rendered

from coffre_local.aws import ACCOUNT, LocalAws, session, start_aws
from coffre_local.local_template import functions_of, localised
from coffre_local.toolchain import Toolchain

pytestmark = pytest.mark.e2e

REFUSALS = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException"}
# What only our own evaluator judges.
OURS_ALONE = ("Catalog: ", "Vault: write", "Vault: read", "Vault: locks", "Logs of accesses")


@dataclass
class Place:
    """The stack on the local AWS: the physical names of its resources by logical id."""

    aws: LocalAws
    names: Mapping[str, str]

    def root(self, service: str) -> Any:
        own: Any = session(self.aws.environment())
        return own.client(service, endpoint_url=self.aws.endpoint)

    def clients_of(self, role: str) -> Callable[[str], Any]:
        """Return what makes clients with a role's credentials."""
        given = self.root("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="tests")
        keys = given["Credentials"]
        own = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], self.aws.region)
        made: dict[str, Any] = {}
        config = Config(retries={"total_max_attempts": 1})

        def client(service: str) -> Any:
            if service not in made:
                made[service] = own.client(service, endpoint_url=self.aws.endpoint, config=config)  # type: ignore[call-overload]
            return made[service]

        return client


_DEFINITION = {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The local template, with stubs for functions and machines: CloudFormation alone makes it, without SAM."""
    local = _local()
    common = {"Runtime": "python3.13", "Handler": "x.x", "Code": {"ZipFile": "def x(*_): pass"}}
    for resource in local["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            kept = {name: resource["Properties"][name] for name in ("FunctionName", "Role")}
            resource |= {"Type": "AWS::Lambda::Function", "Properties": {**common, **kept}}
        if resource["Type"] == "AWS::Serverless::StateMachine":
            name, role = (resource["Properties"][name] for name in ("Name", "Role"))
            stub = {"StateMachineName": name, "RoleArn": role, "DefinitionString": json.dumps(_DEFINITION)}
            resource |= {"Type": "AWS::StepFunctions::StateMachine", "Properties": stub}
    return {name: local[name] for name in ("Parameters", "Conditions", "Resources")}


@pytest.fixture(scope="module")
def place(template: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory: Path = tmp_path_factory.mktemp("aws")
    aws = start_aws(Toolchain().ministack(), directory)
    try:
        made = Place(aws, {})
        storage, formation = made.root("s3"), made.root("cloudformation")
        for bucket in ("photos", "photos-back", "payroll"):
            storage.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": aws.region})
        storage.put_object(Bucket="payroll", Key="template.json", Body=json.dumps(template).encode())
        formation.create_stack(
            StackName=STACK,
            TemplateURL=f"{aws.endpoint}/payroll/template.json",  # a template in the call itself may have 51,200 bytes
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value.replace(rendering.ACCOUNT, ACCOUNT)}
                for name, value in EVERYTHING.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
        formation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=STACK)
        resources = [one for page in pages for one in page["StackResourceSummaries"]]
        made.names = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}
        _fill(made)
        yield made
    finally:
        aws.stop()


def _local() -> dict[str, Any]:
    source = read_template()
    return localised(source, {function.name: "." for function in functions_of(source)}, EVERYTHING)


def _fill(place: Place) -> None:
    """Make what the stack only names, and let the account's root take the roles: their own privileges stay."""
    iam, secrets = place.root("iam"), place.root("secretsmanager")
    for name in ("identity/main", "identity/other", "database/main", "destination/x", "storage/r2", "alerts/urls"):
        secrets.create_secret(Name=f"coffre/{name}", SecretString="x")
    secrets.create_secret(Name="app/secret", SecretString="x")
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
            ],
        }
    )
    for role in FUNCTIONS.values():
        iam.update_assume_role_policy(RoleName=place.names[role], PolicyDocument=trust)
    for person, policies in PEOPLE.items():
        iam.create_role(RoleName=person, AssumeRolePolicyDocument=trust)
        for policy in policies:
            iam.attach_role_policy(RoleName=person, PolicyArn=place.names[policy])


@pytest.fixture(scope="module")
def local() -> Privileges:
    """The answers of our own evaluator to the policies that the emulator has."""
    return Privileges(rendered(_local(), EVERYTHING))


# --- calls ---


def _bucket_and_key(call: Call, place: Place) -> dict[str, str]:
    bucket, _, key = call.resource.removeprefix("arn:aws:s3:::").partition("/")
    made = {f"{STACK}-{name.lower()}": place.names[name] for name in ("VaultBucket", "AccessLogBucket", "ExportBucket")}
    bucket = made.get(bucket, bucket)
    return {"Bucket": bucket, "Key": key} if key else {"Bucket": bucket}


def _s3(method: str, **arguments: Any) -> Callable[[Any, Call, Place], object]:
    return lambda client, call, place: getattr(client("s3"), method)(**_bucket_and_key(call, place), **arguments)


def _table(method: str, **arguments: Any) -> Callable[[Any, Call, Place], object]:
    def run(client: Any, call: Call, place: Place) -> object:
        partition = next(iter(call.context.get("dynamodb:LeadingKeys", ("x",))))
        key = {"pk": {"S": partition}, "sk": {"S": "x"}}
        own = {name: key if value == "KEY" else value for name, value in arguments.items()}
        return getattr(client("dynamodb"), method)(TableName=place.names["CatalogTable"], **own)

    return run


def _query(client: Any, call: Call, place: Place) -> object:
    index = call.resource.rpartition("/index/")[2] if "/index/" in call.resource else ""
    (partition,) = tuple(call.context["dynamodb:LeadingKeys"])
    attribute = {"by_target": "target_key", "by_status": "status_key", "": "pk"}[index]
    return client("dynamodb").query(
        TableName=place.names["CatalogTable"],
        KeyConditionExpression=f"{attribute} = :p",
        ExpressionAttributeValues={":p": {"S": partition}},
        **({"IndexName": index} if index else {}),
    )


def _secret(method: str, argument: str, **arguments: Any) -> Callable[[Any, Call, Place], object]:
    def run(client: Any, call: Call, _: Place) -> object:
        name = call.resource.partition(":secret:")[2].removesuffix("-AbCdEf")
        return getattr(client("secretsmanager"), method)(**{argument: name}, **arguments)

    return run


def _invoke(client: Any, call: Call, _: Place) -> object:
    name = call.resource.rpartition(":")[2]
    return client("lambda").invoke(FunctionName=name, InvocationType="DryRun")


def _parameter(client: Any, call: Call, _: Place) -> object:
    name = call.resource.partition(":parameter")[2]
    return client("ssm").get_parameter(Name=name)


def _on(service: str, method: str, **arguments: Any) -> Callable[[Any, Call, Place], object]:
    """Return a call whose arguments name resources of the stack by `{LogicalId}`."""

    def run(client: Any, _: Call, place: Place) -> object:
        own = {
            name: value.format_map(place.names) if isinstance(value, str) else value
            for name, value in arguments.items()
        }
        return getattr(client(service), method)(**own)

    return run


CALLS: Mapping[str, Callable[[Any, Call, Place], object]] = {
    "s3:PutObject": _s3("put_object", Body=b"x"),
    "s3:GetObject": _s3("get_object"),
    "s3:GetObjectVersion": _s3("get_object", VersionId="null"),
    "s3:DeleteObject": _s3("delete_object"),
    "s3:DeleteObjectVersion": _s3("delete_object", VersionId="null"),
    "s3:ListBucket": _s3("list_objects_v2"),
    "s3:ListBucketVersions": _s3("list_object_versions"),
    "s3:PutObjectAcl": _s3("put_object_acl", ACL="private"),
    "s3:PutObjectTagging": _s3("put_object_tagging", Tagging={"TagSet": []}),
    "s3:PutObjectRetention": _s3("put_object_retention", Retention={"Mode": "GOVERNANCE"}),
    "s3:PutObjectLegalHold": _s3("put_object_legal_hold", LegalHold={"Status": "OFF"}),
    "s3:DeleteBucket": _s3("delete_bucket"),
    "s3:PutBucketPolicy": _s3("put_bucket_policy", Policy=json.dumps({"Version": "2012-10-17", "Statement": []})),
    "s3:DeleteBucketPolicy": _s3("delete_bucket_policy"),
    "s3:PutBucketVersioning": _s3("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"}),
    "s3:PutLifecycleConfiguration": _s3("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": []}),
    "s3:PutEncryptionConfiguration": _s3(
        "put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [{"BucketKeyEnabled": False}]}
    ),
    "s3:PutReplicationConfiguration": _s3(
        "put_bucket_replication", ReplicationConfiguration={"Role": "arn:aws:iam::1:role/x", "Rules": []}
    ),
    "s3:PutBucketPublicAccessBlock": _s3(
        "put_public_access_block", PublicAccessBlockConfiguration={"RestrictPublicBuckets": False}
    ),
    "s3:PutBucketLogging": _s3("put_bucket_logging", BucketLoggingStatus={}),
    "s3:PutBucketNotification": _s3("put_bucket_notification_configuration", NotificationConfiguration={}),
    "dynamodb:GetItem": _table("get_item", Key="KEY"),
    "dynamodb:Query": _query,
    "dynamodb:PutItem": _table("put_item", Item="KEY"),
    "dynamodb:UpdateItem": _table("update_item", Key="KEY"),
    "dynamodb:DeleteItem": _table("delete_item", Key="KEY"),
    "dynamodb:Scan": _table("scan"),
    "dynamodb:DeleteTable": _table("delete_table"),
    "dynamodb:UpdateTable": _table("update_table", BillingMode="PROVISIONED"),
    "dynamodb:UpdateTimeToLive": _table(
        "update_time_to_live", TimeToLiveSpecification={"Enabled": True, "AttributeName": "x"}
    ),
    "dynamodb:UpdateContinuousBackups": _table(
        "update_continuous_backups", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
    ),
    "secretsmanager:GetSecretValue": _secret("get_secret_value", "SecretId"),
    "secretsmanager:PutSecretValue": _secret("put_secret_value", "SecretId", SecretString="y"),
    "secretsmanager:DeleteSecret": _secret("delete_secret", "SecretId", RecoveryWindowInDays=7),
    "ssm:GetParameter": _parameter,
    "ssm:PutParameter": _on("ssm", "put_parameter", Name="{Configuration}", Value="x", Overwrite=True),
    "lambda:InvokeFunction": _invoke,
    "lambda:GetFunction": _on("lambda", "get_function", FunctionName="{RestoreFunction}"),
    "lambda:UpdateFunctionCode": _on("lambda", "update_function_code", FunctionName="{RestoreFunction}", ZipFile=b"x"),
    "lambda:UpdateFunctionConfiguration": _on(
        "lambda", "update_function_configuration", FunctionName="{RestoreFunction}", Timeout=1
    ),
    "iam:PutRolePolicy": _on(
        "iam", "put_role_policy", RoleName="{RestoreRole}", PolicyName="x", PolicyDocument='{{"Statement": []}}'
    ),
    "iam:UpdateAssumeRolePolicy": _on(
        "iam", "update_assume_role_policy", RoleName="{RestoreRole}", PolicyDocument='{{"Statement": []}}'
    ),
    "sns:Publish": _on("sns", "publish", TopicArn="{AlertTopic}", Message="x"),
    "sns:Subscribe": _on("sns", "subscribe", TopicArn="{AlertTopic}", Protocol="email", Endpoint="a@example.org"),
    "sns:DeleteTopic": _on("sns", "delete_topic", TopicArn="{AlertTopic}"),
    "sqs:SendMessage": _on("sqs", "send_message", QueueUrl="{FailedEvents}", MessageBody="x"),
    "sqs:ReceiveMessage": _on("sqs", "receive_message", QueueUrl="{FailedEvents}"),
    "sqs:PurgeQueue": _on("sqs", "purge_queue", QueueUrl="{FailedEvents}"),
    "events:DisableRule": _on("events", "disable_rule", Name="{DailyBackupRule}"),
    "cloudformation:DescribeStacks": _on("cloudformation", "describe_stacks", StackName=STACK),
}


def passes(client: Callable[[str], Any], call: Call, place: Place) -> bool:
    """Make a call, and tell whether it was not refused; whether it then found what it is about does not matter."""
    try:
        CALLS[call.action](client, call, place)
    except ClientError as error:
        return error.response["Error"]["Code"] not in REFUSALS
    return True


def _as_seen(call: Call) -> Call:
    """Return a call as the emulator judges it: by action and resource."""
    return replace(call, context={})


@pytest.mark.parametrize("name", [*FUNCTIONS, *PEOPLE])
def test_the_local_aws_lets_each_caller_do_what_the_template_allows_and_no_more(
    place: Place, local: Privileges, name: str
) -> None:
    client = place.clients_of(place.names[FUNCTIONS[name]] if name in FUNCTIONS else name)
    calls = [call for call in local.calls if call.action in CALLS]
    [principal] = [one for one in local.principals if one.name == name]

    expected = {(call.group, call.verb, call.what): local.allows(principal, _as_seen(call)) for call in calls}
    seen = {(call.group, call.verb, call.what): passes(client, call, place) for call in calls}

    assert {call: seen[call] for call in seen if seen[call] is not expected[call]} == {}
    assert {True, False} <= set(seen.values())
    assert len(seen) >= 60


def test_what_the_local_aws_cannot_judge_is_known(local: Privileges) -> None:
    """Its answers about functions and people differ only where a condition was left out."""
    real, callers = Privileges(), {*FUNCTIONS, *PEOPLE}
    differing = {call.group for call in real.calls if (real.allowed(call) ^ local.allowed(_as_seen(call))) & callers}

    assert differing
    assert all(group.startswith(OURS_ALONE) for group in differing), differing
