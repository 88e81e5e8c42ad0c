variable "region" {
  description = "Region of everything."
  type        = string
}

variable "name" {
  description = "Name of the service."
  type        = string
  default     = "lance-backfill"
}

variable "tables_bucket" {
  description = "Name of the bucket for tables; it is created."
  type        = string
}

variable "service_bucket" {
  description = "Name of the bucket for the service's own state; it is created."
  type        = string
}

variable "release" {
  description = "The program: bucket, key and sha256 of a release, or file, a zip on this machine."
  type = object({
    bucket = optional(string)
    key    = optional(string)
    sha256 = optional(string)
    file   = optional(string)
  })
}

variable "worker_image_uri" {
  description = "Image of the worker with Python, by digest; null for SQL expressions only."
  type        = string
  default     = null
}

variable "secrets" {
  description = "Secrets that Python functions may name: ARNs by these names."
  type        = map(string)
  default     = {}
}

variable "gpu_classes" {
  description = "GPU classes that get queues."
  type        = set(string)
  default     = []
}

variable "ray_cpu" {
  description = "Whether CPU workers of a Ray cluster get queues."
  type        = bool
  default     = false
}

variable "alarm_email" {
  description = "Where alarms are mailed to; null for nowhere."
  type        = string
  default     = null
}

variable "alarm_kms_key_arn" {
  description = "Customer key of the topic of alarms; its policy must let cloudwatch.amazonaws.com use it. Null for none."
  type        = string
  default     = null
}
