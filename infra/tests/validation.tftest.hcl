# Input that cannot work is refused before anything is made.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  service = { bucket = "state" }
  tables  = { lake = { bucket = "lake" } }
  release = {
    bucket = "releases"
    key    = "bootstrap.zip"
    sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }
}

run "a_name_that_does_not_fit" {
  command = plan

  variables {
    name = "Too_Large"
  }

  expect_failures = [var.name]
}

run "a_service_in_a_table" {
  command = plan

  variables {
    service = { bucket = "lake", prefix = "x/_backfill" }
  }

  expect_failures = [var.service]
}

run "a_service_with_a_slash" {
  command = plan

  variables {
    service = { bucket = "lake", prefix = "/x" }
  }

  expect_failures = [var.service]
}

run "no_tables" {
  command = plan

  variables {
    tables = {}
  }

  expect_failures = [var.tables]
}

run "a_bucket_twice" {
  command = plan

  variables {
    tables = { a = { bucket = "lake" }, b = { bucket = "lake" } }
  }

  expect_failures = [var.tables]
}

run "a_prefix_without_a_slash" {
  command = plan

  variables {
    tables = { a = { bucket = "lake", prefixes = ["x"] } }
  }

  expect_failures = [var.tables]
}

run "a_prefix_with_a_star" {
  command = plan

  variables {
    tables = { a = { bucket = "lake", prefixes = ["x*/"] } }
  }

  expect_failures = [var.tables]
}

run "prefixes_that_overlap" {
  command = plan

  variables {
    tables = { a = { bucket = "lake", prefixes = ["x/", "x/y/"] } }
  }

  expect_failures = [var.tables]
}

run "a_bucket_without_a_prefix" {
  command = plan

  variables {
    tables = { a = { bucket = "lake", prefixes = [] } }
  }

  expect_failures = [var.tables]
}

run "an_unknown_mode" {
  command = plan

  variables {
    notification_mode = "sometimes"
  }

  expect_failures = [var.notification_mode]
}

run "a_schedule_that_is_none" {
  command = plan

  variables {
    schedule_expression = "5 minutes"
  }

  expect_failures = [var.schedule_expression]
}

run "a_release_without_a_digest" {
  command = plan

  variables {
    release = { bucket = "releases", key = "b.zip" }
  }

  expect_failures = [var.release]
}

run "a_release_that_is_two" {
  command = plan

  variables {
    release = { bucket = "releases", key = "b.zip", sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", file = "b.zip" }
  }

  expect_failures = [var.release]
}

run "a_digest_that_is_none" {
  command = plan

  variables {
    release = { bucket = "releases", key = "b.zip", sha256 = "47DEQpj8HBSa" }
  }

  expect_failures = [var.release]
}

run "an_image_by_tag" {
  command = plan

  variables {
    worker_image_uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker:latest"
  }

  expect_failures = [var.worker_image_uri]
}

run "an_image_of_somebody" {
  command = plan

  variables {
    worker_image_uri = "public.ecr.aws/x/worker@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }

  expect_failures = [var.worker_image_uri]
}

run "an_unknown_processor" {
  command = plan

  variables {
    architecture = "riscv"
  }

  expect_failures = [var.architecture]
}

run "a_timeout_beyond_lambda" {
  command = plan

  variables {
    worker = { timeout_s = 901 }
  }

  expect_failures = [var.worker]
}

run "a_lane_of_one" {
  command = plan

  variables {
    worker = { fresh_concurrency = 1 }
  }

  expect_failures = [var.worker]
}

run "lanes_beyond_what_is_reserved" {
  command = plan

  variables {
    worker = { fresh_concurrency = 5, bulk_concurrency = 6, reserved_concurrency = 10 }
  }

  expect_failures = [var.worker]
}

run "a_planner_beyond_what_is_reserved" {
  command = plan

  variables {
    planner = { reserved_concurrency = 1 }
  }

  expect_failures = [var.planner]
}

run "a_committer_that_loops_somehow" {
  command = plan

  variables {
    committer = { recursive_loop = "Maybe" }
  }

  expect_failures = [var.committer]
}

run "few_deliveries" {
  command = plan

  variables {
    max_receive_count = 4
  }

  expect_failures = [var.max_receive_count]
}

run "a_gpu_class_with_a_space" {
  command = plan

  variables {
    gpu_classes = ["L 4"]
  }

  expect_failures = [var.gpu_classes]
}

run "a_gpu_class_of_cpus" {
  command = plan

  variables {
    gpu_classes = ["ray-cpu"]
  }

  expect_failures = [var.gpu_classes]
}

run "a_role_of_nobody" {
  command = plan

  variables {
    role_arns = { cook = "arn:aws:iam::123456789012:role/c" }
  }

  expect_failures = [var.role_arns]
}

run "a_path_without_slashes" {
  command = plan

  variables {
    iam_path = "teams"
  }

  expect_failures = [var.iam_path]
}

run "a_network_without_subnets" {
  command = plan

  variables {
    vpc = { subnet_ids = [], security_group_ids = ["sg-1"] }
  }

  expect_failures = [var.vpc]
}

run "a_key_by_alias" {
  command = plan

  variables {
    queue_kms_key_arn = "alias/queues"
  }

  expect_failures = [var.queue_kms_key_arn]
}

run "a_secret_that_is_no_variable" {
  command = plan

  variables {
    secrets = { "openai-key" = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:openai-AbCdEf" }
  }

  expect_failures = [var.secrets]
}

run "all_secrets" {
  command = plan

  variables {
    secrets = { ALL = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:*" }
  }

  expect_failures = [var.secrets]
}

run "days_that_cloudwatch_does_not_know" {
  command = plan

  variables {
    log_retention_days = 31
  }

  expect_failures = [var.log_retention_days]
}

run "a_period_of_seconds" {
  command = plan

  variables {
    alarms = { oldest_row_period_s = 90 }
  }

  expect_failures = [var.alarms]
}

run "an_environment_of_ours" {
  command = plan

  variables {
    environment = { LANCE_BACKFILL_LOG = "debug" }
  }

  expect_failures = [var.environment]
}

run "half_a_row" {
  command = plan

  variables {
    batch_rows = 0.5
  }

  expect_failures = [var.batch_rows]
}

run "a_probe_at_once" {
  command = plan

  variables {
    first_probe_s = 0
  }

  expect_failures = [var.first_probe_s]
}
