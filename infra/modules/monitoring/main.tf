locals {
  # Must be what the program writes.
  namespace  = "LanceBackfill"
  oldest     = "OldestRowInNeedSeconds"
  stalled    = "CommitsStalled"
  failed     = "PlansFailed"
  counted    = ["BatchesSent", "RowsComputed", "RowsFailed", "RowsPublished"]
  troubles   = ["ColumnsHeld", "Faults", "BatchesQuarantined", "PlansFailed"]
  dimensions = { Service = var.service }

  queue_metric = { for lane, queue in var.queues : lane => {
    waiting = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.name, { label = lane }]
    age     = ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue.name, { label = lane }]
    dead    = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.dead_name, { label = lane }]
  } }

  # Two in a row, twelve of the grid's columns each.
  widgets = [
    { title = "Oldest row in need, seconds", stat = "Maximum", metrics = [
      [local.namespace, local.oldest, "Service", var.service]
    ] },
    { title = "Stalled commits", stat = "Sum", metrics = [
      [local.namespace, local.stalled, "Service", var.service]
    ] },
    { title = "Batches and rows", stat = "Sum", metrics = [
      for metric in local.counted : [local.namespace, metric, "Service", var.service]
    ] },
    { title = "Holds, faults, batches that died, plans that failed", stat = "Maximum", metrics = [
      for metric in local.troubles : [local.namespace, metric, "Service", var.service]
    ] },
    { title = "Messages waiting", stat = "Maximum", metrics = [for metric in local.queue_metric : metric.waiting] },
    { title = "Oldest message, seconds", stat = "Maximum", metrics = [for metric in local.queue_metric : metric.age] },
    { title = "Dead letters", stat = "Maximum", metrics = [for metric in local.queue_metric : metric.dead] },
    { title = "Invocations", stat = "Sum", metrics = [
      for kind, name in var.functions : ["AWS/Lambda", "Invocations", "FunctionName", name, { label = kind }]
    ] },
    { title = "Duration, 99th percentile, milliseconds", stat = "p99", metrics = [
      for kind, name in var.functions : ["AWS/Lambda", "Duration", "FunctionName", name, { label = kind }]
    ] },
    { title = "Errors and throttles", stat = "Sum", metrics = flatten([
      for kind, name in var.functions : [
        for metric in ["Errors", "Throttles"] :
        { row = ["AWS/Lambda", metric, "FunctionName", name, { label = "${kind} ${metric}" }] }
      ]
    ])[*].row },
  ]
}

# Age of queue messages is blind to a row whose message was lost or lies among dead letters; this is not.
resource "aws_cloudwatch_metric_alarm" "oldest_row" {
  alarm_name        = "${var.name}-oldest-row-in-need"
  alarm_description = "A row has waited for its value for more than ${var.oldest_row_alarm_s} s, or nobody says any more how long rows wait. Look for the table in the planner's log."

  namespace   = local.namespace
  metric_name = local.oldest
  dimensions  = local.dimensions

  statistic           = "Maximum"
  period              = var.oldest_row_period_s
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.oldest_row_alarm_s

  # Silence is neither well nor late: it is told by an action of its own.
  treat_missing_data        = "missing"
  insufficient_data_actions = var.alarm_topic_arns

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = var.tags
}

resource "aws_cloudwatch_metric_alarm" "commits_stalled" {
  alarm_name        = "${var.name}-commits-stalled"
  alarm_description = "Finished values are not published, although the committer tried. Look for the table in its log."

  namespace   = local.namespace
  metric_name = local.stalled
  dimensions  = local.dimensions

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

# What cannot be looked at says nothing of its rows, so the two alarms above are blind to it.
resource "aws_cloudwatch_metric_alarm" "plans_failed" {
  alarm_name        = "${var.name}-plans-failed"
  alarm_description = "A registered table cannot be looked at: it is gone, forbidden, or declared by a newer program. See the planner's log; 'tables remove' forgets a table that is gone."

  namespace   = local.namespace
  metric_name = local.failed
  dimensions  = local.dimensions

  # Twice: once may be a store that was slow, and is tried again.
  statistic           = "Maximum"
  period              = var.oldest_row_period_s
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = var.tags
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for place, widget in local.widgets : {
        type   = "metric"
        x      = place % 2 * 12
        y      = floor(place / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = var.region
          stat    = widget.stat
          period  = 60
          view    = "timeSeries"
          metrics = widget.metrics
        }
      }
    ]
  })
}
