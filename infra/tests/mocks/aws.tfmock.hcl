# Values that AWS would give. No test reaches AWS, with any provider.

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "123456789012"
  }
}

mock_data "aws_partition" {
  defaults = {
    partition  = "aws"
    dns_suffix = "amazonaws.com"
  }
}

mock_data "aws_region" {
  defaults = {
    region = "eu-west-1"
  }
}

mock_resource "aws_iam_role" {
  defaults = {
    arn = "arn:aws:iam::123456789012:role/created"
  }
}

mock_resource "aws_cloudwatch_event_rule" {
  defaults = {
    arn = "arn:aws:events:eu-west-1:123456789012:rule/created"
  }
}

mock_resource "aws_lambda_function" {
  defaults = {
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:created"
  }
}

mock_resource "aws_sqs_queue" {
  defaults = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:other"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/other"
  }
}

override_resource {
  target = module.plans.aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:plans"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/plans"
  }
}

override_resource {
  target = module.fresh.aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:fresh"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/fresh"
  }
}

override_resource {
  target = module.bulk.aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:bulk"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/bulk"
  }
}

override_resource {
  target = module.commits.aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:commits.fifo"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/commits.fifo"
  }
}

override_resource {
  target = module.gpu["l4-fresh"].aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:gpu-fresh"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/gpu-fresh"
  }
}

override_resource {
  target = module.gpu["l4-bulk"].aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:gpu-bulk"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/gpu-bulk"
  }
}

override_resource {
  target = module.fresh.aws_sqs_queue.dead
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:fresh-dead"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/fresh-dead"
  }
}

override_resource {
  target = module.bulk.aws_sqs_queue.dead
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:bulk-dead"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/bulk-dead"
  }
}

override_resource {
  target = module.plans.aws_sqs_queue.dead
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:plans-dead"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/plans-dead"
  }
}

override_resource {
  target = module.commits.aws_sqs_queue.dead
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:commits-dead.fifo"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/commits-dead.fifo"
  }
}
