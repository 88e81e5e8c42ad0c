# The whole module: queues, mappings, what is watched, what each role may do.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  service = { bucket = "state" }
  tables  = { lake = { bucket = "lake", prefixes = ["tables/"] }, old = { bucket = "old" } }
  release = {
    bucket = "releases"
    key    = "bootstrap.zip"
    sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }
  gpu_classes      = ["l4"]
  alarm_topic_arns = ["arn:aws:sns:eu-west-1:123456789012:alarms"]
}

run "queues_and_mappings" {
  assert {
    condition     = toset(keys(output.queues)) == toset(["plans", "fresh", "bulk", "commits", "l4-fresh", "l4-bulk"])
    error_message = "A lane is missing, or there is one too many."
  }

  assert {
    condition = alltrue(flatten([
      for function in output.functions : [
        for lane, mapping in function.mappings : output.queues[lane].visibility_timeout_s >= 6 * function.timeout_s
      ]
    ]))
    error_message = "A queue hides messages for less than six times the timeout of its function."
  }

  assert {
    condition     = alltrue([for queue in output.queues : queue.max_receive_count >= 5])
    error_message = "A queue gives up on messages that were perhaps only throttled."
  }

  assert {
    condition     = alltrue([for queue in output.queues : length(queue.alarm_names) > 0 && queue.dead_arn != null])
    error_message = "A queue has no dead-letter queue or no alarm."
  }

  assert {
    condition = alltrue(flatten([
      for function in output.functions : [
        for mapping in function.mappings : contains(mapping.response_types, "ReportBatchItemFailures")
      ]
    ]))
    error_message = "A mapping answers for whole batches."
  }

  assert {
    condition = {
      for kind, function in output.functions : kind => {
        for lane, mapping in function.mappings : lane => [mapping.queue_arn, mapping.batch_size, mapping.maximum_concurrency]
      }
      } == {
      planner = { plans = [output.queues.plans.arn, 10, 2] }
      worker = {
        fresh = [output.queues.fresh.arn, 1, 3]
        bulk  = [output.queues.bulk.arn, 1, 3]
      }
      committer = { commits = [output.queues.commits.arn, 10, 2] }
    }
    error_message = "A function has other queues, batches or bounds."
  }

  assert {
    condition     = endswith(output.queues.commits.name, ".fifo") && endswith(output.queues.commits.dead_name, ".fifo")
    error_message = "Commits and their dead letters are FIFO queues."
  }
}

run "environment" {
  variables {
    environment = { AWS_ENDPOINT_URL = "http://127.0.0.1:4566" }
  }

  assert {
    condition = module.committer.environment == tomap({
      AWS_ENDPOINT_URL               = "http://127.0.0.1:4566"
      LANCE_BACKFILL_SERVICE         = "s3://state/lance-backfill"
      LANCE_BACKFILL_NAME            = output.service
      LANCE_BACKFILL_PLANS_QUEUE     = output.queues.plans.url
      LANCE_BACKFILL_FRESH_QUEUE     = output.queues.fresh.url
      LANCE_BACKFILL_BULK_QUEUE      = output.queues.bulk.url
      LANCE_BACKFILL_COMMITS_QUEUE   = output.queues.commits.url
      LANCE_BACKFILL_BATCHES_AT_ONCE = "6"
      LANCE_BACKFILL_LOG             = "warn,lance_backfill=info"
    })
    error_message = "The committer has another environment than the program reads."
  }

  assert {
    condition = module.planner.environment == tomap(merge(module.committer.environment, {
      LANCE_BACKFILL_FRESH_DEAD_QUEUE = output.queues.fresh.dead_url
      LANCE_BACKFILL_BULK_DEAD_QUEUE  = output.queues.bulk.dead_url
      LANCE_BACKFILL_CLASS_QUEUES     = jsonencode(output.deployment.classes)
    }))
    error_message = "The planner does not know where batches die, or knows more than it should."
  }

  assert {
    condition     = module.worker.environment == module.committer.environment
    error_message = "Without secrets the worker knows what the committer knows."
  }

  assert {
    condition     = { for metric in jsondecode(module.monitoring.dashboard_body).widgets[0].properties.metrics : metric[2] => metric[3] } == { Service = module.planner.environment.LANCE_BACKFILL_NAME }
    error_message = "The program's metrics are looked for under another name than it writes."
  }
}

