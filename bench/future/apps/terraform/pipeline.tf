resource "aws_iam_role" "machine" {
  name = "nightly${var.stage}-machine"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "states.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role" "transform" {
  name = "lake${var.stage}-transform"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_s3_bucket" "lake" {
  bucket_prefix = "lake${var.stage}-"
  force_destroy = true
  lifecycle_rule {
    enabled = true
    expiration {
      days = 30 * var.setting
    }
  }
}

resource "aws_kinesis_stream" "clicks" {
  name        = "clicks${var.stage}-${var.generation}"
  shard_count = 1
}

resource "aws_lambda_function" "transform" {
  function_name    = "lake${var.stage}-transform"
  role             = aws_iam_role.transform.arn
  runtime          = "python3.8"
  handler          = "worker.handler"
  filename         = "worker.zip"
  source_code_hash = filebase64sha256("worker.zip")
}

resource "aws_sfn_state_machine" "nightly" {
  name     = "nightly${var.stage}"
  role_arn = aws_iam_role.machine.arn
  definition = jsonencode({
    Comment = "release ${var.release}"
    StartAt = "Transform"
    States  = { Transform = { Type = "Pass", End = true } }
  })
}

resource "aws_cloudwatch_event_rule" "every" {
  name                = "nightly${var.stage}-${var.generation}"
  schedule_expression = "rate(${var.setting + 1} hours)"
}

resource "aws_ssm_parameter" "watermark" {
  name  = "/lake${var.stage}/watermark"
  type  = "String"
  value = var.setting
}
