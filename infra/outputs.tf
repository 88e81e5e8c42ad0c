output "service" {
  description = "Where the service keeps its own state: what the command line takes as --service, and the dimension Service of the program's metrics."
  value       = local.service_uri
}

output "queues" {
  description = "Each queue: url, arn and name, dead-letter queue, visibility_timeout_s, max_receive_count, alarms."
  value = { for lane, queue in local.queues : lane => {
    url                  = queue.url
    arn                  = queue.arn
    name                 = queue.name
    dead_url             = queue.dead_url
    dead_arn             = queue.dead_arn
    dead_name            = queue.dead_name
    visibility_timeout_s = queue.visibility_timeout_s
    max_receive_count    = queue.max_receive_count
    alarm_names          = queue.alarm_names
  } }
}

output "functions" {
  description = "Each function: name, arn, role, timeout_s, log group, what invokes it, alarms."
  value = { for kind, function in local.functions : kind => {
    name           = function.name
    arn            = function.arn
    role_arn       = function.role_arn
    role_created   = function.role_created
    timeout_s      = function.timeout_s
    log_group_name = function.log_group_name
    mappings       = function.mappings
    alarm_names    = function.alarm_names
  } }
}

output "policies" {
  description = "What each function must be allowed, as JSON: for roles that you bring."
  value       = { for kind in keys(local.names) : kind => local.policies[kind] }
}

output "operator_policy" {
  description = "What a person must be allowed who uses the command line with --service, as JSON. Who has it can decide what runs in the worker's role."
  value       = local.policies.operator
}

output "deployment" {
  description = "What the command line knows of this service: the content of service.json below the service's prefix."
  value       = jsondecode(aws_s3_object.deployment.content)
}

output "notification" {
  description = "In mode external: what the notification of each bucket has to say. The queue's policy lets these buckets send already."
  value       = var.notification_mode == "external" ? module.events.notification : null
}

output "plans_queue_policy_statements" {
  description = "Who may send to the planner's queue, as JSON; add others with plans_queue_policy_statements."
  value       = jsonencode(module.events.queue_policy_statements)
}

output "kms_key_policy_statements" {
  description = "Statements for the policies of your keys of queues, bucket and logs, as JSON lists. Without those of queues, S3 and EventBridge cannot use the key, and events vanish silently."
  value       = { for key, statements in local.kms_key_policy_statements : key => jsonencode(statements) }
}

output "class_queues" {
  description = "Queues of each class of workers in pods: url and arn by lane."
  value = { for class in local.classes : class => {
    for lane in ["fresh", "bulk"] : lane => {
      url = module.class["${class}-${lane}"].url
      arn = module.class["${class}-${lane}"].arn
    }
  } }
}

output "pod_policy" {
  description = "What the role of such a pod must be allowed, as JSON; null without classes."
  value       = length(local.classes) == 0 ? null : local.policies.pod
}

output "pod_environment" {
  description = "What such a pod must have in its environment, beside a role."
  value       = tomap(local.pod_environment)
}

output "pool_controller_policy" {
  description = "What the role of the controller must be allowed that scales the pods, as JSON; null without classes."
  value       = length(local.classes) == 0 ? null : local.policies.pool_controller
}

output "alarm_names" {
  description = "All alarms."
  value = sort(concat(
    flatten([for queue in local.queues : queue.alarm_names]),
    flatten([for function in local.functions : function.alarm_names]),
    module.events.alarm_names,
    module.monitoring.alarm_names,
  ))
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard."
  value       = module.monitoring.dashboard_name
}
