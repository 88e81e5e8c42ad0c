output "arn" {
  description = "ARN of the queue; known once its policy is in force, since S3 tries a message when it is told to send here."
  value       = aws_sqs_queue.this.arn
  depends_on  = [aws_sqs_queue_policy.this]
}

output "url" {
  description = "URL of the queue."
  value       = aws_sqs_queue.this.url
}

output "name" {
  description = "Name of the queue, with its ending."
  value       = aws_sqs_queue.this.name
}

output "dead_arn" {
  description = "ARN of the dead-letter queue."
  value       = aws_sqs_queue.dead.arn
}

output "dead_url" {
  description = "URL of the dead-letter queue."
  value       = aws_sqs_queue.dead.url
}

output "dead_name" {
  description = "Name of the dead-letter queue, with its ending."
  value       = aws_sqs_queue.dead.name
}

output "visibility_timeout_s" {
  description = "Seconds for which a received message is hidden."
  value       = aws_sqs_queue.this.visibility_timeout_seconds
}

output "max_receive_count" {
  description = "Deliveries after which a message is dead."
  value       = jsondecode(aws_sqs_queue.this.redrive_policy).maxReceiveCount
}

output "encryption" {
  description = "Keys of the queue and of its dead-letter queue; null where SQS has its own."
  value       = [aws_sqs_queue.this.kms_master_key_id, aws_sqs_queue.dead.kms_master_key_id]
}

output "policies" {
  description = "Policies of the queue and of its dead-letter queue, as JSON."
  value       = [aws_sqs_queue_policy.this.policy, aws_sqs_queue_policy.dead.policy]
}

output "alarm_names" {
  description = "Alarms on the queue and its dead letters."
  value = concat(
    [aws_cloudwatch_metric_alarm.dead.alarm_name],
    aws_cloudwatch_metric_alarm.oldest[*].alarm_name,
  )
}
