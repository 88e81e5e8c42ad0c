provider "aws" {
  region = var.region
}

# Roles that the platform's team made, with the policies of the output policies.
module "lance_backfill" {
  source = "../.."

  release           = var.release
  service           = { bucket = var.service_bucket, prefix = "services/lance-backfill" }
  tables            = { lake = { bucket = var.tables_bucket, prefixes = var.tables_prefixes } }
  notification_mode = "external"
  role_arns         = var.role_arns
}

# Stands for the notification that the bucket has already: the blocks of the service are added to the
# others, in the one resource that there can be for a bucket.
resource "aws_s3_bucket_notification" "lake" {
  bucket = var.tables_bucket

  dynamic "queue" {
    for_each = module.lance_backfill.notification.prefixes[var.tables_bucket]
    content {
      id            = "lance-backfill-${queue.key}"
      queue_arn     = module.lance_backfill.notification.queue_arn
      events        = module.lance_backfill.notification.events
      filter_prefix = queue.value
      filter_suffix = module.lance_backfill.notification.suffix
    }
  }

  dynamic "queue" {
    for_each = var.other_queue_arn == null ? [] : [var.other_queue_arn]
    content {
      id            = "others"
      queue_arn     = queue.value
      events        = ["s3:ObjectCreated:*"]
      filter_suffix = ".csv"
    }
  }
}
