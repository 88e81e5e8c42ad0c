variable "name" {
  description = "Name of the function."
  type        = string
}

variable "handler" {
  description = "What the program becomes: planner, worker or committer."
  type        = string

  validation {
    condition     = contains(["planner", "worker", "committer"], var.handler)
    error_message = "The program becomes planner, worker or committer."
  }
}

variable "release" {
  description = "The program: a zip in a bucket with its SHA-256 as hexadecimal digits, or a zip on this machine."
  type = object({
    bucket         = optional(string)
    key            = optional(string)
    object_version = optional(string)
    sha256         = optional(string)
    file           = optional(string)
  })
}

variable "image_uri" {
  description = "Image to run in place of the zip; null for the zip."
  type        = string
  default     = null
}

variable "architecture" {
  description = "Processor: x86_64 or arm64."
  type        = string
  default     = "x86_64"
}

variable "memory_mb" {
  description = "Memory; processor time grows with it."
  type        = number
}

variable "timeout_s" {
  description = "Seconds after which Lambda ends an invocation."
  type        = number
}

variable "ephemeral_storage_mb" {
  description = "Size of /tmp."
  type        = number
  default     = 512
}

variable "reserved_concurrency" {
  description = "Invocations at once that are kept for the function and are its most; null for none."
  type        = number
  default     = null
}

variable "recursive_loop" {
  description = "What Lambda does with a chain of about sixteen messages through the function: Allow or Terminate."
  type        = string
  default     = "Allow"
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
}

variable "environment_kms_key_arn" {
  description = "Customer key for the environment variables; null for Lambda's own."
  type        = string
  default     = null
}

variable "sources" {
  description = "Queues that invoke the function: ARN, messages an invocation, and the most invocations at once (null for no bound)."
  type = map(object({
    queue_arn           = string
    batch_size          = number
    maximum_concurrency = optional(number)
  }))
}

variable "create_role" {
  description = "Whether to create the role; if not, role_arn is used as it is."
  type        = bool
  default     = true
}

variable "role_arn" {
  description = "Role that exists, where none is created."
  type        = string
  default     = null
}

variable "policy_json" {
  description = "What the created role may do."
  type        = string
}

variable "iam_path" {
  description = "Path of the created role."
  type        = string
  default     = "/"
}

variable "permissions_boundary" {
  description = "ARN of the policy that bounds the created role."
  type        = string
  default     = null
}

variable "vpc" {
  description = "Subnets and security groups of the function; null for none."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null
}

variable "log_retention_days" {
  description = "Days for which the log is kept."
  type        = number
  default     = 30
}

variable "log_kms_key_arn" {
  description = "Customer key for the log; null for CloudWatch's own."
  type        = string
  default     = null
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
