# ---- the service and its tables ----------------------------------------------------------------------

variable "name" {
  description = "Prefix of all names; one for each service in an account and region."
  type        = string
  default     = "lance-backfill"

  # What is built from it has 64 characters at most as a role or rule, and 80 as a queue.
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,37}$", var.name))
    error_message = "The name starts with a small letter, and has up to 38 small letters, digits and hyphens."
  }
}

variable "service" {
  description = "Where the service keeps its own state: the registry of its tables, and registered functions with their environments. Whoever can write here decides what runs in the worker's role, so best in a bucket that writers of tables cannot write to."
  type = object({
    bucket = string
    prefix = optional(string, "lance-backfill")
  })

  validation {
    condition     = can(regex("^[A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*$", var.service.prefix))
    error_message = "The prefix is one or more folders of letters, digits and _.=-, without a slash at either end."
  }

  # The functions may write to folders of these names, wherever they are below a table's prefix.
  validation {
    condition     = length(setintersection(split("/", var.service.prefix), ["_backfill", "_transactions", "_versions", "data"])) == 0
    error_message = "No folder of the service's prefix may be named as one of a table: _backfill, _transactions, _versions or data."
  }
}

variable "tables" {
  description = "Buckets and, in each, prefixes in which tables lie, under names of your choice. A prefix is the folder above the tables; the empty one, the default, is the whole bucket. Functions reach nothing else."
  type = map(object({
    bucket   = string
    prefixes = optional(list(string), [""])
  }))

  validation {
    condition     = length(var.tables) > 0
    error_message = "The service needs at least one bucket with tables."
  }

  validation {
    condition     = alltrue([for name in keys(var.tables) : can(regex("^[a-z0-9-]{1,12}$", name))])
    error_message = "The names in tables have 1 to 12 small letters, digits and hyphens."
  }

  validation {
    condition     = length(distinct([for table in var.tables : table.bucket])) == length(var.tables)
    error_message = "Name each bucket once, with all of its prefixes: it has only one notification configuration."
  }

  # * and ? mean something in a policy and in a pattern of EventBridge, and $ in a policy.
  validation {
    condition     = alltrue(flatten([for table in var.tables : [for prefix in table.prefixes : prefix == "" || can(regex("^[^/*?$\\\\][^*?$\\\\]*/$", prefix))]]))
    error_message = "A prefix is empty, or ends with a slash, does not start with one, and has none of *?$\\ in it."
  }

  validation {
    condition     = alltrue([for table in var.tables : length(table.prefixes) > 0])
    error_message = "A bucket needs at least one prefix; the empty one is the whole bucket."
  }

  # S3 refuses notifications of one event that overlap.
  validation {
    condition = alltrue(flatten([for table in var.tables : [
      for place, prefix in table.prefixes : [
        for other_place, other in table.prefixes : place == other_place || !startswith(other, prefix)
      ]
    ]]))
    error_message = "No prefix of a bucket may lie in another one."
  }
}

variable "read_only_locations" {
  description = "Buckets and prefixes that workers may read besides the tables: blobs stored outside, and the data of tables that are clones."
  type = list(object({
    bucket   = string
    prefixes = optional(list(string), [""])
  }))
  default = []
}

variable "notification_mode" {
  description = "How new versions of tables are told: managed (this module owns the notifications of the buckets), eventbridge (the buckets send to EventBridge, and rules of this module pick), external (you wire them), none (the schedule finds them)."
  type        = string
  default     = "eventbridge"

  validation {
    condition     = contains(["managed", "eventbridge", "external", "none"], var.notification_mode)
    error_message = "notification_mode is managed, eventbridge, external or none."
  }
}

variable "schedule_expression" {
  description = "When the service looks at all of its tables, for what no event told of."
  type        = string
  default     = "rate(5 minutes)"

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.schedule_expression))
    error_message = "The schedule is rate(…) or cron(…)."
  }
}

variable "schedule_enabled" {
  description = "Whether the schedule runs."
  type        = bool
  default     = true
}

variable "plans_queue_policy_statements" {
  description = "Further statements of the planner's queue policy, without a resource: who else may send events to it, as a topic that fans out a bucket's notifications."
  type        = any
  default     = []
}

# ---- the program -------------------------------------------------------------------------------------

