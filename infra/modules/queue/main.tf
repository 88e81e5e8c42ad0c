locals {
  end = var.ordered ? ".fifo" : ""

  # Messages are worth nothing after the next schedule, which finds the work again; four days are for
  # a person to look at a queue that nobody empties.
  retention_s = 4 * 24 * 3600

  # The most that SQS allows. A standard queue keeps the time of the first sending, so that a dead
  # letter has less than this left.
  dead_retention_s = 14 * 24 * 3600

  # Its default is smaller in older regions and versions; the program fills messages up to here.
  max_message_bytes = 1024 * 1024

  encrypted_only = {
    Sid       = "EncryptedTransportOnly"
    Effect    = "Deny"
    Principal = "*"
    Action = [
      "sqs:ChangeMessageVisibility",
      "sqs:DeleteMessage",
      "sqs:ReceiveMessage",
      "sqs:SendMessage",
    ]
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  }
}

resource "aws_sqs_queue" "this" {
  name       = "${var.name}${local.end}"
  fifo_queue = var.ordered

  visibility_timeout_seconds = var.visibility_timeout_s
  message_retention_seconds  = local.retention_s
  max_message_size           = local.max_message_bytes

  # Long polling; with 0, the default, pods that poll an empty queue pay for each look.
  receive_wait_time_seconds = 20

  # High throughput: limits and deduplication are per group, that is per table. By default all tables
  # together have 300 requests a second.
  deduplication_scope   = var.ordered ? "messageGroup" : null
  fifo_throughput_limit = var.ordered ? "perMessageGroupId" : null

  # The program says which messages are the same; equal bodies may be two reasons to commit.
  content_based_deduplication = var.ordered ? false : null

  # SQS takes one of the two, so the other is left unset.
  kms_master_key_id       = var.kms_key_arn
  sqs_managed_sse_enabled = var.kms_key_arn == null ? true : null

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = var.max_receive_count
  })

  tags = var.tags
}

resource "aws_sqs_queue" "dead" {
  name       = "${var.name}-dead${local.end}"
  fifo_queue = var.ordered

  message_retention_seconds = local.dead_retention_s
  max_message_size          = local.max_message_bytes
  receive_wait_time_seconds = 20

  deduplication_scope         = var.ordered ? "messageGroup" : null
  fifo_throughput_limit       = var.ordered ? "perMessageGroupId" : null
  content_based_deduplication = var.ordered ? false : null

  kms_master_key_id       = var.kms_key_arn
  sqs_managed_sse_enabled = var.kms_key_arn == null ? true : null

  tags = var.tags
}

# By default any queue of the account may name this one as its dead-letter queue.
resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = aws_sqs_queue.dead.url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this.arn]
  })
}

resource "aws_sqs_queue_policy" "this" {
  queue_url = aws_sqs_queue.this.url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in concat([local.encrypted_only], var.policy_statements) :
      merge(statement, { Resource = aws_sqs_queue.this.arn })
    ]
  })
}

resource "aws_sqs_queue_policy" "dead" {
  queue_url = aws_sqs_queue.dead.url

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [merge(local.encrypted_only, { Resource = aws_sqs_queue.dead.arn })]
  })
}

resource "aws_cloudwatch_metric_alarm" "dead" {
  alarm_name        = "${var.name}-dead-letters"
  alarm_description = "Messages of ${var.name} failed ${var.max_receive_count} times and lie in its dead-letter queue. See why in the log of its consumer, then redrive them."

  namespace   = "AWS/SQS"
  metric_name = "ApproximateNumberOfMessagesVisible"
  dimensions  = { QueueName = aws_sqs_queue.dead.name }

  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0

  # SQS reports nothing for a queue that nobody used for hours.
  treat_missing_data = "notBreaching"

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = var.tags
}

resource "aws_cloudwatch_metric_alarm" "oldest" {
  count = var.oldest_message_alarm_s == null ? 0 : 1

  alarm_name        = "${var.name}-oldest-message"
  alarm_description = "A message has waited in ${var.name} for more than ${coalesce(var.oldest_message_alarm_s, 0)} s: its consumer is stopped, throttled or fails."

  namespace   = "AWS/SQS"
  metric_name = "ApproximateAgeOfOldestMessage"
  dimensions  = { QueueName = aws_sqs_queue.this.name }

  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.oldest_message_alarm_s
  treat_missing_data  = "notBreaching"

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = var.tags
}