run "environment_by_wish" {
  variables {
    secrets        = { OPENAI_KEY = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:openai-AbCdEf" }
    column_metrics = true
  }

  assert {
    condition = (
      jsondecode(module.worker.environment.LANCE_BACKFILL_SECRETS) == { OPENAI_KEY = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:openai-AbCdEf" } &&
      !contains(keys(module.planner.environment), "LANCE_BACKFILL_SECRETS") && !contains(keys(module.committer.environment), "LANCE_BACKFILL_SECRETS")
    )
    error_message = "The worker, and only it, knows where the secrets are."
  }

  assert {
    condition     = module.planner.environment.LANCE_BACKFILL_COLUMN_METRICS == "1"
    error_message = "The planner is not told to write metrics of columns."
  }
}

run "deployment" {
  variables {
    secrets            = { OPENAI_KEY = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:openai-AbCdEf" }
    bucket_kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/bucket"
    worker_image_uri   = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }

  # The stored form that the command line reads: lance_backfill_core::deployment.
  assert {
    condition = jsonencode(output.deployment) == jsonencode({
      version = 1
      name    = "lance-backfill"
      queues = {
        plans   = output.queues.plans.url
        fresh   = output.queues.fresh.url
        bulk    = output.queues.bulk.url
        commits = output.queues.commits.url
      }
      dead_letters = {
        plans   = output.queues.plans.dead_url
        fresh   = output.queues.fresh.dead_url
        bulk    = output.queues.bulk.dead_url
        commits = output.queues.commits.dead_url
      }
      python  = true
      secrets = ["OPENAI_KEY"]
      classes = {
        l4 = {
          queues          = { fresh = output.queues.l4-fresh.url, bulk = output.queues.l4-bulk.url }
          dead_letters    = { fresh = output.queues.l4-fresh.dead_url, bulk = output.queues.l4-bulk.dead_url }
          batches_at_once = 8
        }
      }
      batches_at_once = 6
    })
    error_message = "The command line is told something else: ${jsonencode(output.deployment)}"
  }

  assert {
    condition = (
      aws_s3_object.deployment.bucket == "state" && aws_s3_object.deployment.key == "lance-backfill/service.json" &&
      aws_s3_object.deployment.server_side_encryption == "aws:kms" && aws_s3_object.deployment.kms_key_id == var.bucket_kms_key_arn
    )
    error_message = "It lies elsewhere, or without the key of the bucket."
  }
}

run "alarms_on_everything" {
  assert {
    condition = toset(output.alarm_names) == toset([
      "lance-backfill-bulk-dead-letters",
      "lance-backfill-commits-dead-letters",
      "lance-backfill-commits-oldest-message",
      "lance-backfill-commits-stalled",
      "lance-backfill-committer-errors",
      "lance-backfill-committer-throttles",
      "lance-backfill-fresh-dead-letters",
      "lance-backfill-l4-bulk-dead-letters",
      "lance-backfill-l4-fresh-dead-letters",
      "lance-backfill-oldest-row-in-need",
      "lance-backfill-planner-errors",
      "lance-backfill-planner-throttles",
      "lance-backfill-plans-dead-letters",
      "lance-backfill-plans-failed",
      "lance-backfill-plans-oldest-message",
      "lance-backfill-schedule-undelivered",
      "lance-backfill-worker-errors",
      "lance-backfill-worker-throttles",
      "lance-backfill-written-lake-undelivered",
      "lance-backfill-written-old-undelivered",
    ])
    error_message = "Alarms: ${jsonencode(output.alarm_names)}"
  }

  assert {
    condition     = length(jsondecode(module.monitoring.dashboard_body).widgets) == 10
    error_message = "The dashboard has lost or won a widget: its arrangement is for ten."
  }
}

run "no_wildcard_actions" {
  # With all that adds statements.
  variables {
    vpc                = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
    secrets            = { CAPTION_KEY = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:caption-key-AbCdEf" }
    bucket_kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/bucket"
    queue_kms_key_arn  = "arn:aws:kms:eu-west-1:123456789012:key/queues"
    log_kms_key_arn    = "arn:aws:kms:eu-west-1:123456789012:key/logs"
  }

  assert {
    condition = alltrue([
      for statement in flatten(concat(
        [for policy in concat(values(output.policies), [output.pod_policy, output.operator_policy]) : jsondecode(policy).Statement],
        [for queue in concat([module.plans, module.fresh, module.bulk, module.commits], values(module.class)) : [
          for policy in queue.policies : jsondecode(policy).Statement
        ]],
        [for function in [module.planner, module.worker, module.committer] : jsondecode(function.trust_policy).Statement],
        [for statements in output.kms_key_policy_statements : jsondecode(statements)],
      )) :
      alltrue([for action in statement.Action : can(regex("^[a-z0-9]+:[A-Za-z]+$", action))]) && !contains(keys(statement), "NotAction")
    ])
    error_message = "A policy has a wildcard action."
  }

  assert {
    condition = toset(flatten([
      for policy in concat(values(output.policies), [output.pod_policy, output.operator_policy]) : [
        for statement in jsondecode(policy).Statement : statement.Sid if contains(statement.Resource, "*")
      ]
    ])) == toset(["NetworkOfLambda", "NetworkNotOfTheFunction"])
    error_message = "A statement other than those of the network is about every resource."
  }

  # The functions talk to S3, SQS and Secrets Manager, and nothing else; Lambda itself writes their logs
  # and makes their interfaces, and keys are used through S3 and SQS.
  assert {
    condition = toset(flatten([
      for policy in values(output.policies) : [
        for statement in jsondecode(policy).Statement : [for action in statement.Action : split(":", action)[0]]
      ]
    ])) == toset(["ec2", "kms", "logs", "s3", "secretsmanager", "sqs"])
    error_message = "A function may talk to another service."
  }

  assert {
    condition     = alltrue([for policy in values(output.policies) : length(policy) <= 10240])
    error_message = "A policy is too long for a role."
  }
}

run "who_may_do_what" {
  variables {
    secrets             = { CAPTION_KEY = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:caption-key-AbCdEf" }
    read_only_locations = [{ bucket = "pictures" }]
  }

  assert {
    condition = jsonencode({
      for kind, policy in merge(output.policies, { pod = output.pod_policy }) : kind => {
        for statement in jsondecode(policy).Statement : statement.Sid => sort(statement.Resource) if contains(["WriteTables", "DeleteOwn"], statement.Sid)
      }
      }) == jsonencode({
      planner = {
        WriteTables = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::lake/tables/*/_transactions/*", "arn:aws:s3:::lake/tables/*/_versions/*", "arn:aws:s3:::old/*/_backfill/*", "arn:aws:s3:::old/*/_transactions/*", "arn:aws:s3:::old/*/_versions/*"]
        DeleteOwn   = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::old/*/_backfill/*"]
      }
      worker = {
        WriteTables = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::lake/tables/*/data/*", "arn:aws:s3:::old/*/_backfill/*", "arn:aws:s3:::old/*/data/*"]
        DeleteOwn   = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::lake/tables/*/data/*", "arn:aws:s3:::old/*/_backfill/*", "arn:aws:s3:::old/*/data/*"]
      }
      committer = {
        WriteTables = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::lake/tables/*/_transactions/*", "arn:aws:s3:::lake/tables/*/_versions/*", "arn:aws:s3:::lake/tables/*/data/*", "arn:aws:s3:::old/*/_backfill/*", "arn:aws:s3:::old/*/_transactions/*", "arn:aws:s3:::old/*/_versions/*", "arn:aws:s3:::old/*/data/*"]
        DeleteOwn   = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::lake/tables/*/_transactions/*", "arn:aws:s3:::old/*/_backfill/*", "arn:aws:s3:::old/*/_transactions/*"]
      }
      pod = {
        WriteTables = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::lake/tables/*/data/*", "arn:aws:s3:::old/*/_backfill/*", "arn:aws:s3:::old/*/data/*"]
        DeleteOwn   = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::lake/tables/*/data/*", "arn:aws:s3:::old/*/_backfill/*", "arn:aws:s3:::old/*/data/*"]
      }
    })
    error_message = "A function writes or deletes elsewhere."
  }

  assert {
    condition = jsonencode({
      for kind, policy in merge(output.policies, { pod = output.pod_policy }) : kind => {
        for statement in jsondecode(policy).Statement : statement.Sid => sort(statement.Resource) if contains(["Receive", "Send"], statement.Sid)
      }
      }) == jsonencode({
      planner = {
        Receive = [output.queues.plans.arn]
        Send    = sort([output.queues.plans.arn, output.queues.fresh.arn, output.queues.bulk.arn, output.queues.commits.arn, output.queues.l4-fresh.arn, output.queues.l4-bulk.arn])
      }
      worker    = { Receive = sort([output.queues.fresh.arn, output.queues.bulk.arn]), Send = [output.queues.commits.arn] }
      committer = { Receive = [output.queues.commits.arn], Send = [output.queues.plans.arn] }
      pod       = { Receive = sort([output.queues.l4-fresh.arn, output.queues.l4-bulk.arn]), Send = [output.queues.commits.arn] }
    })
    error_message = "A function receives from or sends to other queues."
  }

  assert {
    condition = jsonencode({
      for kind, policy in merge(output.policies, { pod = output.pod_policy }) : kind => flatten([
        for statement in jsondecode(policy).Statement : sort(statement.Resource) if statement.Sid == "BuryDeadBatches"
      ])
      }) == jsonencode({
      planner   = sort([output.queues.fresh.dead_arn, output.queues.bulk.dead_arn, output.queues.l4-fresh.dead_arn, output.queues.l4-bulk.dead_arn])
      worker    = []
      committer = []
      pod       = []
    })
    error_message = "Only the planner takes dead batches, and only of the workers' queues."
  }

  # Who works looks whether spending is stopped; the committer spends nothing.
  assert {
    condition = alltrue([
      for kind, policy in merge(output.policies, { pod = output.pod_policy }) :
      contains(jsondecode(policy).Statement[*].Sid, "ReadPaused") == (kind != "committer")
    ])
    error_message = "Planner and workers must see that the service is paused."
  }

  # Nobody writes what is run: functions and environments.
  assert {
    condition = alltrue(flatten([
      for policy in concat(values(output.policies), [output.pod_policy]) : [
        for statement in jsondecode(policy).Statement : [
          for resource in statement.Resource : contains(["arn:aws:s3:::state/lance-backfill/tables/*", "arn:aws:s3:::state/lance-backfill/workers/*"], resource)
          if contains(statement.Action, "s3:PutObject") && startswith(resource, "arn:aws:s3:::state/")
        ]
      ]
    ]))
    error_message = "A function may write to the service's artifacts."
  }

  assert {
    condition = alltrue([
      for kind, policy in merge(output.policies, { pod = output.pod_policy }) :
      contains(jsondecode(policy).Statement[*].Sid, "ReadSecrets") == contains(["worker", "pod"], kind)
    ])
    error_message = "Only workers read secrets."
  }

  # What can be run at all is in service.json: without it a Python function is neither run nor refused.
  assert {
    condition = alltrue([
      for policy in concat(values(output.policies), [output.pod_policy, output.pool_controller_policy]) : anytrue(flatten([
        for statement in jsondecode(policy).Statement : [
          for resource in statement.Resource : resource == "arn:aws:s3:::state/lance-backfill/service.json" && contains(statement.Action, "s3:GetObject")
        ]
      ]))
    ])
    error_message = "Somebody cannot read what the service is."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.pool_controller_policy).Statement : statement.Action
    ])) == toset(["s3:GetObject", "s3:ListBucket", "sqs:GetQueueAttributes"])
    error_message = "The controller of the pods may do more than look."
  }

  assert {
    condition = alltrue([
      for policy in values(output.policies) :
      length([for statement in jsondecode(policy).Statement : statement if startswith(statement.Action[0], "kms:") || startswith(statement.Action[0], "ec2:")]) == 0
    ])
    error_message = "Without keys and VPC there are no rights of theirs."
  }

  assert {
    condition = alltrue([
      for kind, policy in output.policies : alltrue([
        for statement in jsondecode(policy).Statement :
        statement.Resource == ["arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/lance-backfill-${kind}:*"] if statement.Sid == "WriteLog"
      ])
    ])
    error_message = "A function writes to another log."
  }

  # A list below a table's prefix only; see policies.tf for IfExists.
  assert {
    condition = [
      for statement in jsondecode(output.policies.worker).Statement : try(statement.Condition.StringLikeIfExists["s3:prefix"], null)
      if statement.Action == ["s3:ListBucket"]
    ] == [["tables/*"], null, null, ["lance-backfill/*"]]
    error_message = "A bucket is listed elsewhere."
  }
}

run "an_operator" {
  assert {
    condition = jsonencode({
      for statement in jsondecode(output.operator_policy).Statement : statement.Sid => sort(statement.Resource)
      if !startswith(statement.Sid, "List")
      }) == jsonencode({
      DeleteOwn   = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::lake/tables/*/_transactions/*", "arn:aws:s3:::old/*/_backfill/*", "arn:aws:s3:::old/*/_transactions/*"]
      ReadService = ["arn:aws:s3:::state/lance-backfill/*"]
      ReadTables  = ["arn:aws:s3:::lake/tables/*", "arn:aws:s3:::old/*"]
      RedriveFrom = sort([for queue in output.queues : queue.dead_arn])
      SeeQueues   = sort(flatten([for queue in output.queues : [queue.arn, queue.dead_arn]]))
      Send        = sort([for queue in output.queues : queue.arn])
      UnregisterAndResume = [
        "arn:aws:s3:::state/lance-backfill/paused.json",
        "arn:aws:s3:::state/lance-backfill/tables/*",
      ]
      WriteService = [
        "arn:aws:s3:::state/lance-backfill/artifacts/*",
        "arn:aws:s3:::state/lance-backfill/environments/*",
        "arn:aws:s3:::state/lance-backfill/functions/*",
        "arn:aws:s3:::state/lance-backfill/paused.json",
        "arn:aws:s3:::state/lance-backfill/tables/*",
        "arn:aws:s3:::state/lance-backfill/wheels/*",
      ]
      WriteTables = ["arn:aws:s3:::lake/tables/*/_backfill/*", "arn:aws:s3:::lake/tables/*/_transactions/*", "arn:aws:s3:::lake/tables/*/_versions/*", "arn:aws:s3:::old/*/_backfill/*", "arn:aws:s3:::old/*/_transactions/*", "arn:aws:s3:::old/*/_versions/*"]
    })
    error_message = "An operator may do more or less than the command line does."
  }

  # A managed policy of IAM has so many characters.
  assert {
    condition     = length(output.operator_policy) <= 6144
    error_message = "The policy is too long to attach."
  }
}

run "roles_that_exist" {
  variables {
    role_arns = {
      planner   = "arn:aws:iam::123456789012:role/p"
      worker    = "arn:aws:iam::123456789012:role/w"
      committer = "arn:aws:iam::123456789012:role/c"
    }
  }

  assert {
    condition     = { for kind, function in output.functions : kind => [function.role_created, function.role_arn] } == { for kind, arn in var.role_arns : kind => [false, arn] }
    error_message = "A role is created, or another one used."
  }

  assert {
    condition     = toset(keys(output.policies)) == toset(["planner", "worker", "committer"])
    error_message = "It is not said what the roles need."
  }
}

run "one_role_that_exists" {
  variables {
    role_arns = { worker = "arn:aws:iam::123456789012:role/w" }
  }

  assert {
    condition     = { for kind, function in output.functions : kind => function.role_created } == { planner = true, worker = false, committer = true }
    error_message = "Each role is chosen for itself."
  }
}

run "customer_keys" {
  variables {
    bucket_kms_key_arn      = "arn:aws:kms:eu-west-1:123456789012:key/bucket"
    queue_kms_key_arn       = "arn:aws:kms:eu-west-1:123456789012:key/queues"
    log_kms_key_arn         = "arn:aws:kms:eu-west-1:123456789012:key/logs"
    environment_kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/environment"
  }

  assert {
    condition = alltrue(flatten([
      for queue in concat([module.plans, module.fresh, module.bulk, module.commits], values(module.class)) : [
        for key in queue.encryption : key == var.queue_kms_key_arn
      ]
    ]))
    error_message = "A queue or its dead-letter queue is not encrypted with the customer's key."
  }

  assert {
    condition = alltrue([
      for function in [module.planner, module.worker, module.committer] :
      function.kms_keys == { environment = var.environment_kms_key_arn, log = var.log_kms_key_arn }
    ])
    error_message = "A function's environment or log is not encrypted with the customer's key."
  }

  assert {
    condition = alltrue([
      for function in [module.planner, module.worker, module.committer] :
      function.environment.AWS_SERVER_SIDE_ENCRYPTION == "aws:kms" && function.environment.AWS_SSE_KMS_KEY_ID == var.bucket_kms_key_arn
    ])
    error_message = "A function does not ask S3 for the customer's key."
  }

  assert {
    condition = alltrue([
      for policy in concat(values(output.policies), [output.pod_policy]) : anytrue([
        for statement in jsondecode(policy).Statement :
        toset(statement.Resource) == toset([var.bucket_kms_key_arn, var.queue_kms_key_arn]) if statement.Sid == "UseKeys"
      ])
    ])
    error_message = "A role may not use the keys."
  }

  assert {
    condition     = jsondecode(output.kms_key_policy_statements.queues)[0].Principal.Service == ["events.amazonaws.com", "s3.amazonaws.com"]
    error_message = "Nobody tells what S3 and EventBridge need."
  }
}

run "worker_image" {
  variables {
    worker_image_uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }

  assert {
    condition     = [module.planner.package_type, module.worker.package_type, module.committer.package_type] == ["Zip", "Image", "Zip"]
    error_message = "Only the worker runs an image."
  }

  assert {
    condition = (
      module.worker.environment.LANCE_BACKFILL_IMAGE == var.worker_image_uri &&
      !contains(keys(module.planner.environment), "LANCE_BACKFILL_IMAGE")
    )
    error_message = "The worker does not know its image, and would refuse functions that were registered for it."
  }

  assert {
    condition     = module.planner.code_sha256 == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    error_message = "The digest is turned into base64 wrongly: ${module.planner.code_sha256}"
  }
}

run "network" {
  variables {
    vpc = { subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = ["sg-1"] }
  }

  assert {
    condition     = alltrue([for function in [module.planner, module.worker, module.committer] : toset(function.subnet_ids) == toset(["subnet-1", "subnet-2"])])
    error_message = "A function is not in the VPC."
  }

  assert {
    condition = alltrue([
      for policy in values(output.policies) : [
        for statement in jsondecode(policy).Statement : statement.Effect if startswith(statement.Action[0], "ec2:")
      ] == ["Allow", "Deny"]
    ])
    error_message = "The function itself must be refused what Lambda does with its role."
  }
}

run "timeouts_move_with_their_queues" {
  variables {
    worker    = { timeout_s = 900 }
    committer = { timeout_s = 60 }
  }

  assert {
    condition     = [for lane in ["fresh", "bulk", "commits"] : output.queues[lane].visibility_timeout_s] == [5400, 5400, 360]
    error_message = "Visibility does not follow the timeout."
  }
}

run "without_classes" {
  variables {
    gpu_classes = []
  }

  assert {
    condition = (
      length(output.class_queues) == 0 && output.pod_policy == null && output.pool_controller_policy == null &&
      length(output.queues) == 4 && !contains(keys(module.planner.environment), "LANCE_BACKFILL_CLASS_QUEUES") &&
      length(output.deployment.classes) == 0
    )
    error_message = "There is something for pods, although nobody asked."
  }
}

run "cpu_workers_of_a_ray_cluster" {
  variables {
    ray_cpu               = true
    class_batches_at_once = 20
  }

  assert {
    condition = (
      keys(output.class_queues) == ["l4", "ray-cpu"] && contains(keys(output.queues), "ray-cpu-fresh") &&
      jsondecode(module.planner.environment.LANCE_BACKFILL_CLASS_QUEUES)["ray-cpu"].batches_at_once == 20
    )
    error_message = "The class ray-cpu is not there, or the planner does not know it."
  }
}

run "what_pods_are_told" {
  variables {
    secrets            = { CAPTION_KEY = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:caption-key-AbCdEf" }
    bucket_kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/bucket"
  }

  assert {
    condition = output.pod_environment == tomap({
      LANCE_BACKFILL_SERVICE     = output.service
      LANCE_BACKFILL_SECRETS     = jsonencode(var.secrets)
      LANCE_BACKFILL_LOG         = "warn,lance_backfill=info"
      AWS_REGION                 = "eu-west-1"
      AWS_SERVER_SIDE_ENCRYPTION = "aws:kms"
      AWS_SSE_KMS_KEY_ID         = var.bucket_kms_key_arn
    })
    error_message = "Pods are told something else: ${jsonencode(output.pod_environment)}"
  }
}
