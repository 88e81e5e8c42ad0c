data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.region
  dns_suffix = data.aws_partition.current.dns_suffix

  service_uri     = "s3://${var.service.bucket}/${var.service.prefix}"
  batches_at_once = var.worker.fresh_concurrency + var.worker.bulk_concurrency

  # The dimension Service of the program's metrics: a name could be that of a service elsewhere.
  metrics_of = local.service_uri

  # SQS hands a message out again after this; Lambda asks for six times the function's timeout, so that
  # a batch that is throttled for a while is not worked on twice.
  visibility_per_timeout = 6

  # Kinds of workers in pods; each has a fresh and a bulk queue.
  classes     = toset(concat(sort(var.gpu_classes), var.ray_cpu ? ["ray-cpu"] : []))
  class_lanes = toset(flatten([for class in local.classes : ["${class}-fresh", "${class}-bulk"]]))
  # As service.json says it, and the planner is told.
  class_queues = { for class in local.classes : class => {
    queues = {
      fresh = module.class["${class}-fresh"].url
      bulk  = module.class["${class}-bulk"].url
    }
    dead_letters = {
      fresh = module.class["${class}-fresh"].dead_url
      bulk  = module.class["${class}-bulk"].dead_url
    }
    batches_at_once = var.class_batches_at_once
  } }

  names = { for kind in ["planner", "worker", "committer"] : kind => "${var.name}-${kind}" }

  environment = merge(
    var.environment,
    {
      LANCE_BACKFILL_SERVICE         = local.service_uri
      LANCE_BACKFILL_NAME            = local.metrics_of
      LANCE_BACKFILL_PLANS_QUEUE     = module.plans.url
      LANCE_BACKFILL_FRESH_QUEUE     = module.fresh.url
      LANCE_BACKFILL_BULK_QUEUE      = module.bulk.url
      LANCE_BACKFILL_COMMITS_QUEUE   = module.commits.url
      LANCE_BACKFILL_BATCHES_AT_ONCE = tostring(local.batches_at_once)
      LANCE_BACKFILL_LOG             = var.log_filter
    },
    local.encryption,
  )
  # Lance's store reads these. A bucket's default key encrypts without them; a bucket policy that
  # refuses writes without the header does not.
  encryption = { for name, value in {
    AWS_SERVER_SIDE_ENCRYPTION = "aws:kms"
    AWS_SSE_KMS_KEY_ID         = var.bucket_kms_key_arn
  } : name => value if var.bucket_kms_key_arn != null }
  # Names and ARNs; the values stay in Secrets Manager.
  secrets = length(var.secrets) > 0 ? { LANCE_BACKFILL_SECRETS = jsonencode(var.secrets) } : {}

  environments = {
    # What dies of the workers' batches the planner writes down as failed, so that people see it in the
    # table and can order it again.
    planner = merge(
      local.environment,
      {
        LANCE_BACKFILL_FRESH_DEAD_QUEUE = module.fresh.dead_url
        LANCE_BACKFILL_BULK_DEAD_QUEUE  = module.bulk.dead_url
      },
      length(local.classes) > 0 ? { LANCE_BACKFILL_CLASS_QUEUES = jsonencode(local.class_queues) } : {},
      var.column_metrics ? { LANCE_BACKFILL_COLUMN_METRICS = "1" } : {},
      var.batch_rows != null ? { LANCE_BACKFILL_BATCH_ROWS = tostring(var.batch_rows) } : {},
      var.first_probe_s != null ? { LANCE_BACKFILL_FIRST_PROBE_S = tostring(var.first_probe_s) } : {},
    )
    worker = merge(
      local.environment,
      local.secrets,
      # Functions that were registered for this image run in it.
      var.worker_image_uri != null ? { LANCE_BACKFILL_IMAGE = var.worker_image_uri } : {},
    )
    committer = local.environment
  }
  # The queues of pods are in service.json.
  pod_environment = merge(
    var.environment,
    {
      LANCE_BACKFILL_SERVICE = local.service_uri
      LANCE_BACKFILL_LOG     = var.log_filter
      AWS_REGION             = local.region
    },
    local.encryption,
    local.secrets,
  )

  functions = {
    planner   = module.planner
    worker    = module.worker
    committer = module.committer
  }

  queues = merge(
    {
      plans   = module.plans
      fresh   = module.fresh
      bulk    = module.bulk
      commits = module.commits
    },
    module.class,
  )
}

