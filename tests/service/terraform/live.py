"""Starts the stand-in for the AWS provider with more kinds of resources that it creates.

Usage: live.py STAND-IN SCHEMA SOCKET REATTACH
"""

import importlib.util
import pathlib
import runpy
import sys
import types

STAND_IN = pathlib.Path(sys.argv[1])

# The module of this name in the stand-in's folder, under another one.
found = importlib.util.spec_from_file_location("stand_in_live", STAND_IN / "live.py")
stand_in = importlib.util.module_from_spec(found)
found.loader.exec_module(stand_in)


def event_rule(values):
    more = {
        "ScheduleExpression": values.get("schedule_expression"),
        "EventPattern": values.get("event_pattern"),
    }
    more = {name: value for name, value in more.items() if value}
    state = values.get("state") or "ENABLED"
    rule = stand_in.c("events").put_rule(Name=values["name"], State=state, **more)
    values.update(arn=rule["RuleArn"], id=values["name"])


def event_target(values):
    target = {"Id": values["target_id"], "Arn": values["arn"]}
    stand_in.c("events").put_targets(Rule=values["rule"], Targets=[target])


def redrive_allow_policy(values):
    policy = {"RedriveAllowPolicy": values["redrive_allow_policy"]}
    stand_in.c("sqs").set_queue_attributes(QueueUrl=values["queue_url"], Attributes=policy)


def log_group(values):
    stand_in.c("logs").create_log_group(logGroupName=values["name"])
    values.update(id=values["name"])


def role(values):
    made = stand_in.c("iam").create_role(
        RoleName=values["name"], AssumeRolePolicyDocument=values["assume_role_policy"]
    )
    values.update(arn=made["Role"]["Arn"], id=values["name"])


def role_policy(values):
    stand_in.c("iam").put_role_policy(
        RoleName=values["role"], PolicyName=values["name"], PolicyDocument=values["policy"]
    )


def s3_object(values):
    body = (values.get("content") or "").encode()
    stand_in.c("s3").put_object(Bucket=values["bucket"], Key=values["key"], Body=body)
    values.update(id=values["key"])


MORE = {
    "aws_cloudwatch_event_rule": event_rule,
    "aws_cloudwatch_event_target": event_target,
    "aws_sqs_queue_redrive_allow_policy": redrive_allow_policy,
    "aws_cloudwatch_log_group": log_group,
    "aws_iam_role": role,
    "aws_iam_role_policy": role_policy,
    "aws_s3_object": s3_object,
}


def apply(kind, values):
    if kind in MORE:
        MORE[kind](values)
        return values
    return stand_in.apply(kind, values)


live = types.ModuleType("live")
live.apply = apply
sys.modules["live"] = live
program = STAND_IN / "stub.py"
sys.argv = [str(program), *sys.argv[2:]]
runpy.run_path(str(program), run_name="__main__")
