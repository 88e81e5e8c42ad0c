"""A deployed service on an emulator of AWS, as tests/service of the Rust side has it."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from on_ray.support import REPOSITORY, eventually

BUCKET = "tables"
SERVICE = f"s3://{BUCKET}/service"
# The image that the workers are said to be in: it has the interpreter of the tests.
IMAGE = "worker@sha256:" + "0123456789abcdef" * 4
SCHEDULED = {
    "version": "0",
    "id": "1",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "000000000000",
    "time": "2026-01-01T00:00:00Z",
    "region": "us-east-1",
    "resources": [],
    "detail": {},
}


def program(name):
    """A program of the release build."""
    named = os.environ.get("LANCE_BACKFILL_BINARY")
    if named:
        return Path(named).with_name(name)
    target = os.environ.get("CARGO_TARGET_DIR", Path.home() / ".cache/lance-backfill/target")
    return Path(target) / "release" / name


class Deployment:
    """The emulator, the queues and functions in it, and what processes need to reach them."""

    def __init__(self, folder, **settings):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._folder, self._settings = folder, settings
        self._process = None

    def __enter__(self):
        self._process = subprocess.Popen(
            [REPOSITORY / "scripts/emulator", str(self.port)],
            env={**os.environ, "TMPDIR": str(self._folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(self._has_bucket)
            self.queues = self._deploy()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def _end(self):
        self._process.kill()
        self._process.wait()

    @property
    def variables(self):
        """What the environment of an operator, and of a worker, says."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    @property
    def options(self):
        """The same for pylance."""
        return {
            "aws_endpoint": self.endpoint,
            "allow_http": "true",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "aws_region": "us-east-1",
        }

    def schedule(self):
        """The schedule wakes the planner."""
        url = self.queues["queues"]["plans"]
        self._sqs("SendMessage", QueueUrl=url, MessageBody=json.dumps(SCHEDULED))

    def eventually(self, check, seconds=120):
        """As `support.eventually`, while the schedule runs."""
        scheduled = 0.0

        def checked():
            nonlocal scheduled
            if time.monotonic() - scheduled > 3:
                scheduled = time.monotonic()
                self.schedule()
            return check()

        return eventually(checked, seconds, every=0.2)

    def waiting(self, lane):
        """Messages of a lane, those at work included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = self.queues["queues"][lane]
        found = self._sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def dead(self, lane):
        url = self.queues["dead"][lane]
        names = ["ApproximateNumberOfMessages"]
        found = self._sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=names)
        return int(found["Attributes"][names[0]])

    def _has_bucket(self):
        assert self._process.poll() is None, "scripts/emulator --install was not run"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            try:
                connection.request("PUT", f"/{BUCKET}")
                return connection.getresponse().status == 200
            except OSError:
                return False

    def _deploy(self):
        settings = {
            "name": f"service-{self.port}",
            "endpoint": self.endpoint,
            "functions_endpoint": self.endpoint,
            "bucket": BUCKET,
            "program": str(program("bootstrap")),
            "logs": str(self._folder),
            "timeout_s": 60,
            "visibility_s": 3,
            "most_receives": 8,
            "batches_at_once": 2,
            "classes": [],
            "notify": True,
            "environment": {},
            "before": {},
            "python": False,
            **self._settings,
        }
        script = REPOSITORY / "tests/service/deploy.py"
        done = subprocess.run(
            [sys.executable, script, json.dumps(settings)],
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def _sqs(self, action, **arguments):
        scope = "Credential=test/20260101/us-east-1/sqs/aws4_request"
        request = urllib.request.Request(
            self.endpoint,
            data=json.dumps(arguments).encode(),
            headers={
                "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none",
                "X-Amz-Target": f"AmazonSQS.{action}",
                "Content-Type": "application/x-amz-json-1.0",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")
