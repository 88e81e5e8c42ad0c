"""Deploys the service to an emulator of AWS: queues, functions, mappings, and the bucket's events.

Usage: deploy.py ENDPOINT BUCKET BOOTSTRAP FUNCTIONS_ENDPOINT

Prints the URLs of the queues as JSON. The functions run the program at BOOTSTRAP where it is, and
reach the emulator at an endpoint of their own.
"""

import base64
import io
import json
import sys
import urllib.request
import zipfile

ENDPOINT, BUCKET, BOOTSTRAP, FUNCTIONS_ENDPOINT = sys.argv[1:]
REGION, ACCOUNT = "us-east-1", "000000000000"
TIMEOUT_S = 60
# A test cannot wait six times the timeout for a message to come again.
VISIBILITY_S = 3


def call(service, method, path, body=b"", headers=None):
    """The answer to a request, as bytes."""
    scope = f"Credential=test/20260101/{REGION}/{service}/aws4_request"
    request = urllib.request.Request(
        ENDPOINT + path,
        data=body,
        method=method,
        headers={
            "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none",
            **(headers or {}),
        },
    )
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def sqs(action, **arguments):
    headers = {
        "X-Amz-Target": f"AmazonSQS.{action}",
        "Content-Type": "application/x-amz-json-1.0",
    }
    return json.loads(call("sqs", "POST", "/", json.dumps(arguments).encode(), headers) or b"{}")


def queue(name, **attributes):
    """A queue with its dead letters; its URL and ARN."""
    end = ".fifo" if "FifoQueue" in attributes else ""
    kind = {"FifoQueue": "true"} if end else {}
    dead = sqs("CreateQueue", QueueName=f"{name}-dead{end}", Attributes=kind)["QueueUrl"]
    redrive = {"deadLetterTargetArn": arn(dead), "maxReceiveCount": "3"}
    attributes["RedrivePolicy"] = json.dumps(redrive)
    attributes["VisibilityTimeout"] = str(VISIBILITY_S)
    return sqs("CreateQueue", QueueName=name + end, Attributes=attributes)["QueueUrl"]


def arn(url):
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}"


def function(name, environment, sources):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        file.writestr(info, f'#!/bin/sh\nexec "{BOOTSTRAP}"\n')
    body = {
        "FunctionName": name,
        "Runtime": "provided.al2023",
        "Role": f"arn:aws:iam::{ACCOUNT}:role/{name}",
        "Handler": name,
        "Code": {"ZipFile": base64.b64encode(archive.getvalue()).decode()},
        "Timeout": TIMEOUT_S,
        "MemorySize": 1024,
        "Environment": {"Variables": environment},
    }
    call("lambda", "POST", "/2015-03-31/functions", json.dumps(body).encode())
    for url, at_once in sources:
        body = {
            "EventSourceArn": arn(url),
            "FunctionName": name,
            "BatchSize": at_once,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        }
        call("lambda", "POST", "/2015-03-31/event-source-mappings/", json.dumps(body).encode())


queues = {
    "plans": queue("plans"),
    "fresh": queue("fresh"),
    "bulk": queue("bulk"),
    "commits": queue("commits", FifoQueue="true"),
}
environment = {
    "AWS_ENDPOINT_URL": FUNCTIONS_ENDPOINT,
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "LANCE_BACKFILL_SERVICE": f"s3://{BUCKET}/service",
    **{f"LANCE_BACKFILL_{name.upper()}_QUEUE": url for name, url in queues.items()},
}
function("planner", environment, [(queues["plans"], 10)])
function("worker", environment, [(queues["fresh"], 1), (queues["bulk"], 1)])
function("committer", environment, [(queues["commits"], 10)])
notification = f"""<NotificationConfiguration><QueueConfiguration>
<Queue>{arn(queues["plans"])}</Queue><Event>s3:ObjectCreated:*</Event>
<Filter><S3Key><FilterRule><Name>suffix</Name><Value>.manifest</Value></FilterRule></S3Key></Filter>
</QueueConfiguration></NotificationConfiguration>"""
call("s3", "PUT", f"/{BUCKET}?notification", notification.encode())
print(json.dumps(queues))
