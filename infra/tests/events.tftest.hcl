# What a bucket or a rule is told, attribute by attribute.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                = "s"
  tables              = { lake = { bucket = "lake", prefixes = ["a/", "b/"] }, old = { bucket = "old", prefixes = [""] } }
  queue_arn           = "arn:aws:sqs:eu-west-1:123456789012:plans"
  schedule_expression = "rate(5 minutes)"
  partition           = "aws"
  account_id          = "123456789012"
}

run "managed" {
  module {
    source = "./modules/events"
  }

  variables {
    mode = "managed"
  }

  assert {
    condition = jsonencode({ for name, notification in aws_s3_bucket_notification.this : name => [
      for queue in notification.queue : [queue.queue_arn, queue.events, queue.filter_prefix, queue.filter_suffix]
      ] }) == jsonencode({
      lake = [
        [var.queue_arn, ["s3:ObjectCreated:*"], "a/", ".manifest"],
        [var.queue_arn, ["s3:ObjectCreated:*"], "b/", ".manifest"],
      ]
      old = [[var.queue_arn, ["s3:ObjectCreated:*"], null, ".manifest"]]
    })
    error_message = "A bucket is told something else."
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.written) == 0
    error_message = "An event would come twice."
  }
}

run "eventbridge" {
  module {
    source = "./modules/events"
  }

  variables {
    mode = "eventbridge"
  }

  assert {
    condition     = length(aws_s3_bucket_notification.this) == 0
    error_message = "A notification of somebody else would be lost."
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.written["lake"].event_pattern) == {
      source      = ["aws.s3"]
      detail-type = ["Object Created"]
      detail = {
        bucket = { name = ["lake"] }
        object = { key = [{ wildcard = "a/*/_versions/*.manifest" }, { wildcard = "b/*/_versions/*.manifest" }] }
      }
    }
    error_message = "The rule picks other events."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.written["old"].event_pattern).detail.object.key == [{ wildcard = "*/_versions/*.manifest" }]
    error_message = "The rule of a whole bucket picks other keys."
  }

  assert {
    condition     = alltrue([for target in aws_cloudwatch_event_target.written : target.arn == var.queue_arn && length(target.input_transformer) == 0])
    error_message = "The planner reads events as they are."
  }
}

run "schedule" {
  module {
    source = "./modules/events"
  }

  variables {
    mode             = "none"
    schedule_enabled = false
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule.state == "DISABLED"
    error_message = "The schedule runs, although it was switched off."
  }

  assert {
    condition = (
      aws_cloudwatch_event_target.schedule.arn == var.queue_arn && aws_cloudwatch_event_target.schedule.input == null &&
      aws_cloudwatch_event_target.schedule.input_path == null && length(aws_cloudwatch_event_target.schedule.input_transformer) == 0
    )
    error_message = "The planner knows the standard event of a schedule only."
  }

  assert {
    condition     = output.queue_policy_statements[0].Condition.StringEquals["aws:SourceAccount"] == ["123456789012"]
    error_message = "Rules of other accounts may send."
  }
}
