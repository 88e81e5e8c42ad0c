variable "name" {
  description = "Prefix of the rules' names."
  type        = string
}

variable "mode" {
  description = "How new table versions are told: managed, eventbridge, external or none."
  type        = string

  validation {
    condition     = contains(["managed", "eventbridge", "external", "none"], var.mode)
    error_message = "The mode is managed, eventbridge, external or none."
  }
}

variable "tables" {
  description = "Buckets and prefixes in which tables lie."
  type = map(object({
    bucket   = string
    prefixes = list(string)
  }))
}

variable "queue_arn" {
  description = "Queue of the planner."
  type        = string
}

variable "schedule_expression" {
  description = "When all tables are looked at, as rate(…) or cron(…)."
  type        = string
}

variable "schedule_enabled" {
  description = "Whether the schedule runs."
  type        = bool
  default     = true
}

variable "partition" {
  description = "Partition of AWS."
  type        = string
}

variable "account_id" {
  description = "Account that owns the buckets."
  type        = string
}

variable "alarm_topic_arns" {
  description = "SNS topics that alarms notify."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything here."
  type        = map(string)
  default     = {}
}
