output "service" {
  description = "What the command line takes as --service."
  value       = module.lance_backfill.service
}

output "policies" {
  description = "What the roles must be allowed."
  value       = module.lance_backfill.policies
}

output "notification" {
  description = "What the bucket's notification has to say."
  value       = module.lance_backfill.notification
}
