resource "aws_iam_role" "handler" {
  name = "shop${var.stage}-handler"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_lambda_function" "handler" {
  function_name    = "shop${var.stage}-handler"
  role             = aws_iam_role.handler.arn
  runtime          = "python3.8"
  handler          = "worker.handler"
  filename         = "worker.zip"
  source_code_hash = filebase64sha256("worker.zip")
  memory_size      = 128 * var.setting
  environment {
    variables = { RELEASE = var.release }
  }
}

resource "aws_lambda_permission" "call" {
  statement_id  = "call"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.handler.function_name
  principal     = "apigateway.amazonaws.com"
}

resource "aws_cloudwatch_log_group" "log" {
  name = "/shop${var.stage}/api-${var.generation}"
}

resource "aws_api_gateway_rest_api" "api" {
  name        = "shop${var.stage}"
  description = "setting ${var.setting}"
}