variable "release" {
  description = "The program, a zip with bootstrap in it: bucket, key and sha256 (hexadecimal) of a release, or file, a path on this machine, to try something out."
  type = object({
    bucket         = optional(string)
    key            = optional(string)
    object_version = optional(string)
    sha256         = optional(string)
    file           = optional(string)
  })

  validation {
    condition = (
      var.release.file == null
      ? var.release.bucket != null && var.release.key != null && var.release.sha256 != null
      : var.release.bucket == null && var.release.key == null && var.release.sha256 == null && var.release.object_version == null
    )
    error_message = "release has bucket, key and sha256, or file alone."
  }

  validation {
    condition     = var.release.sha256 == null || can(regex("^[0-9a-f]{64}$", var.release.sha256))
    error_message = "sha256 is 64 hexadecimal digits in small letters, as sha256sum prints them."
  }
}

variable "batch_rows" {
  description = "Most rows of a batch; without, batches are cut by time alone. For functions whose rows take unlike times."
  type        = number
  default     = null

  validation {
    condition     = var.batch_rows == null || try(var.batch_rows >= 1 && floor(var.batch_rows) == var.batch_rows, false)
    error_message = "batch_rows is a whole number of at least 1."
  }
}

variable "first_probe_s" {
  description = "Wait before the first probe of a column whose function could not be called; each further wait is twice as long, up to an hour. Null is 60."
  type        = number
  default     = null

  validation {
    condition     = var.first_probe_s == null || try(var.first_probe_s >= 1 && var.first_probe_s <= 3600 && floor(var.first_probe_s) == var.first_probe_s, false)
    error_message = "first_probe_s is a whole number from 1 to 3600."
  }
}

variable "worker_image_uri" {
  description = "Image of the worker with Python, for Python functions: of a private ECR repository and by digest. Null runs the zip, which knows SQL expressions only."
  type        = string
  default     = null

  # A tag can be moved, and with it what runs in the worker's role.
  validation {
    condition     = var.worker_image_uri == null || can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$", var.worker_image_uri))
    error_message = "The image is of a private ECR repository and named by its digest: ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:DIGEST."
  }
}

variable "architecture" {
  description = "Processor that the program was built for."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture is x86_64 or arm64."
  }
}

variable "log_filter" {
  description = "What the functions log (LANCE_BACKFILL_LOG)."
  type        = string
  default     = "warn,lance_backfill=info"
}

variable "environment" {
  description = "Further environment variables of all functions, as AWS_ENDPOINT_URL on an emulator. None may be secret."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : !startswith(name, "LANCE_BACKFILL_")])
    error_message = "The variables LANCE_BACKFILL_… follow from the other inputs."
  }
}

# ---- the functions -----------------------------------------------------------------------------------

variable "planner" {
  description = "Size of the planner. recursive_loop is what Lambda does with long chains of messages: see modules/function."
  type = object({
    memory_mb            = optional(number, 1769)
    timeout_s            = optional(number, 120)
    maximum_concurrency  = optional(number, 2)
    reserved_concurrency = optional(number)
    recursive_loop       = optional(string, "Allow")
  })
  default = {}

  validation {
    condition     = var.planner.memory_mb >= 128 && var.planner.memory_mb <= 10240 && var.planner.timeout_s >= 10 && var.planner.timeout_s <= 900
    error_message = "Lambda has 128 to 10,240 MB, and 900 s at most; under 10 s nothing gets done."
  }

  validation {
    condition     = var.planner.maximum_concurrency >= 2 && var.planner.maximum_concurrency <= 1000
    error_message = "maximum_concurrency is 2 to 1,000."
  }

  validation {
    condition     = var.planner.reserved_concurrency == null ? true : var.planner.reserved_concurrency >= var.planner.maximum_concurrency
    error_message = "Reserve at least maximum_concurrency, or messages are throttled into the dead-letter queue."
  }

  validation {
    condition     = contains(["Allow", "Terminate"], var.planner.recursive_loop)
    error_message = "recursive_loop is Allow or Terminate."
  }
}

