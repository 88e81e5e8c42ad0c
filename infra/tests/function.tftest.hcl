# A function, attribute by attribute.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name        = "s-worker"
  handler     = "worker"
  release     = { bucket = "releases", key = "b.zip", sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" }
  memory_mb   = 1769
  timeout_s   = 60
  environment = { LANCE_BACKFILL_LOG = "info" }
  sources     = { fresh = { queue_arn = "arn:aws:sqs:eu-west-1:123456789012:fresh", batch_size = 1 } }
  policy_json = "{}"
}

run "zip" {
  module {
    source = "./modules/function"
  }

  assert {
    condition = (
      aws_lambda_function.this.runtime == "provided.al2023" && aws_lambda_function.this.handler == "worker" &&
      aws_lambda_function.this.s3_key == "b.zip" && aws_lambda_function.this.image_uri == null && length(aws_lambda_function.this.image_config) == 0
    )
    error_message = "It does not run the zip."
  }

  assert {
    condition     = aws_lambda_function.this.reserved_concurrent_executions == null && length(aws_lambda_function.this.vpc_config) == 0
    error_message = "It reserves invocations or has a network, although nobody asked."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/lambda/s-worker" && aws_cloudwatch_log_group.this.retention_in_days == 30
    error_message = "Its log has another name, or is kept for ever."
  }

  assert {
    condition     = aws_lambda_function_recursion_config.this.recursive_loop == "Allow" && toset(keys(aws_cloudwatch_metric_alarm.this)) == toset(["errors", "throttles"])
    error_message = "Chains of messages are ended, or something is not watched."
  }

  assert {
    condition     = alltrue([for mapping in aws_lambda_event_source_mapping.this : mapping.function_response_types == toset(["ReportBatchItemFailures"])])
    error_message = "One message that fails brings all back."
  }
}

run "digest_of_the_release" {
  module {
    source = "./modules/function"
  }

  variables {
    release = { bucket = "releases", key = "b.zip", sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" }
  }

  assert {
    condition     = aws_lambda_function.this.code_sha256 == "ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8="
    error_message = "In base64 it is ${aws_lambda_function.this.code_sha256}."
  }
}

run "digest_of_a_file" {
  module {
    source = "./modules/function"
  }

  variables {
    release = { file = "tests/function.tftest.hcl" }
  }

  assert {
    condition     = aws_lambda_function.this.code_sha256 == filebase64sha256("tests/function.tftest.hcl") && aws_lambda_function.this.s3_bucket == null
    error_message = "The file is not what runs."
  }
}

run "image" {
  module {
    source = "./modules/function"
  }

  variables {
    image_uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }

  assert {
    condition = (
      aws_lambda_function.this.package_type == "Image" && aws_lambda_function.this.image_uri == var.image_uri && aws_lambda_function.this.image_config[0].command == tolist(["worker"]) &&
      aws_lambda_function.this.s3_bucket == null && aws_lambda_function.this.handler == null && aws_lambda_function.this.runtime == null
    )
    error_message = "It does not run the image as a worker."
  }
}

run "bounded_role" {
  module {
    source = "./modules/function"
  }

  variables {
    iam_path             = "/teams/data/"
    permissions_boundary = "arn:aws:iam::123456789012:policy/boundary"
    recursive_loop       = "Terminate"
  }

  assert {
    condition     = aws_iam_role.this[0].path == var.iam_path && aws_iam_role.this[0].permissions_boundary == var.permissions_boundary
    error_message = "The role has another path or no boundary."
  }

  assert {
    condition     = contains(keys(aws_cloudwatch_metric_alarm.this), "loops")
    error_message = "Nobody hears of a chain that Lambda ended."
  }
}

run "role_that_exists" {
  module {
    source = "./modules/function"
  }

  variables {
    create_role = false
    role_arn    = "arn:aws:iam::123456789012:role/w"
  }

  assert {
    condition     = length(aws_iam_role.this) == 0 && length(aws_iam_role_policy.this) == 0 && aws_lambda_function.this.role == var.role_arn
    error_message = "A role or policy is made beside the one that exists."
  }
}

run "environment_that_is_too_large" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    environment = { for place in range(64) : "SECRET_${place}" => join("", [for again in range(6) : "0123456789"]) }
  }

  expect_failures = [aws_lambda_function.this]
}

run "policy_that_is_too_long" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    policy_json = join("", [for place in range(1000) : "01234567890"])
  }

  expect_failures = [aws_iam_role_policy.this]
}
