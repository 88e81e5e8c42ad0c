variable "region" {
  description = "Region of everything."
  type        = string
}

variable "tables_bucket" {
  description = "Bucket with tables, which exists."
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

variable "other_queue_arn" {
  description = "Queue of somebody else that the bucket notifies too; null for none."
  type        = string
  default     = null
}

variable "role_arns" {
  description = "Roles that exist, by function; for others roles are created."
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
