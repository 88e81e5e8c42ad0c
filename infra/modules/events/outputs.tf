output "queue_policy_statements" {
  description = "Who may send to the planner's queue, without its resource."
  value = [
    for statement in [
      {
        Sid       = "EventBridge"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["sqs:SendMessage"]
        Condition = {
          ArnEquals    = { "aws:SourceArn" = local.rule_sources }
          StringEquals = { "aws:SourceAccount" = [var.account_id] }
        }
      },
      {
        Sid       = "Buckets"
        Effect    = "Allow"
        Principal = { Service = "s3.amazonaws.com" }
        Action    = ["sqs:SendMessage"]
        Condition = {
          ArnEquals    = { "aws:SourceArn" = local.bucket_arns }
          StringEquals = { "aws:SourceAccount" = [var.account_id] }
        }
      },
    ] : statement if statement.Sid != "Buckets" || local.s3_may_send
  ]
}

output "rule_names" {
  description = "EventBridge rules."
  value       = [for rule in local.rules : rule.name]
}

output "notified_buckets" {
  description = "Buckets whose notification configuration is owned here."
  value       = [for notification in aws_s3_bucket_notification.this : notification.bucket]
}

output "alarm_names" {
  description = "Alarms on the rules."
  value       = [for alarm in aws_cloudwatch_metric_alarm.undelivered : alarm.alarm_name]
}

output "notification" {
  description = "What a bucket's notification has to say."
  value = {
    queue_arn = var.queue_arn
    events    = local.s3_events
    suffix    = local.s3_suffix
    prefixes  = { for name, table in var.tables : table.bucket => table.prefixes }
  }
}
