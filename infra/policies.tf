# What each function may do: no wildcard actions, and a resource * only with its reason beside it.

locals {
  # ---- objects ---------------------------------------------------------------------------------------

  table_roots = flatten([
    for table in var.tables : [for prefix in table.prefixes : "arn:${local.partition}:s3:::${table.bucket}/${prefix}"]
  ])
  read_only_roots = flatten([
    for location in var.read_only_locations : [for prefix in location.prefixes : "arn:${local.partition}:s3:::${location.bucket}/${prefix}"]
  ])
  service_root = "arn:${local.partition}:s3:::${var.service.bucket}/${var.service.prefix}"

  # Objects of tables by the folder that they lie in; a star of a policy also stands for slashes.
  in_folder = { for folder in ["_backfill", "_transactions", "_versions", "data"] :
    folder => [for root in local.table_roots : "${root}*/${folder}/*"]
  }

  # Folders of the service that every function reads: what Python functions consist of. And what the
  # service says of itself, by which a function is refused that nobody can run.
  artifact_folders = ["artifacts", "environments", "functions", "wheels"]

  # Without this permission S3 answers 403 in place of 404 for what is not there, and much of the state
  # store is asked for before it is there. Such a GET names no prefix, hence IfExists: a list below
  # another prefix is refused, a list of the whole bucket is not.
  list_statements = [
    for place, location in concat(values(var.tables), var.read_only_locations) : merge(
      {
        Sid      = "List${place}"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = ["arn:${local.partition}:s3:::${location.bucket}"]
      },
      { for key, value in {
        Condition = { StringLikeIfExists = { "s3:prefix" = [for prefix in location.prefixes : "${prefix}*"] } }
      } : key => value if !contains(location.prefixes, "") },
    )
  ]
  read_tables = concat(local.list_statements, [{
    Sid      = "ReadTables"
    Effect   = "Allow"
    Action   = ["s3:GetObject"]
    Resource = [for root in concat(local.table_roots, local.read_only_roots) : "${root}*"]
  }])

  read_service = [
    {
      Sid       = "ListService"
      Effect    = "Allow"
      Action    = ["s3:ListBucket"]
      Resource  = ["arn:${local.partition}:s3:::${var.service.bucket}"]
      Condition = { StringLikeIfExists = { "s3:prefix" = ["${var.service.prefix}/*"] } }
    },
    {
      Sid    = "ReadArtifacts"
      Effect = "Allow"
      Action = ["s3:GetObject"]
      Resource = concat(
        [for folder in local.artifact_folders : "${local.service_root}/${folder}/*"],
        ["${local.service_root}/service.json"],
      )
    },
  ]
  # What workers in pods say of themselves, each time in a new object, and take back.
  tell_workers = [{
    Sid      = "TellWorkers"
    Effect   = "Allow"
    Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    Resource = ["${local.service_root}/workers/*"]
  }]
  # Whether somebody has stopped all spending.
  read_paused = [{
    Sid      = "ReadPaused"
    Effect   = "Allow"
    Action   = ["s3:GetObject"]
    Resource = ["${local.service_root}/paused.json"]
  }]
  registry = [{
    Sid      = "Registry"
    Effect   = "Allow"
    Action   = ["s3:GetObject", "s3:PutObject"]
    Resource = ["${local.service_root}/tables/*"]
  }]

  # An upload in parts that fails is taken back: its parts would be stored, and paid for, unseen.
  write_actions = ["s3:AbortMultipartUpload", "s3:PutObject"]

  write = {
    # Declarations, requests and their ends, holds and pauses.
    operator = [
      for folder in ["_backfill", "_transactions", "_versions"] : local.in_folder[folder]
    ]
    # A version of metadata only, where a table was moved.
    planner = [
      for folder in ["_backfill", "_transactions", "_versions"] : local.in_folder[folder]
    ]
    worker = [
      for folder in ["_backfill", "data"] : local.in_folder[folder]
    ]
    # Data files of NULLs, where rows came in with some of a group's columns.
    committer = [
      for folder in ["_backfill", "_transactions", "_versions", "data"] : local.in_folder[folder]
    ]
  }
  delete = {
    operator  = [local.in_folder["_backfill"], local.in_folder["_transactions"]]
    planner   = [local.in_folder["_backfill"]]
    worker    = [local.in_folder["_backfill"], local.in_folder["data"]]
    committer = [local.in_folder["_backfill"], local.in_folder["_transactions"]]
  }
  write_tables = { for kind in keys(local.write) : kind => [
    {
      Sid      = "WriteTables"
      Effect   = "Allow"
      Action   = local.write_actions
      Resource = flatten(local.write[kind])
    },
    {
      Sid      = "DeleteOwn"
      Effect   = "Allow"
      Action   = ["s3:DeleteObject"]
      Resource = flatten(local.delete[kind])
    },
  ] }

  # ---- messages --------------------------------------------------------------------------------------

  receive_actions = [
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
  ]
  # Batches that died are read once, written down as failed, and removed; see planner.
  bury = [{
    Sid      = "BuryDeadBatches"
    Effect   = "Allow"
    Action   = ["sqs:DeleteMessage", "sqs:ReceiveMessage"]
    Resource = concat([module.fresh.dead_arn, module.bulk.dead_arn], [for queue in module.class : queue.dead_arn])
  }]
  class_queue_arns = [for queue in module.class : queue.arn]
  receives = {
    planner   = [module.plans.arn]
    worker    = [module.fresh.arn, module.bulk.arn]
    committer = [module.commits.arn]
    pod       = local.class_queue_arns
  }
  sends = {
    # To the committer by the schedule, where a worker died before it said that it had finished.
    planner   = concat([module.plans.arn, module.fresh.arn, module.bulk.arn, module.commits.arn], local.class_queue_arns)
    worker    = [module.commits.arn]
    committer = [module.plans.arn]
    pod       = [module.commits.arn]
  }
  messages = { for kind in keys(local.receives) : kind => [
    {
      Sid      = "Receive"
      Effect   = "Allow"
      Action   = local.receive_actions
      Resource = local.receives[kind]
    },
    {
      Sid      = "Send"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage"]
      Resource = local.sends[kind]
    },
  ] }

  # ---- keys, secrets, logs, network ------------------------------------------------------------------

  # Writing in parts and sending read back the data key, so both need both.
  use_keys = [
    for statement in [{
      Sid      = "UseKeys"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = distinct([for key in [var.bucket_kms_key_arn, var.queue_kms_key_arn] : key if key != null])
    }] : statement if length(statement.Resource) > 0
  ]

  read_secrets = [
    for statement in [
      {
        Sid      = "ReadSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = sort(distinct(values(var.secrets)))
      },
      {
        Sid      = "DecryptSecrets"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = var.secret_kms_key_arns
      },
    ] : statement if length(statement.Resource) > 0
  ]

  write_log = { for kind, name in local.names : kind => [{
    Sid    = "WriteLog"
    Effect = "Allow"
    Action = ["logs:CreateLogStream", "logs:PutLogEvents"]
    # The group is created here, so that a function can write to no other; the star is its streams.
    Resource = ["arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:/aws/lambda/${name}:*"]
  }] }

  network_actions = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
  ]
  network = { for kind, name in local.names : kind => [
    for statement in [
      {
        Sid    = "NetworkOfLambda"
        Effect = "Allow"
        Action = local.network_actions
        # Lambda makes interfaces in the role's name before any has an id, and EC2 knows no resource for
        # the two that describe. The function itself is refused them by the next statement.
        Resource  = ["*"]
        Condition = {}
      },
      {
        Sid    = "NetworkNotOfTheFunction"
        Effect = "Deny"
        Action = local.network_actions
        # A refusal: of everything.
        Resource = ["*"]
        Condition = { ArnEquals = { "lambda:SourceFunctionArn" = [
          "arn:${local.partition}:lambda:${local.region}:${local.account_id}:function:${name}"
        ] } }
      },
    ] : { for key, value in statement : key => value if key != "Condition" || statement.Effect == "Deny" } if var.vpc != null
  ] }

  # ---- a person at the command line ------------------------------------------------------------------

  # Those of service.json.
  operated = concat([module.plans, module.fresh, module.bulk, module.commits], values(module.class))
  operate = [
    {
      Sid      = "ReadService"
      Effect   = "Allow"
      Action   = ["s3:GetObject"]
      Resource = ["${local.service_root}/*"]
    },
    {
      # What runs in the worker's role, which tables there are, and whether anything is spent.
      Sid    = "WriteService"
      Effect = "Allow"
      Action = local.write_actions
      Resource = concat(
        [for folder in local.artifact_folders : "${local.service_root}/${folder}/*"],
        ["${local.service_root}/tables/*", "${local.service_root}/paused.json"],
      )
    },
    {
      Sid      = "UnregisterAndResume"
      Effect   = "Allow"
      Action   = ["s3:DeleteObject"]
      Resource = ["${local.service_root}/tables/*", "${local.service_root}/paused.json"]
    },
    {
      Sid      = "SeeQueues"
      Effect   = "Allow"
      Action   = ["sqs:GetQueueAttributes"]
      Resource = flatten([for queue in local.operated : [queue.arn, queue.dead_arn]])
    },
    {
      Sid      = "RedriveFrom"
      Effect   = "Allow"
      Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"]
      Resource = [for queue in local.operated : queue.dead_arn]
    },
    {
      # Requests go to the planner, and what died goes back to where it was.
      Sid      = "Send"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage"]
      Resource = [for queue in local.operated : queue.arn]
    },
  ]

  # ---- all together ----------------------------------------------------------------------------------

  statements = {
    planner = concat(
      local.read_tables, local.write_tables.planner, local.read_service, local.read_paused, local.registry,
      local.messages.planner, local.bury, local.use_keys, local.write_log.planner, local.network.planner,
    )
    worker = concat(
      local.read_tables, local.write_tables.worker, local.read_service, local.read_paused,
      local.messages.worker, local.use_keys, local.read_secrets, local.write_log.worker, local.network.worker,
    )
    committer = concat(
      local.read_tables, local.write_tables.committer, local.read_service,
      local.messages.committer, local.use_keys, local.write_log.committer, local.network.committer,
    )
    # Declares columns, orders and stops work, as the planner's and committer's rights together allow;
    # it writes no data.
    operator = concat(
      local.read_tables, local.write_tables.operator, [local.read_service[0]], local.operate, local.use_keys,
    )
    # Pods have networks and logs of their own.
    pod = concat(
      local.read_tables, local.write_tables.worker, local.read_service, local.read_paused, local.tell_workers,
      local.messages.pod, local.use_keys, local.read_secrets,
    )
    # Counts what waits, and sees who is busy; it touches neither tables nor messages.
    pool_controller = concat(
      [local.read_service[0]],
      [
        {
          Sid      = "SeeWorkers"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = ["${local.service_root}/service.json", "${local.service_root}/workers/*"]
        },
        {
          Sid      = "SeeQueues"
          Effect   = "Allow"
          Action   = ["sqs:GetQueueAttributes"]
          Resource = local.class_queue_arns
        },
      ],
      local.use_keys,
    )
  }
  policies = { for kind, statements in local.statements : kind => jsonencode({
    Version   = "2012-10-17"
    Statement = statements
  }) }

  # ---- policies of customer keys ---------------------------------------------------------------------

  # In a key's own policy a resource * is this key, and there is no other way to name it.
  kms_key_policy_statements = {
    # S3 and EventBridge encrypt what they send with the queue's key, and nobody tells them or us that
    # they may not: without these statements events vanish silently. They carry no condition, since
    # neither promises a source in the calls to KMS; who may send at all is in the queue's policy.
    queues = [
      {
        Sid       = "LanceBackfillEvents"
        Effect    = "Allow"
        Principal = { Service = ["events.amazonaws.com", "s3.amazonaws.com"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = ["*"]
      },
      {
        Sid       = "LanceBackfillQueues"
        Effect    = "Allow"
        Principal = { AWS = ["arn:${local.partition}:iam::${local.account_id}:root"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = ["*"]
        Condition = { StringEquals = { "kms:ViaService" = ["sqs.${local.region}.${local.dns_suffix}"] } }
      },
    ]
    # Roles of this account that their own policies let use the key, and only through S3.
    bucket = [
      {
        Sid       = "LanceBackfillBucket"
        Effect    = "Allow"
        Principal = { AWS = ["arn:${local.partition}:iam::${local.account_id}:root"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = ["*"]
        Condition = { StringEquals = { "kms:ViaService" = ["s3.${local.region}.${local.dns_suffix}"] } }
      },
    ]
    logs = [
      {
        Sid       = "LanceBackfillLogs"
        Effect    = "Allow"
        Principal = { Service = ["logs.${local.region}.${local.dns_suffix}"] }
        Action = [
          "kms:Decrypt",
          "kms:DescribeKey",
          "kms:Encrypt",
          "kms:GenerateDataKey",
          "kms:GenerateDataKeyWithoutPlaintext",
          "kms:ReEncryptFrom",
          "kms:ReEncryptTo",
        ]
        Resource = ["*"]
        Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = [
          "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:/aws/lambda/${var.name}-*"
        ] } }
      },
    ]
  }
}
