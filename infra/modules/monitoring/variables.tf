variable "name" {
  description = "Prefix of the alarms' names, and name of the dashboard."
  type        = string
}

variable "service" {
  description = "Value of the dimension Service of our own metrics: LANCE_BACKFILL_NAME of the functions."
  type        = string
}

variable "region" {
  description = "Region of the metrics."
  type        = string
}

variable "oldest_row_alarm_s" {
  description = "Age of the oldest row in need, in seconds, above which an alarm goes off."
  type        = number
}

variable "oldest_row_period_s" {
  description = "Period of that alarm and of the one on tables that cannot be looked at; at least the time between two runs of the schedule."
  type        = number
}

variable "queues" {
  description = "Queues by lane, with the names of their dead-letter queues."
  type = map(object({
    name      = string
    dead_name = string
  }))
}

variable "functions" {
  description = "Names of the functions by what they are."
  type        = map(string)
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
