provider "aws" {
  region = var.region
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

data "aws_vpc" "this" {
  id = var.vpc_id
}

locals {
  root = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"
}

# ---- network: S3, SQS and Secrets Manager through endpoints, and no way out --------------------------

resource "aws_security_group" "functions" {
  name_prefix = "lance-backfill-functions-"
  description = "Functions of lance-backfill: to the endpoints, and nowhere else."
  vpc_id      = var.vpc_id

  egress {
    description     = "S3, by its gateway."
    protocol        = "tcp"
    from_port       = 443
    to_port         = 443
    prefix_list_ids = [aws_vpc_endpoint.s3.prefix_list_id]
  }

  egress {
    description = "The endpoints in the VPC."
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = [data.aws_vpc.this.cidr_block]
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group" "endpoints" {
  name_prefix = "lance-backfill-endpoints-"
  description = "Endpoints: from the functions of lance-backfill only."
  vpc_id      = var.vpc_id

  ingress {
    description     = "The functions."
    protocol        = "tcp"
    from_port       = 443
    to_port         = 443
    security_groups = [aws_security_group.functions.id]
  }

  lifecycle {
    create_before_destroy = true
  }
}

# What leaves the VPC can go to these buckets only, whatever the credentials.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_table_ids

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = "*"
      Action = [
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
      ]
      Resource = flatten([for bucket in distinct([var.tables_bucket, var.service_bucket]) : [
        "arn:${data.aws_partition.current.partition}:s3:::${bucket}",
        "arn:${data.aws_partition.current.partition}:s3:::${bucket}/*",
      ]])
    }]
  })
}

resource "aws_vpc_endpoint" "sqs" {
  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${var.region}.sqs"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = "*"
        # Lambda receives and deletes by itself, from outside.
        Action   = ["sqs:ChangeMessageVisibility", "sqs:SendMessage"]
        Resource = [for queue in module.lance_backfill.queues : queue.arn]
      },
      {
        Effect    = "Allow"
        Principal = "*"
        # The planner looks for batches that died.
        Action   = ["sqs:DeleteMessage", "sqs:ReceiveMessage"]
        Resource = [for lane in ["fresh", "bulk"] : module.lance_backfill.queues[lane].dead_arn]
      },
    ]
  })
}

resource "aws_vpc_endpoint" "secrets" {
  count = length(var.secrets) > 0 ? 1 : 0

  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${var.region}.secretsmanager"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = "*"
      Action    = ["secretsmanager:GetSecretValue"]
      Resource  = values(var.secrets)
    }]
  })
}

# ---- keys --------------------------------------------------------------------------------------------

resource "aws_kms_key" "this" {
  for_each = toset(["queues", "logs"])

  description         = "lance-backfill: ${each.key}"
  enable_key_rotation = true
}

resource "aws_kms_key_policy" "this" {
  for_each = aws_kms_key.this

  key_id = each.value.key_id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "Account"
        Effect    = "Allow"
        Principal = { AWS = [local.root] }
        # Without it nobody could ever change this policy, not even to repair it.
        Action   = ["kms:*"]
        Resource = ["*"]
      }],
      # Without these, events vanish silently.
      jsondecode(module.lance_backfill.kms_key_policy_statements[each.key]),
    )
  })
}

# CloudWatch refuses to make a log group with a key that it may not use yet.
locals {
  log_kms_key_arn = "arn:${data.aws_partition.current.partition}:kms:${var.region}:${data.aws_caller_identity.current.account_id}:key/${aws_kms_key_policy.this["logs"].key_id}"
}

# ---- the service -------------------------------------------------------------------------------------

module "lance_backfill" {
  source = "../.."

  release          = var.release
  worker_image_uri = var.worker_image_uri

  service           = { bucket = var.service_bucket }
  tables            = { lake = { bucket = var.tables_bucket, prefixes = var.tables_prefixes } }
  notification_mode = "eventbridge"

  vpc = {
    subnet_ids         = var.subnet_ids
    security_group_ids = [aws_security_group.functions.id]
  }

  iam_path             = var.iam_path
  permissions_boundary = var.permissions_boundary
  secrets              = var.secrets

  bucket_kms_key_arn      = var.bucket_kms_key_arn
  queue_kms_key_arn       = aws_kms_key.this["queues"].arn
  log_kms_key_arn         = local.log_kms_key_arn
  environment_kms_key_arn = var.bucket_kms_key_arn

  log_retention_days = 365
  alarm_topic_arns   = var.alarm_topic_arns
  tags               = var.tags
}
