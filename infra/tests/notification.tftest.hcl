# Each mode creates exactly what it should, and nobody's notification is touched unasked.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  service = { bucket = "state" }
  tables  = { lake = { bucket = "lake", prefixes = ["a/", "b/"] }, old = { bucket = "old" } }
  release = {
    bucket = "releases"
    key    = "bootstrap.zip"
    sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }
}

run "managed" {
  variables {
    notification_mode = "managed"
  }

  assert {
    condition     = toset(module.events.notified_buckets) == toset(["lake", "old"]) && module.events.rule_names == ["lance-backfill-schedule"]
    error_message = "managed owns the notification of each bucket, and has no rule but the schedule's."
  }

  assert {
    condition     = jsondecode(output.plans_queue_policy_statements)[*].Sid == ["EventBridge", "Buckets"]
    error_message = "The schedule and the buckets may send."
  }
}

run "eventbridge" {
  variables {
    notification_mode = "eventbridge"
  }

  assert {
    condition     = length(module.events.notified_buckets) == 0
    error_message = "eventbridge touches no notification."
  }

  assert {
    condition     = toset(module.events.rule_names) == toset(["lance-backfill-schedule", "lance-backfill-written-lake", "lance-backfill-written-old"])
    error_message = "eventbridge has a rule for each bucket, and the schedule's."
  }

  assert {
    condition     = jsondecode(output.plans_queue_policy_statements)[*].Sid == ["EventBridge"]
    error_message = "Buckets may not send by themselves."
  }
}

run "external" {
  variables {
    notification_mode             = "external"
    plans_queue_policy_statements = [{ Sid = "Topic", Effect = "Allow", Principal = { Service = "sns.amazonaws.com" }, Action = ["sqs:SendMessage"], Condition = { ArnEquals = { "aws:SourceArn" = ["arn:aws:sns:eu-west-1:123456789012:versions"] } } }]
  }

  assert {
    condition     = length(module.events.notified_buckets) == 0 && module.events.rule_names == ["lance-backfill-schedule"]
    error_message = "external makes nothing but the schedule."
  }

  assert {
    condition = jsonencode(output.notification) == jsonencode({
      queue_arn = output.queues.plans.arn
      events    = ["s3:ObjectCreated:*"]
      suffix    = ".manifest"
      prefixes  = { lake = ["a/", "b/"], old = [""] }
    })
    error_message = "It is not said what to wire: ${jsonencode(output.notification)}"
  }

  assert {
    condition = (
      jsondecode(module.plans.policies[0]).Statement[*].Sid == ["EncryptedTransportOnly", "EventBridge", "Buckets", "Topic"] &&
      toset(jsondecode(module.plans.policies[0]).Statement[*].Resource) == toset([output.queues.plans.arn])
    )
    error_message = "The buckets and the topic may not send."
  }
}

run "none" {
  variables {
    notification_mode = "none"
  }

  assert {
    condition     = length(module.events.notified_buckets) == 0 && module.events.rule_names == ["lance-backfill-schedule"]
    error_message = "none makes nothing but the schedule."
  }

  assert {
    condition     = jsondecode(output.plans_queue_policy_statements)[*].Sid == ["EventBridge"] && output.notification == null
    error_message = "Only the schedule may send."
  }
}
