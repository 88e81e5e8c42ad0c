"""Starts the packaged program as Lambda does, and gives it an invocation without records.

Usage: package_test.py FOLDER

The image's entry point does no more than Lambda's own runtime: it names the handler and starts the
program. No queue and no bucket is asked for anything before there is a record, so none is needed.
Prints for each function how long it took to be ready, the fastest of some starts.
"""

import http.server
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

STARTS = 5
PATIENCE_S = 60
NOTHING = b'{"Records":[]}'


class Runtime(http.server.BaseHTTPRequestHandler):
    """The interface through which Lambda hands out invocations."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.told.put(("ready", None))
        if not self.server.invoked.acquire(blocking=False):
            # One invocation a process; the next one never comes.
            time.sleep(PATIENCE_S)
            return
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "1")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 60) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:::function:test")
        self.send_header("Content-Length", str(len(NOTHING)))
        self.end_headers()
        self.wfile.write(NOTHING)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.told.put((self.path, body))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Of one process: what another asks for late is not taken for this one's.

    It does not mind that the process ends while it waits for its next invocation.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Runtime)
        self.told = queue.Queue()
        self.invoked = threading.Lock()

    def handle_error(self, *_):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(*_)


def environment(function, port):
    """What Lambda and the Terraform module set."""
    queues = {
        f"LANCE_BACKFILL_{name}_QUEUE": f"http://127.0.0.1:1/0/{name.lower()}{end}"
        for name, end in [("PLANS", ""), ("FRESH", ""), ("BULK", ""), ("COMMITS", ".fifo")]
    }
    return {
        "PATH": os.environ["PATH"],
        "_HANDLER": function,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": function,
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_LAMBDA_LOG_GROUP_NAME": function,
        "AWS_LAMBDA_LOG_STREAM_NAME": function,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "LANCE_BACKFILL_NAME": "test",
        "LANCE_BACKFILL_SERVICE": "s3://nobody/service",
        **queues,
    }


def start(program, function):
    """Seconds until it asked for its first invocation."""
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    began = time.monotonic()
    process = subprocess.Popen(
        [program],
        env=environment(function, server.server_port),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        server.told.get(timeout=PATIENCE_S)
        ready = time.monotonic() - began
        path, body = server.told.get(timeout=PATIENCE_S)
        if path == "ready":
            path, body = server.told.get(timeout=PATIENCE_S)
        answer = json.loads(body)
        assert path.endswith("/response"), (path, answer)
        assert answer == {"batchItemFailures": []}, answer
        return ready
    except (queue.Empty, AssertionError):
        process.kill()
        sys.stderr.buffer.write(process.communicate()[0])
        raise
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        # Not server_close(): it would wait for threads that wait for nothing any more.
        server.socket.close()


def main():
    folder = Path(sys.argv[1])
    for function in ("planner", "worker", "committer"):
        program = folder / function / "bootstrap"
        times = sorted(start(program, function) for _ in range(STARTS))
        print(f"{function:10} ready after {times[0] * 1000:.0f} ms, the slowest start {times[-1] * 1000:.0f} ms")


main()
