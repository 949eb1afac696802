"""A queue that gets the alerts of a local stack, in the place of a person's mail."""

from __future__ import annotations

import json
from collections.abc import Mapping

from coffre_local.aws import session


def subscribe_queue(environment: Mapping[str, str], topic: str, name: str) -> str:
    """Make a queue, let the topic write to it, subscribe it, and return its URL."""
    connection, endpoint = session(environment), environment["AWS_ENDPOINT_URL"]
    sqs = connection.client("sqs", endpoint_url=endpoint)
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    connection.client("sns", endpoint_url=endpoint).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return queue
