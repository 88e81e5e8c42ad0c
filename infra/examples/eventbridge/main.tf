provider "aws" {
  region = var.region
}

resource "aws_s3_bucket" "tables" {
  bucket = var.tables_bucket
}

resource "aws_s3_bucket" "service" {
  bucket = var.service_bucket
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = { tables = aws_s3_bucket.tables.bucket, service = aws_s3_bucket.service.bucket }

  bucket                  = each.value
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# The owner of the bucket's notification has to say this once; queues, topics and functions of others
# stand in the same resource.
resource "aws_s3_bucket_notification" "tables" {
  bucket      = aws_s3_bucket.tables.bucket
  eventbridge = true
}

module "lance_backfill" {
  source = "../.."

  release           = var.release
  service           = { bucket = aws_s3_bucket.service.bucket }
  tables            = { tables = { bucket = aws_s3_bucket.tables.bucket, prefixes = ["tables/"] } }
  notification_mode = "eventbridge"
}
