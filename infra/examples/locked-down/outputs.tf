output "service" {
  description = "What the command line takes as --service."
  value       = module.lance_backfill.service
}

output "bucket_key_policy_statements" {
  description = "What the policy of the buckets' key must say."
  value       = module.lance_backfill.kms_key_policy_statements.bucket
}

output "policies" {
  description = "What each role is allowed."
  value       = module.lance_backfill.policies
}
