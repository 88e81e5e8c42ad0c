"""Deploys the service to an emulator of AWS: queues, functions, mappings, and the bucket's events.

Usage: deploy.py SETTINGS, which are JSON; `deployment.rs` says what each of them means.

Prints the URLs of the queues and of their dead letters as JSON. The functions run the program where
it is, reach the emulator at an endpoint of their own, and write what they print to files.
"""

import base64
import io
import json
import shlex
import sys
import urllib.request
import zipfile

SETTINGS = json.loads(sys.argv[1])
ENDPOINT, BUCKET, NAME = (SETTINGS[key] for key in ("endpoint", "bucket", "name"))
REGION, ACCOUNT = "us-east-1", "000000000000"
LAMBDA = "/2015-03-31"


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
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def sqs(action, **arguments):
    headers = {
        "X-Amz-Target": f"AmazonSQS.{action}",
        "Content-Type": "application/x-amz-json-1.0",
    }
    return json.loads(call("sqs", "POST", "/", json.dumps(arguments).encode(), headers) or b"{}")


def queue(lane, **attributes):
    """A queue with its dead letters; the URLs of both."""
    end = ".fifo" if "FifoQueue" in attributes else ""
    kind = {"FifoQueue": "true"} if end else {}
    dead = sqs("CreateQueue", QueueName=f"{NAME}-{lane}-dead{end}", Attributes=kind)["QueueUrl"]
    most = str(SETTINGS["most_receives"])
    attributes["RedrivePolicy"] = json.dumps(
        {"deadLetterTargetArn": arn(dead), "maxReceiveCount": most}
    )
    attributes["VisibilityTimeout"] = str(SETTINGS["visibility_s"])
    url = sqs("CreateQueue", QueueName=f"{NAME}-{lane}{end}", Attributes=attributes)["QueueUrl"]
    return url, dead


def arn(url):
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}"


def bootstrap(kind):
    """Runs the program; what it prints goes to a file, and where it gets its invocations to another."""
    words = [*SETTINGS["before"].get(kind, []), SETTINGS["program"]]
    log, apis = (shlex.quote(f"{SETTINGS['logs']}/{name}") for name in (f"{kind}.log", "apis"))
    note = f'echo "$AWS_LAMBDA_RUNTIME_API" >>{apis}'
    return f"#!/bin/sh\n{note}\nexec {shlex.join(words)} >>{log} 2>&1\n"


def function(kind, environment, sources):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        file.writestr(info, bootstrap(kind))
    name = f"{NAME}-{kind}"
    body = {
        "FunctionName": name,
        "Runtime": "provided.al2023",
        "Role": f"arn:aws:iam::{ACCOUNT}:role/{name}",
        "Handler": kind,
        "Code": {"ZipFile": base64.b64encode(archive.getvalue()).decode()},
        "Timeout": SETTINGS["timeout_s"],
        "MemorySize": 1024,
        "Environment": {"Variables": {**environment, **SETTINGS["environment"].get(kind, {})}},
    }
    call("lambda", "POST", f"{LAMBDA}/functions", json.dumps(body).encode())
    for url, of_a_batch, at_once in sources:
        body = {
            "EventSourceArn": arn(url),
            "FunctionName": name,
            "BatchSize": of_a_batch,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": at_once},
        }
        call("lambda", "POST", f"{LAMBDA}/event-source-mappings/", json.dumps(body).encode())


OWN = ("plans", "fresh", "bulk", "commits")
lanes = {
    "plans": queue("plans"),
    "fresh": queue("fresh"),
    "bulk": queue("bulk"),
    "commits": queue("commits", FifoQueue="true"),
}
# Two queues for each class of workers in pods; nothing here takes from them.
classes = {}
for name in SETTINGS["classes"]:
    both = {lane: queue(f"{name}-{lane}") for lane in ("fresh", "bulk")}
    lanes.update({f"{name}-{lane}": urls for lane, urls in both.items()})
    classes[name] = {
        "queues": {lane: url for lane, (url, _) in both.items()},
        "dead_letters": {lane: url for lane, (_, url) in both.items()},
        "batches_at_once": 4,
    }
queues = {lane: url for lane, (url, _) in lanes.items()}
dead = {lane: url for lane, (_, url) in lanes.items()}
at_once = SETTINGS["batches_at_once"]
environment = {
    "AWS_ENDPOINT_URL": SETTINGS["functions_endpoint"],
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "LANCE_BACKFILL_NAME": NAME,
    "LANCE_BACKFILL_SERVICE": f"s3://{BUCKET}/service",
    "LANCE_BACKFILL_BATCHES_AT_ONCE": str(2 * at_once),
    **{f"LANCE_BACKFILL_{lane.upper()}_QUEUE": queues[lane] for lane in OWN},
    **SETTINGS["environment"].get("all", {}),
}
dead_queues = {
    f"LANCE_BACKFILL_{lane.upper()}_DEAD_QUEUE": dead[lane] for lane in ("fresh", "bulk")
}
class_queues = {"LANCE_BACKFILL_CLASS_QUEUES": json.dumps(classes)} if classes else {}
function("planner", {**environment, **dead_queues, **class_queues}, [(queues["plans"], 10, 2)])
function("worker", environment, [(queues["fresh"], 1, at_once), (queues["bulk"], 1, at_once)])
function("committer", environment, [(queues["commits"], 10, 2)])
service = {
    "version": 1,
    "name": NAME,
    "queues": {lane: queues[lane] for lane in OWN},
    "dead_letters": {lane: dead[lane] for lane in OWN},
    "python": SETTINGS["python"],
    "secrets": [],
    "classes": classes,
    "batches_at_once": 2 * at_once,
}
call("s3", "PUT", f"/{BUCKET}/service/service.json", json.dumps(service).encode())
if SETTINGS["notify"]:
    notification = f"""<NotificationConfiguration><QueueConfiguration>
<Queue>{arn(queues["plans"])}</Queue><Event>s3:ObjectCreated:*</Event>
<Filter><S3Key><FilterRule><Name>suffix</Name><Value>.manifest</Value></FilterRule></S3Key></Filter>
</QueueConfiguration></NotificationConfiguration>"""
    call("s3", "PUT", f"/{BUCKET}?notification", notification.encode())
print(json.dumps({"queues": queues, "dead": dead}))
