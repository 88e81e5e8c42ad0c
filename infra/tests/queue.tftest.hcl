# A queue and its dead-letter queue, attribute by attribute.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                 = "s-plans"
  visibility_timeout_s = 720
  alarm_topic_arns     = ["arn:aws:sns:eu-west-1:123456789012:alarms"]
}

run "standard" {
  module {
    source = "./modules/queue"
  }

  assert {
    condition = (
      aws_sqs_queue.this.name == "s-plans" && !aws_sqs_queue.this.fifo_queue &&
      aws_sqs_queue.dead.name == "s-plans-dead" && !aws_sqs_queue.dead.fifo_queue
    )
    error_message = "Queue and dead-letter queue are not both standard queues."
  }

  assert {
    condition     = aws_sqs_queue.this.sqs_managed_sse_enabled && aws_sqs_queue.dead.sqs_managed_sse_enabled
    error_message = "Messages are not encrypted."
  }

  assert {
    condition     = aws_sqs_queue.dead.message_retention_seconds == 1209600 && aws_sqs_queue.this.message_retention_seconds < aws_sqs_queue.dead.message_retention_seconds
    error_message = "A dead letter is not kept for 14 days, or may have none of them left."
  }

  assert {
    condition = jsondecode(aws_sqs_queue_redrive_allow_policy.dead.redrive_allow_policy) == {
      redrivePermission = "byQueue"
      sourceQueueArns   = [aws_sqs_queue.this.arn]
    }
    error_message = "Other queues may use the dead-letter queue."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.dead.dimensions == tomap({ QueueName = "s-plans-dead" }) && aws_cloudwatch_metric_alarm.dead.threshold == 0 &&
      aws_cloudwatch_metric_alarm.dead.alarm_actions == toset(var.alarm_topic_arns) && length(aws_cloudwatch_metric_alarm.oldest) == 0
    )
    error_message = "One dead letter is an alarm, and nothing else here."
  }
}

run "ordered" {
  module {
    source = "./modules/queue"
  }

  variables {
    ordered                = true
    oldest_message_alarm_s = 900
  }

  assert {
    condition = alltrue([for queue in [aws_sqs_queue.this, aws_sqs_queue.dead] :
      queue.fifo_queue && endswith(queue.name, ".fifo") && queue.deduplication_scope == "messageGroup" &&
      queue.fifo_throughput_limit == "perMessageGroupId" && !queue.content_based_deduplication
    ])
    error_message = "Not FIFO, not of high throughput, or messages are compared by their bodies."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.oldest[0].threshold == 900 && aws_cloudwatch_metric_alarm.oldest[0].dimensions == tomap({ QueueName = "s-plans.fifo" })
    error_message = "The age of messages is not watched."
  }
}

run "with_a_key" {
  module {
    source = "./modules/queue"
  }

  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/queues"
  }

  assert {
    condition = alltrue([for queue in [aws_sqs_queue.this, aws_sqs_queue.dead] :
      queue.kms_master_key_id == var.kms_key_arn
    ])
    error_message = "The key is not used for queue and dead letters."
  }
}

run "too_few_deliveries" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    max_receive_count = 4
  }

  expect_failures = [var.max_receive_count]
}
