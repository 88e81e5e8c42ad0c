locals {
  managed      = { for name, table in var.tables : name => table if var.mode == "managed" }
  eventbridge  = { for name, table in var.tables : name => table if var.mode == "eventbridge" }
  s3_may_send  = contains(["managed", "external"], var.mode)
  bucket_arns  = [for table in var.tables : "arn:${var.partition}:s3:::${table.bucket}"]
  s3_events    = ["s3:ObjectCreated:*"]
  s3_suffix    = ".manifest"
  rules        = merge({ schedule = aws_cloudwatch_event_rule.schedule }, aws_cloudwatch_event_rule.written)
  rule_sources = [for rule in local.rules : rule.arn]
}

# ---- the schedule: what no event told of is found by it -----------------------------------------------

resource "aws_cloudwatch_event_rule" "schedule" {
  name                = "${var.name}-schedule"
  description         = "Wakes the planner of lance-backfill to look at all of its tables."
  schedule_expression = var.schedule_expression
  state               = var.schedule_enabled ? "ENABLED" : "DISABLED"
  tags                = var.tags
}

# Without an input transformer: the planner knows the standard 'Scheduled Event'.
resource "aws_cloudwatch_event_target" "schedule" {
  rule      = aws_cloudwatch_event_rule.schedule.name
  target_id = "plans"
  arn       = var.queue_arn
}

# ---- mode managed: the bucket's notification is ours --------------------------------------------------

# A bucket has one notification configuration, and this resource replaces all of it: hence a mode.
resource "aws_s3_bucket_notification" "this" {
  for_each = local.managed

  bucket = each.value.bucket

  dynamic "queue" {
    for_each = each.value.prefixes
    content {
      queue_arn     = var.queue_arn
      events        = local.s3_events
      filter_prefix = queue.value == "" ? null : queue.value
      filter_suffix = local.s3_suffix
    }
  }
}

# ---- mode eventbridge: the bucket only has to send to EventBridge -------------------------------------

resource "aws_cloudwatch_event_rule" "written" {
  for_each = local.eventbridge

  name        = "${var.name}-written-${each.key}"
  description = "New versions of the Lance tables in ${each.value.bucket}."

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [each.value.bucket] }
      object = { key = [for prefix in each.value.prefixes : { wildcard = "${prefix}*/_versions/*.manifest" }] }
    }
  })

  tags = var.tags
}

resource "aws_cloudwatch_event_target" "written" {
  for_each = local.eventbridge

  rule      = aws_cloudwatch_event_rule.written[each.key].name
  target_id = "plans"
  arn       = var.queue_arn
}

# ---- what does not get through -----------------------------------------------------------------------

# The only place where EventBridge says that it may not use the queue or its key.
resource "aws_cloudwatch_metric_alarm" "undelivered" {
  for_each = local.rules

  alarm_name        = "${each.value.name}-undelivered"
  alarm_description = "EventBridge cannot deliver events of ${each.value.name}: see the queue's policy, and the policy of its key if it has one."

  namespace   = "AWS/Events"
  metric_name = "FailedInvocations"
  dimensions  = { RuleName = each.value.name }

  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = var.tags
}