variable "worker" {
  description = "Size of the worker, and batches at work at once in each lane. The defaults of all functions together are the ten invocations that a new account may run at once."
  type = object({
    memory_mb            = optional(number, 3008)
    timeout_s            = optional(number, 300)
    ephemeral_storage_mb = optional(number, 2048)
    fresh_concurrency    = optional(number, 3)
    bulk_concurrency     = optional(number, 3)
    reserved_concurrency = optional(number)
    recursive_loop       = optional(string, "Allow")
  })
  default = {}

  validation {
    condition     = var.worker.memory_mb >= 128 && var.worker.memory_mb <= 10240 && var.worker.timeout_s >= 10 && var.worker.timeout_s <= 900
    error_message = "Lambda has 128 to 10,240 MB, and 900 s at most; under 10 s nothing gets done."
  }

  validation {
    condition     = var.worker.ephemeral_storage_mb >= 512 && var.worker.ephemeral_storage_mb <= 10240
    error_message = "ephemeral_storage_mb is 512 to 10,240."
  }

  validation {
    condition     = alltrue([for most in [var.worker.fresh_concurrency, var.worker.bulk_concurrency] : most >= 2 && most <= 1000])
    error_message = "fresh_concurrency and bulk_concurrency are 2 to 1,000 each."
  }

  validation {
    condition     = var.worker.reserved_concurrency == null ? true : var.worker.reserved_concurrency >= var.worker.fresh_concurrency + var.worker.bulk_concurrency
    error_message = "Reserve at least fresh_concurrency and bulk_concurrency together, or messages are throttled into the dead-letter queues."
  }

  validation {
    condition     = contains(["Allow", "Terminate"], var.worker.recursive_loop)
    error_message = "recursive_loop is Allow or Terminate."
  }
}

variable "committer" {
  description = "Size of the committer, and tables that are committed to at once."
  type = object({
    memory_mb            = optional(number, 1769)
    timeout_s            = optional(number, 120)
    maximum_concurrency  = optional(number, 2)
    reserved_concurrency = optional(number)
    recursive_loop       = optional(string, "Allow")
  })
  default = {}

  validation {
    condition     = var.committer.memory_mb >= 128 && var.committer.memory_mb <= 10240 && var.committer.timeout_s >= 10 && var.committer.timeout_s <= 900
    error_message = "Lambda has 128 to 10,240 MB, and 900 s at most; under 10 s nothing gets done."
  }

  validation {
    condition     = var.committer.maximum_concurrency >= 2 && var.committer.maximum_concurrency <= 1000
    error_message = "maximum_concurrency is 2 to 1,000."
  }

  validation {
    condition     = var.committer.reserved_concurrency == null ? true : var.committer.reserved_concurrency >= var.committer.maximum_concurrency
    error_message = "Reserve at least maximum_concurrency, or messages are throttled into the dead-letter queue."
  }

  validation {
    condition     = contains(["Allow", "Terminate"], var.committer.recursive_loop)
    error_message = "recursive_loop is Allow or Terminate."
  }
}

variable "max_receive_count" {
  description = "Deliveries after which a message goes to its dead-letter queue."
  type        = number
  default     = 5

  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000
    error_message = "A message needs 5 to 1,000 deliveries: throttling alone uses some up."
  }
}

variable "gpu_classes" {
  description = "Kinds of GPU that pods of yours have, by names of your choice such as a10g; each gets a fresh and a bulk queue."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for class in var.gpu_classes : can(regex("^[a-z0-9-]{1,20}$", class))])
    error_message = "A GPU class has 1 to 20 small letters, digits and hyphens."
  }

  validation {
    condition     = !contains(var.gpu_classes, "ray-cpu")
    error_message = "ray-cpu is the class of the CPU workers of a Ray cluster: set ray_cpu."
  }
}

variable "ray_cpu" {
  description = "Whether there is a class ray-cpu: CPU workers of a Ray cluster, for functions that outgrow what Lambda gives of time, memory or image."
  type        = bool
  default     = false
}

variable "class_visibility_timeout_s" {
  description = "Seconds for which a batch is hidden when a pod takes it; the pod extends it while it works, so this is how long the batch of a dead pod waits."
  type        = number
  default     = 120

  validation {
    condition     = var.class_visibility_timeout_s >= 60 && var.class_visibility_timeout_s <= 43200
    error_message = "class_visibility_timeout_s is 60 to 43,200."
  }
}

variable "class_batches_at_once" {
  description = "Batches of each class at work at once when all its pods are there: twice the workers, since each reads its next batch while it works. About ten minutes of work for so many are handed out at a time."
  type        = number
  default     = 8

  validation {
    condition     = var.class_batches_at_once >= 1 && var.class_batches_at_once <= 10000
    error_message = "class_batches_at_once is 1 to 10,000."
  }
}

