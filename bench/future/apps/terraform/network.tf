resource "aws_iam_role" "execution" {
  name = "web${var.stage}-execution"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ecs-tasks.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_subnet" "web" {
  count      = 2
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.0.${count.index}.0/24"
}

resource "aws_security_group" "access" {
  name        = "access${var.stage}-${var.generation}"
  description = "access"
  vpc_id      = aws_vpc.main.id
  ingress {
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["10.${var.setting}.0.0/16"]
  }
}

resource "aws_ecr_repository" "web" {
  name = "shop${var.stage}/web"
}

resource "aws_cloudwatch_log_group" "web" {
  name = "/shop${var.stage}/web-${var.generation}"
}

resource "aws_ecs_task_definition" "web" {
  family                   = "web${var.stage}"
  cpu                      = 256 * var.setting
  memory                   = 512
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions    = jsonencode([{ name = "web", image = "shop/web:${var.release}", essential = true }])
}
