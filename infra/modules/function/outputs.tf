output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "arn" {
  description = "ARN of the function."
  value       = aws_lambda_function.this.arn
}

output "role_arn" {
  description = "Role that it runs in."
  value       = aws_lambda_function.this.role
}

output "role_created" {
  description = "Whether the role is of this module."
  value       = length(aws_iam_role.this) == 1
}

output "trust_policy" {
  description = "Who may take the created role, as JSON; null where none is created."
  value       = one(aws_iam_role.this[*].assume_role_policy)
}

output "timeout_s" {
  description = "Seconds after which Lambda ends an invocation."
  value       = aws_lambda_function.this.timeout
}

output "environment" {
  description = "Its environment variables."
  value       = aws_lambda_function.this.environment[0].variables
}

output "package_type" {
  description = "Zip or Image."
  value       = aws_lambda_function.this.package_type
}

output "code_sha256" {
  description = "SHA-256 of the zip in base64."
  value       = aws_lambda_function.this.code_sha256
}

output "subnet_ids" {
  description = "Subnets that it runs in; none without a VPC."
  value       = flatten(aws_lambda_function.this.vpc_config[*].subnet_ids)
}

output "kms_keys" {
  description = "Keys of its environment and of its log; null where AWS has its own."
  value = {
    environment = aws_lambda_function.this.kms_key_arn
    log         = aws_cloudwatch_log_group.this.kms_key_id
  }
}

output "log_group_name" {
  description = "Log group of the function."
  value       = aws_cloudwatch_log_group.this.name
}

output "mappings" {
  description = "What invokes it: queue, messages an invocation, the most invocations at once, kind of answer."
  value = {
    for name, mapping in aws_lambda_event_source_mapping.this : name => {
      queue_arn           = mapping.event_source_arn
      batch_size          = mapping.batch_size
      maximum_concurrency = one(mapping.scaling_config[*].maximum_concurrency)
      response_types      = mapping.function_response_types
    }
  }
}

output "alarm_names" {
  description = "Alarms on the function."
  value       = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name]
}
