locals {
  is_image = var.image_uri != null
  role_arn = var.create_role ? one(aws_iam_role.this[*].arn) : var.role_arn

  # Lambda speaks of digests in base64, releases in hexadecimal: three digits of one are two of the
  # other, and the last of the 64 stands alone.
  base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  release_sha256 = var.release.sha256 == null ? null : join("", concat(
    flatten([
      for place in range(0, 63, 3) : [
        substr(local.base64_digits, floor(parseint(substr(var.release.sha256, place, 3), 16) / 64), 1),
        substr(local.base64_digits, parseint(substr(var.release.sha256, place, 3), 16) % 64, 1),
      ]
    ]),
    [substr(local.base64_digits, parseint(substr(var.release.sha256, 63, 1), 16) * 4, 1), "="],
  ))
  file_sha256 = var.release.file == null ? null : filebase64sha256(var.release.file)
  sha256      = local.is_image ? null : coalesce(local.file_sha256, local.release_sha256)

  environment_bytes = sum(concat([0], [for name, value in var.environment : length(name) + length(value)]))
}

resource "aws_iam_role" "this" {
  count = var.create_role ? 1 : 0

  name                 = var.name
  path                 = var.iam_path
  permissions_boundary = var.permissions_boundary

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole"]
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })

  tags = var.tags
}

resource "aws_iam_role_policy" "this" {
  count = var.create_role ? 1 : 0

  name   = "service"
  role   = aws_iam_role.this[0].name
  policy = var.policy_json

  lifecycle {
    precondition {
      condition     = length(var.policy_json) <= 10240
      error_message = "The role's policy has ${length(var.policy_json)} characters, and IAM takes 10,240: name fewer tables and prefixes, or bring a role of your own."
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  # Lambda would make it by itself, and keep it for ever.
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  function_name = var.name
  description   = "The ${var.handler} of lance-backfill."
  role          = local.role_arn
  architectures = [var.architecture]
  memory_size   = var.memory_mb
  timeout       = var.timeout_s
  kms_key_arn   = var.environment_kms_key_arn

  # Null by default: a new account may run ten invocations at once, and Lambda refuses to reserve any.
  reserved_concurrent_executions = var.reserved_concurrency

  package_type = local.is_image ? "Image" : "Zip"

  image_uri = var.image_uri

  # The handler's name is what the one program reads to know what it is.
  handler           = local.is_image ? null : var.handler
  runtime           = local.is_image ? null : "provided.al2023"
  filename          = local.is_image ? null : var.release.file
  s3_bucket         = local.is_image ? null : var.release.bucket
  s3_key            = local.is_image ? null : var.release.key
  s3_object_version = local.is_image ? null : var.release.object_version

  # Unlike source_code_hash it is compared with what Lambda runs, so that a change by anybody else shows.
  code_sha256 = local.sha256

  dynamic "image_config" {
    for_each = local.is_image ? [var.handler] : []
    content {
      command = [image_config.value]
    }
  }

  environment {
    variables = var.environment
  }

  ephemeral_storage {
    size = var.ephemeral_storage_mb
  }

  # Text: the program writes JSON lines of its own, which Lambda's JSON format would wrap again.
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this.name
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]
    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  tags = var.tags

  # The role must be able to act before Lambda tries it.
  depends_on = [aws_iam_role_policy.this]

  lifecycle {
    precondition {
      condition     = local.environment_bytes <= 4096
      error_message = "The environment has ${local.environment_bytes} bytes, and Lambda takes 4,096: name fewer secrets, or set fewer variables."
    }

    # Else whoever can write the bucket of the release decides what runs. Lambda has the wrong bytes by
    # then, but nothing is mapped to a function that is new.
    postcondition {
      condition     = local.is_image || self.code_sha256 == local.sha256
      error_message = "Lambda got a zip with another SHA-256 than the release's."
    }
  }
}

# Lambda counts how often a chain of messages passes one function and by default ends it after about
# sixteen times. Planner, worker and committer are such a chain by design: a backfill of many pages
# passes each of them once a page. What must not run for ever is bounded in the program, where a
# message counts its hops and nothing is sent when no row is in need.
resource "aws_lambda_function_recursion_config" "this" {
  function_name  = aws_lambda_function.this.function_name
  recursive_loop = var.recursive_loop
}

resource "aws_lambda_event_source_mapping" "this" {
  for_each = var.sources

  event_source_arn = each.value.queue_arn
  function_name    = aws_lambda_function.this.arn
  batch_size       = each.value.batch_size

  # Without it one message that fails brings its whole batch back.
  function_response_types = ["ReportBatchItemFailures"]

  dynamic "scaling_config" {
    for_each = each.value.maximum_concurrency == null ? [] : [each.value.maximum_concurrency]
    content {
      maximum_concurrency = scaling_config.value
    }
  }

  tags = var.tags

  # Nothing is invoked before Lambda knows what to do with chains.
  depends_on = [aws_lambda_function_recursion_config.this]
}

locals {
  alarms = merge(
    {
      errors = {
        metric = "Errors"
        text   = "${var.name} crashed, ran out of memory or time. Its messages come again; look for the last lines before in its log."
      }
      throttles = {
        metric = "Throttles"
        text   = "${var.name} was refused invocations: the account's or the function's concurrency is used up, and each refusal costs its messages a delivery."
      }
    },
    { for name, alarm in {
      loops = {
        metric = "RecursiveInvocationsDropped"
        text   = "Lambda ended a chain of messages through ${var.name}, and work of a table lies in a dead-letter queue."
      }
    } : name => alarm if var.recursive_loop == "Terminate" },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = each.value.text

  namespace   = "AWS/Lambda"
  metric_name = each.value.metric
  dimensions  = { FunctionName = aws_lambda_function.this.function_name }

  # Twice in a quarter of an hour: one crash or refusal is retried and needs nobody.
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = var.tags
}
