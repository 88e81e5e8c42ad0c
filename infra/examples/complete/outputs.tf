output "service" {
  description = "What the command line takes as --service."
  value       = module.lance_backfill.service
}

output "tables" {
  description = "Where to write tables."
  value       = "s3://${aws_s3_bucket.tables.bucket}/"
}

output "queues" {
  description = "The queues."
  value       = module.lance_backfill.queues
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard."
  value       = module.lance_backfill.dashboard_name
}

output "class_queues" {
  description = "Queues of workers in pods, by class."
  value       = module.lance_backfill.class_queues
}

output "pod_policy" {
  description = "What the role of such pods must be allowed."
  value       = module.lance_backfill.pod_policy
}

output "pod_environment" {
  description = "What such pods must have in their environment."
  value       = module.lance_backfill.pod_environment
}

output "pool_controller_policy" {
  description = "What the role of the controller must be allowed that scales them."
  value       = module.lance_backfill.pool_controller_policy
}