# ---- queues ------------------------------------------------------------------------------------------

# What is to be looked at: events of buckets, the schedule, plan messages.
module "plans" {
  source = "./modules/queue"

  name                   = "${var.name}-plans"
  visibility_timeout_s   = local.visibility_per_timeout * var.planner.timeout_s
  max_receive_count      = var.max_receive_count
  kms_key_arn            = var.queue_kms_key_arn
  policy_statements      = concat(module.events.queue_policy_statements, var.plans_queue_policy_statements)
  oldest_message_alarm_s = var.alarms.oldest_plan_s
  alarm_topic_arns       = var.alarm_topic_arns
  tags                   = var.tags
}

# Batches of new rows, which overtake those of a large backfill.
module "fresh" {
  source = "./modules/queue"

  name                 = "${var.name}-fresh"
  visibility_timeout_s = local.visibility_per_timeout * var.worker.timeout_s
  max_receive_count    = var.max_receive_count
  kms_key_arn          = var.queue_kms_key_arn
  alarm_topic_arns     = var.alarm_topic_arns
  tags                 = var.tags
}

# Batches of backfills.
module "bulk" {
  source = "./modules/queue"

  name                 = "${var.name}-bulk"
  visibility_timeout_s = local.visibility_per_timeout * var.worker.timeout_s
  max_receive_count    = var.max_receive_count
  kms_key_arn          = var.queue_kms_key_arn
  alarm_topic_arns     = var.alarm_topic_arns
  tags                 = var.tags
}

# Columns to publish; a table is a message group, so that one committer at a time works on it.
module "commits" {
  source = "./modules/queue"

  name                   = "${var.name}-commits"
  ordered                = true
  visibility_timeout_s   = local.visibility_per_timeout * var.committer.timeout_s
  max_receive_count      = var.max_receive_count
  kms_key_arn            = var.queue_kms_key_arn
  oldest_message_alarm_s = var.alarms.oldest_commit_s
  alarm_topic_arns       = var.alarm_topic_arns
  tags                   = var.tags
}

# Batches for pods, which receive them by themselves: of each kind of GPU, and of the CPUs of a Ray cluster.
module "class" {
  source   = "./modules/queue"
  for_each = local.class_lanes

  name                 = "${var.name}-${each.key}"
  visibility_timeout_s = var.class_visibility_timeout_s
  max_receive_count    = var.max_receive_count
  kms_key_arn          = var.queue_kms_key_arn
  alarm_topic_arns     = var.alarm_topic_arns
  tags                 = var.tags
}

# ---- functions ---------------------------------------------------------------------------------------

module "planner" {
  source = "./modules/function"

  name                 = local.names.planner
  handler              = "planner"
  release              = var.release
  architecture         = var.architecture
  memory_mb            = var.planner.memory_mb
  timeout_s            = var.planner.timeout_s
  reserved_concurrency = var.planner.reserved_concurrency
  recursive_loop       = var.planner.recursive_loop
  environment          = local.environments.planner

  sources = {
    plans = {
      queue_arn = module.plans.arn
      # Ten events of one table are one look at it.
      batch_size          = 10
      maximum_concurrency = var.planner.maximum_concurrency
    }
  }

  create_role             = !contains(keys(var.role_arns), "planner")
  role_arn                = lookup(var.role_arns, "planner", null)
  policy_json             = local.policies.planner
  iam_path                = var.iam_path
  permissions_boundary    = var.permissions_boundary
  vpc                     = var.vpc
  environment_kms_key_arn = var.environment_kms_key_arn
  log_retention_days      = var.log_retention_days
  log_kms_key_arn         = var.log_kms_key_arn
  alarm_topic_arns        = var.alarm_topic_arns
  tags                    = var.tags
}

module "worker" {
  source = "./modules/function"

  name                 = local.names.worker
  handler              = "worker"
  release              = var.release
  image_uri            = var.worker_image_uri
  architecture         = var.architecture
  memory_mb            = var.worker.memory_mb
  timeout_s            = var.worker.timeout_s
  ephemeral_storage_mb = var.worker.ephemeral_storage_mb
  reserved_concurrency = var.worker.reserved_concurrency
  recursive_loop       = var.worker.recursive_loop
  environment          = local.environments.worker