# ---- what a platform team owns -----------------------------------------------------------------------

variable "role_arns" {
  description = "Roles that exist, by function: planner, worker, committer. For these no role is created; the output policies says what they must be allowed."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.role_arns), ["planner", "worker", "committer"])) == 0
    error_message = "role_arns has roles of planner, worker and committer."
  }
}

variable "permissions_boundary" {
  description = "ARN of the policy that bounds created roles."
  type        = string
  default     = null
}

variable "iam_path" {
  description = "Path of created roles."
  type        = string
  default     = "/"

  validation {
    condition     = can(regex("^/([!-~]+/)?$", var.iam_path))
    error_message = "A path starts and ends with a slash."
  }
}

variable "vpc" {
  description = "Subnets and security groups of the functions. They must reach S3, SQS and, with secrets, Secrets Manager, and nothing else."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0
    error_message = "vpc needs subnets and security groups."
  }
}

variable "bucket_kms_key_arn" {
  description = "Customer key of the buckets; functions then ask S3 to encrypt with it whatever they write."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.bucket_kms_key_arn))
    error_message = "A key is named by its ARN (not by an alias: policies do not follow those)."
  }
}

variable "queue_kms_key_arn" {
  description = "Customer key of the queues. Its policy must let S3 and EventBridge use it: see the output kms_key_policy_statements."
  type        = string
  default     = null

  validation {
    condition     = var.queue_kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.queue_kms_key_arn))
    error_message = "A key is named by its ARN (not by an alias: policies do not follow those)."
  }
}

variable "log_kms_key_arn" {
  description = "Customer key of the log groups. Its policy must let CloudWatch Logs use it: see the output kms_key_policy_statements."
  type        = string
  default     = null

  validation {
    condition     = var.log_kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.log_kms_key_arn))
    error_message = "A key is named by its ARN (not by an alias: policies do not follow those)."
  }
}

variable "environment_kms_key_arn" {
  description = "Customer key of the functions' environment variables, none of which is secret."
  type        = string
  default     = null

  validation {
    condition     = var.environment_kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.environment_kms_key_arn))
    error_message = "A key is named by its ARN (not by an alias: policies do not follow those)."
  }
}

variable "secrets" {
  description = "Secrets in Secrets Manager that Python functions may name, by these names: { OPENAI_KEY = ARN }. Only the worker may read them, and it reads those that a function declares."
  type        = map(string)
  default     = {}

  # A function finds the value in a variable of its environment.
  validation {
    condition     = alltrue([for name in keys(var.secrets) : can(regex("^[A-Za-z_][A-Za-z0-9_]{0,63}$", name))])
    error_message = "A secret's name is that of an environment variable: up to 64 letters, digits and _, not a digit first."
  }

  validation {
    condition     = alltrue([for arn in values(var.secrets) : can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*?]+$", arn))])
    error_message = "A secret is named by its whole ARN, without * and ?."
  }
}

variable "secret_kms_key_arns" {
  description = "Customer keys of these secrets."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything that can have some."
  type        = map(string)
  default     = {}
}

# ---- logs and alarms ---------------------------------------------------------------------------------

variable "log_retention_days" {
  description = "Days for which logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "alarm_topic_arns" {
  description = "SNS topics that alarms notify."
  type        = list(string)
  default     = []
}

variable "column_metrics" {
  description = "Whether the age of the oldest row in need is also a metric of each column that has such rows, with the dimensions Service, Table and Column. CloudWatch charges for each."
  type        = bool
  default     = false
}

variable "alarms" {
  description = "Limits, in seconds: age of the oldest row in need, over periods that are no shorter than the schedule's; age of the oldest message to planner and committer."
  type = object({
    oldest_row_s        = optional(number, 3600)
    oldest_row_period_s = optional(number, 900)
    oldest_plan_s       = optional(number, 900)
    oldest_commit_s     = optional(number, 900)
  })
  default = {}

  validation {
    condition     = var.alarms.oldest_row_period_s >= 60 && var.alarms.oldest_row_period_s <= 86400 && var.alarms.oldest_row_period_s % 60 == 0
    error_message = "oldest_row_period_s is a multiple of 60, up to 86,400."
  }
}
