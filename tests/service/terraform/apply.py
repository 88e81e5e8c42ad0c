"""Applies a Terraform configuration to an emulator of AWS, without Terraform's registry.

Usage: apply.py STAND-IN ENDPOINT FOLDER

STAND-IN is the folder of a stand-in for the AWS provider, which knows its schema, and creates some
resources in the emulator; `live.py` beside this file adds those that the module of infra/ has besides.
Prints the outputs as JSON. The exit code is 3 where this cannot run at all.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

STAND_IN, ENDPOINT, FOLDER = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_S = 60


def cannot_run(why):
    print(why, file=sys.stderr)
    sys.exit(3)


def installed():
    """The folder into which the stand-in has installed what it needs."""
    if shutil.which("terraform") is None:
        cannot_run("terraform is not on the PATH")
    if not (STAND_IN / "with-stub").is_file():
        cannot_run(f"there is no stand-in for the AWS provider at {STAND_IN}")
    done = subprocess.run([STAND_IN / "with-stub", "--", "true"], capture_output=True, text=True)
    if done.returncode != 0:
        cannot_run(f"the stand-in cannot be installed: {done.stderr}")
    caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("TERRAFORM_STUB_CACHE") or f"{caches}/terraform-stub")


def main():
    cache = installed()
    run = pathlib.Path(tempfile.mkdtemp())
    reattach = run / "reattach.json"
    environment = dict(os.environ, PYTHONPATH=str(cache), STUB_ENDPOINT=ENDPOINT)
    schema = cache / "aws-6.66.0.json"
    command = [HERE / "live.py", STAND_IN, schema, run / "socket", reattach]
    python = str(cache / "venv/bin/python")
    with (run / "log").open("w") as log:
        stub = subprocess.Popen(
            [python, *map(str, command)], cwd=FOLDER, env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (run / "log").read_text().startswith("ready"):
            if stub.poll() is not None or time.monotonic() > deadline:
                cannot_run(f"the stand-in does not start: {(run / 'log').read_text()}")
            time.sleep(0.05)
        environment = dict(
            os.environ,
            TF_CLI_CONFIG_FILE="/dev/null",
            CHECKPOINT_DISABLE="1",
            TF_REATTACH_PROVIDERS=reattach.read_text(),
        )

        def terraform(*words):
            command = ["terraform", f"-chdir={FOLDER}", *words]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"terraform {words[0]}: {done.stderr}")
            return done.stdout

        terraform("init", "-backend=false", "-input=false")
        terraform("apply", "-auto-approve", "-input=false", "-no-color")
        outputs = json.loads(terraform("output", "-json"))
        print(json.dumps({name: output["value"] for name, output in outputs.items()}))
    finally:
        stub.terminate()
        stub.wait()
        shutil.rmtree(run)


main()