  # A batch is cut to fill an invocation, so each has one. A lane's bound keeps the other lane free.
  sources = {
    fresh = {
      queue_arn           = module.fresh.arn
      batch_size          = 1
      maximum_concurrency = var.worker.fresh_concurrency
    }
    bulk = {
      queue_arn           = module.bulk.arn
      batch_size          = 1
      maximum_concurrency = var.worker.bulk_concurrency
    }
  }

  create_role             = !contains(keys(var.role_arns), "worker")
  role_arn                = lookup(var.role_arns, "worker", null)
  policy_json             = local.policies.worker
  iam_path                = var.iam_path
  permissions_boundary    = var.permissions_boundary
  vpc                     = var.vpc
  environment_kms_key_arn = var.environment_kms_key_arn
  log_retention_days      = var.log_retention_days
  log_kms_key_arn         = var.log_kms_key_arn
  alarm_topic_arns        = var.alarm_topic_arns
  tags                    = var.tags
}

module "committer" {
  source = "./modules/function"

  name                 = local.names.committer
  handler              = "committer"
  release              = var.release
  architecture         = var.architecture
  memory_mb            = var.committer.memory_mb
  timeout_s            = var.committer.timeout_s
  reserved_concurrency = var.committer.reserved_concurrency
  recursive_loop       = var.committer.recursive_loop
  environment          = local.environments.committer

  sources = {
    commits = {
      queue_arn = module.commits.arn
      # The most that a FIFO queue gives: batches that finished together are one version.
      batch_size          = 10
      maximum_concurrency = var.committer.maximum_concurrency
    }
  }

  create_role             = !contains(keys(var.role_arns), "committer")
  role_arn                = lookup(var.role_arns, "committer", null)
  policy_json             = local.policies.committer
  iam_path                = var.iam_path
  permissions_boundary    = var.permissions_boundary
  vpc                     = var.vpc
  environment_kms_key_arn = var.environment_kms_key_arn
  log_retention_days      = var.log_retention_days
  log_kms_key_arn         = var.log_kms_key_arn
  alarm_topic_arns        = var.alarm_topic_arns
  tags                    = var.tags
}

# ---- what the command line reads to work with the service ---------------------------------------------

resource "aws_s3_object" "deployment" {
  bucket       = var.service.bucket
  key          = "${var.service.prefix}/service.json"
  content_type = "application/json"

  content = jsonencode({
    version = 1
    name    = var.name
    queues = {
      plans   = module.plans.url
      fresh   = module.fresh.url
      bulk    = module.bulk.url
      commits = module.commits.url
    }
    dead_letters = {
      plans   = module.plans.dead_url
      fresh   = module.fresh.dead_url
      bulk    = module.bulk.dead_url
      commits = module.commits.dead_url
    }
    # Only the image has Python, so that a column of this service can be refused when it is declared.
    python          = var.worker_image_uri != null
    secrets         = sort(keys(var.secrets))
    classes         = local.class_queues
    batches_at_once = local.batches_at_once
  })

  # As the functions do with each object: a bucket policy may demand the header.
  server_side_encryption = var.bucket_kms_key_arn == null ? null : "aws:kms"
  kms_key_id             = var.bucket_kms_key_arn

  tags = var.tags
}

# ---- what wakes it, and what watches it --------------------------------------------------------------

module "events" {
  source = "./modules/events"

  name                = var.name
  mode                = var.notification_mode
  tables              = var.tables
  queue_arn           = module.plans.arn
  schedule_expression = var.schedule_expression
  schedule_enabled    = var.schedule_enabled
  partition           = local.partition
  account_id          = local.account_id
  alarm_topic_arns    = var.alarm_topic_arns
  tags                = var.tags
}

module "monitoring" {
  source = "./modules/monitoring"

  name                = var.name
  service             = local.metrics_of
  region              = local.region
  oldest_row_alarm_s  = var.alarms.oldest_row_s
  oldest_row_period_s = var.alarms.oldest_row_period_s
  queues              = { for lane, queue in local.queues : lane => { name = queue.name, dead_name = queue.dead_name } }
  functions           = { for kind, function in local.functions : kind => function.name }
  alarm_topic_arns    = var.alarm_topic_arns
  tags                = var.tags
}
