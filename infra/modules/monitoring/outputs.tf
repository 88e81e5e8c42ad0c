output "alarm_names" {
  description = "Alarms on our own metrics."
  value = [
    aws_cloudwatch_metric_alarm.oldest_row.alarm_name,
    aws_cloudwatch_metric_alarm.commits_stalled.alarm_name,
    aws_cloudwatch_metric_alarm.plans_failed.alarm_name,
  ]
}

output "dashboard_name" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "dashboard_body" {
  description = "The dashboard, as JSON."
  value       = aws_cloudwatch_dashboard.this.dashboard_body
}
