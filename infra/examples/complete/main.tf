provider "aws" {
  region = var.region
}

# Tables, written by whoever may.
resource "aws_s3_bucket" "tables" {
  bucket = var.tables_bucket
}

# The service's own state. Apart, because whoever writes here decides what runs in the worker's role.
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

# A worker that dies leaves parts of its upload behind, which are paid for and seen by nobody.
resource "aws_s3_bucket_lifecycle_configuration" "tables" {
  bucket = aws_s3_bucket.tables.bucket

  rule {
    id     = "parts-of-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.alarm_kms_key_arn
}

resource "aws_sns_topic_subscription" "alarms" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

module "lance_backfill" {
  source = "../.."

  name    = var.name
  release = var.release

  service = { bucket = aws_s3_bucket.service.bucket }
  tables  = { tables = { bucket = aws_s3_bucket.tables.bucket } }

  # This configuration made the bucket, so nobody else's notification can be lost.
  notification_mode = "managed"

  worker_image_uri = var.worker_image_uri
  secrets          = var.secrets
  gpu_classes      = var.gpu_classes
  ray_cpu          = var.ray_cpu
  alarm_topic_arns = [aws_sns_topic.alarms.arn]

  worker = {
    fresh_concurrency = 10
    bulk_concurrency  = 40
  }

  tags = { service = var.name }
}
