variable "region" {
  description = "Region of everything."
  type        = string
}

variable "vpc_id" {
  description = "VPC without a way to the internet; its DNS names and support must be on."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in at least two zones."
  type        = list(string)
}

variable "route_table_ids" {
  description = "Route tables of these subnets, which get the route to S3."
  type        = list(string)
}

variable "tables_bucket" {
  description = "Bucket with tables, which exists, and sends its events to EventBridge."
  type        = string
}

variable "tables_prefixes" {
  description = "Prefixes in it below which tables lie."
  type        = list(string)
  default     = ["tables/"]
}

variable "service_bucket" {
  description = "Bucket for the service's own state, which exists."
  type        = string
}

variable "bucket_kms_key_arn" {
  description = "Key of both buckets, also used for the functions' environment."
  type        = string
}

variable "permissions_boundary" {
  description = "Policy that bounds the roles."
  type        = string
}

variable "iam_path" {
  description = "Path of the roles."
  type        = string
  default     = "/services/"
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

variable "alarm_topic_arns" {
  description = "SNS topics that alarms notify."
  type        = list(string)
}

variable "tags" {
  description = "Tags of everything of the service."
  type        = map(string)
  default     = {}
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
