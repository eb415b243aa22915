resource "aws_kms_key" "records" {
  description             = "records${var.stage}"
  deletion_window_in_days = 7
  enable_key_rotation     = true
}

resource "aws_kms_alias" "records" {
  name          = "alias/records${var.stage}-${var.generation}"
  target_key_id = aws_kms_key.records.key_id
}

resource "aws_secretsmanager_secret" "login" {
  name                    = "records${var.stage}/login-${var.generation}"
  kms_key_id              = aws_kms_key.records.arn
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "login" {
  secret_id     = aws_secretsmanager_secret.login.id
  secret_string = "release ${var.release}"
}

resource "aws_elasticache_parameter_group" "cache" {
  name   = "records${var.stage}-${var.generation}"
  family = "redis6.x"
}

resource "aws_db_parameter_group" "records" {
  name   = "records${var.stage}-${var.generation}"
  family = "postgres13"
  parameter {
    name  = "log_min_duration_statement"
    value = tostring(1000 * var.setting)
  }
}

resource "aws_dynamodb_table" "sessions" {
  name         = "records${var.stage}-sessions"
  hash_key     = "id"
  billing_mode = "PAY_PER_REQUEST"
  attribute {
    name = "id"
    type = "S"
  }
  ttl {
    attribute_name = "ends"
    enabled        = true
  }
}

resource "aws_ssm_parameter" "version" {
  name      = "/records${var.stage}/version"
  type      = "String"
  value     = var.release
  overwrite = true
}
