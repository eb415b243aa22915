resource "aws_iam_role" "worker" {
  name = "orders${var.stage}-worker"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_sqs_queue" "dead" {
  name = "orders${var.stage}-dead"
}

resource "aws_sqs_queue" "orders" {
  name                       = "orders${var.stage}-${var.generation}"
  visibility_timeout_seconds = 30 * var.setting
}

resource "aws_dynamodb_table" "orders" {
  name         = "orders${var.stage}"
  hash_key     = "id"
  billing_mode = "PAY_PER_REQUEST"
  attribute {
    name = "id"
    type = "S"
  }
}

resource "aws_lambda_function" "worker" {
  function_name    = "orders${var.stage}-worker"
  role             = aws_iam_role.worker.arn
  runtime          = "python3.8"
  handler          = "worker.handler"
  filename         = "worker.zip"
  source_code_hash = filebase64sha256("worker.zip")
  environment {
    variables = { RELEASE = var.release }
  }
}

resource "aws_sns_topic" "alarms" {
  name         = "orders${var.stage}-alarms"
  display_name = "orders ${var.setting}"
}
