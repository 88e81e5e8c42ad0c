variable "region" {
  description = "Region of everything."
  type        = string
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
