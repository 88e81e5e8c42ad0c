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

output "gpu_queues" {
  description = "Queues for pods with GPUs."
  value       = module.lance_backfill.gpu_queues
}

output "gpu_pod_policy" {
  description = "What the role of such pods must be allowed."
  value       = module.lance_backfill.gpu_pod_policy
}
