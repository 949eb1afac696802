"""Every call to AWS that a function makes in this process, judged by the policies of its role in template.yaml.

Moto allows everything. So a function that needs a privilege which its role lacks would be noticed only when it is
deployed, and a partition of the catalog not even on the local AWS.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final

import botocore.client
import pytest
from tests.template.policies import Decision, Principal, Request, decide
from tests.template.rendering import ACCOUNT, REGION, STACK, Rendered, render

from coffre.runtime.backup_database_function import BackupDatabaseFunction
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.runtime.drill_function import DrillFunction
from coffre.runtime.restore_function import RestoreFunction
from coffre.runtime.rotate_function import RotateFunction
from coffre.runtime.verify_function import VerifyFunction

ROLES: Final[Mapping[type, str]] = {
    BackupDatabaseFunction: "BackupDatabaseRole",
    BackupStorageFunction: "BackupStorageRole",
    RestoreFunction: "RestoreRole",
    RotateFunction: "RotateRole",
    DrillFunction: "DrillRole",
    VerifyFunction: "VerifyRole",
}
# What asks IAM for another action than its name says.
_ACTIONS: Final = {
    "HeadObject": "GetObject",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",  # IAM has another name for it
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "DeleteObjects": "DeleteObject",
    **dict.fromkeys(("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "CopyObject"), "PutObject"),
    "Invoke": "InvokeFunction",
}
_PREFIXES: Final = {"secrets-manager": "secretsmanager", "eventbridge": "events"}
_TESTS: Final = str(Path(__file__).parent)
_decided: dict[tuple[object, ...], bool] = {}
_EQUALS: Final = re.compile(r"(#\w+) = (:\w+)")


@contextmanager
def judged(*, vault: str) -> Iterator[list[str]]:
    """Give a list that gets every call of a function which its role does not allow, in words.

    Parameters
    ----------
    vault
        Name of the bucket in the played AWS. Calls about other buckets are not judged: tests choose their names.
    """
    refused: list[str] = []
    running: list[tuple[str, Rendered]] = []
    send = vars(botocore.client.BaseClient)["_make_api_call"]

    def judge(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if running and not _is_of_a_test():
            role, template = running[-1]
            refused.extend(
                f"{role}: {request.action} on {request.resource}, {dict(request.context)}"
                for request in _requests(template, client, operation, parameters, vault)
                if not _is_allowed(template, role, request)
            )
        return send(client, operation, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.client.BaseClient, "_make_api_call", judge)
        for function, role in ROLES.items():
            patch.setattr(function, "handle", _noted(vars(function)["handle"], role, running))
        yield refused


def _is_allowed(template: Rendered, role: str, request: Request) -> bool:
    """Decide, once about each call that is the same: functions make the same ones again and again."""
    call = (id(template), role, request.action, request.resource, *sorted(request.context.items()))  # templates stay
    if call not in _decided:
        principal = Principal(role, statements=template.statements(role))
        _decided[call] = decide(principal, request) is Decision.ALLOWED
    return _decided[call]


def _is_of_a_test() -> bool:
    """Tell whether a test makes this call itself, while the function runs: what it does stands for somebody else's."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename != __file__:
        if frame.f_code.co_filename.startswith(_TESTS):
            return True
        frame = frame.f_back
    return False


@cache
def _template(prefix: str, lock: str) -> Rendered:
    return render(
        VaultPrefix=prefix,
        ObjectLock=lock,
        SettingsSecrets=f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:app/*",
        SettingsParameters=f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/app/*",
    )


def _noted(handle: Callable[..., Any], role: str, running: list[tuple[str, Rendered]]) -> Callable[..., Any]:
    def noted(function: Any, *arguments: Any) -> Any:
        running.append(
            (role, _template(function.services.settings.vault_prefix, function.services.settings.vault_object_lock))
        )
        try:
            return handle(function, *arguments)
        finally:
            running.pop()

    return noted


def _requests(
    template: Rendered, client: Any, operation: str, parameters: Mapping[str, Any], vault: str
) -> Iterator[Request]:
    """Yield what AWS would ask IAM about a call."""
    service = client.meta.service_model.service_id.hyphenize()
    action = f"{_PREFIXES.get(service, service)}:{_ACTIONS.get(operation, operation)}"
    match service:
        case "dynamodb":
            yield from _of_table(template.attribute("CatalogTable", "Arn"), operation, parameters)
        case "s3" if parameters.get("Bucket") == vault:
            bucket = template.attribute("VaultBucket", "Arn")
            many = (one["Key"] for one in parameters.get("Delete", {}).get("Objects", ()))
            keys = [parameters["Key"]] if "Key" in parameters else list(many)
            condition = {"s3:if-none-match": parameters["IfNoneMatch"]} if "IfNoneMatch" in parameters else {}
            for resource in [f"{bucket}/{key}" for key in keys] or [bucket]:
                yield Request(action, resource, condition)
        case "secrets-manager" if "SecretId" not in parameters:
            yield Request(action, "*")
        case "secrets-manager" if parameters["SecretId"].startswith("app/"):
            yield Request(action, f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{parameters['SecretId']}-AbCdEf")
        case "secrets-manager" if parameters["SecretId"].startswith("coffre/"):
            # Which identity is the stack's is a parameter of the template
            name = re.sub(r"^coffre/identity/.*", "coffre/identity/main", parameters["SecretId"])
            yield Request(action, f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbCdEf")
        case "ssm" if "Name" not in parameters:
            yield Request(action, "*")
        case "ssm" if parameters["Name"].startswith("/app/"):
            yield Request(action, f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{parameters['Name']}")
        case "ssm":
            yield Request(action, f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/coffre/{STACK}/{parameters['Name']}")
        case "cloudformation":
            name = parameters["StackName"]
            yield Request(action, f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/1a2b")
        case "sns":
            yield Request(action, template.attribute("AlertTopic", "Arn"))
        case "lambda":
            name = f"{STACK}-{parameters['FunctionName']}"
            yield Request(action, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
        case "eventbridge":
            yield Request(action, f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default")


def _of_table(arn: str, operation: str, parameters: Mapping[str, Any]) -> Iterator[Request]:
    if operation in ("TransactWriteItems", "TransactGetItems"):
        names = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "Get": "GetItem"}
        for [(kind, part)] in (item.items() for item in parameters["TransactItems"]):
            yield from _of_table(arn, names.get(kind, f"{kind}Item"), part)
        return
    resource = f"{arn}/index/{parameters['IndexName']}" if "IndexName" in parameters else arn
    yield Request(f"dynamodb:{operation}", resource, {"dynamodb:LeadingKeys": (_partition(parameters),)})


def _partition(parameters: Mapping[str, Any]) -> str:
    if "KeyConditionExpression" in parameters:
        found = _EQUALS.search(parameters["KeyConditionExpression"])
        assert found is not None, parameters["KeyConditionExpression"]
        assert parameters["ExpressionAttributeNames"][found[1]] in ("pk", "target_key", "status_key")
        value = parameters["ExpressionAttributeValues"][found[2]]
    else:
        value = (parameters.get("Key") or parameters["Item"])["pk"]
    return str(value["S"])
