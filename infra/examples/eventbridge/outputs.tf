output "service" {
  description = "What the command line takes as --service."
  value       = module.lance_backfill.service
}

output "tables" {
  description = "Where to write tables."
  value       = "s3://${aws_s3_bucket.tables.bucket}/tables/"
}
