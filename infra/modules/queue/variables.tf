variable "name" {
  description = "Name of the queue, without the ending .fifo."
  type        = string
}

variable "ordered" {
  description = "Whether it is a FIFO queue, which keeps the order within each message group."
  type        = bool
  default     = false
}

variable "visibility_timeout_s" {
  description = "Seconds for which a received message is hidden from other consumers."
  type        = number

  validation {
    condition     = var.visibility_timeout_s >= 1 && var.visibility_timeout_s <= 43200
    error_message = "SQS hides a message for 1 to 43,200 seconds."
  }
}

variable "max_receive_count" {
  description = "Deliveries after which a message goes to the dead-letter queue."
  type        = number
  default     = 5

  # A function that is throttled costs a message a delivery without running once.
  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000
    error_message = "A message needs 5 to 1,000 deliveries: throttling alone uses some up."
  }
}

variable "kms_key_arn" {
  description = "Customer key for the messages; with null SQS encrypts them with a key of its own."
  type        = string
  default     = null
}

variable "policy_statements" {
  description = "Statements about who may send from outside, with the queue as their resource."
  type        = any
  default     = []
}

variable "oldest_message_alarm_s" {
  description = "Age of the oldest message, in seconds, above which an alarm goes off; null for none."
  type        = number
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
