resource "aws_vpc" "shop" {
  cidr_block = "10.1.0.0/16"
  tags       = local.tags
}

resource "aws_subnet" "shop" {
  count      = 2
  vpc_id     = aws_vpc.shop.id
  cidr_block = "10.1.${count.index}.0/24"
  tags       = local.tags
}

resource "aws_security_group" "shop" {
  name        = "shop${var.stage}-${var.generation}"
  description = "shop"
  vpc_id      = aws_vpc.shop.id
  tags        = local.tags
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_ecr_repository" "shop" {
  name = "shop${var.stage}-${var.generation}"
  tags = local.tags
}

resource "aws_ecr_lifecycle_policy" "shop" {
  repository = aws_ecr_repository.shop.name
  policy = jsonencode({ rules = [{
    rulePriority = 1
    selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 + var.setting }
    action       = { type = "expire" }
  }] })
}

resource "aws_iam_role" "task" {
  name = "shop${var.stage}-task"
  tags = local.tags
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ecs-tasks.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_cloudwatch_log_group" "shop" {
  name              = "/ecs/shop${var.stage}"
  retention_in_days = 7
  tags              = local.tags
}

resource "aws_ecs_task_definition" "shop" {
  family                   = "shop${var.stage}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.task.arn
  tags                     = local.tags
  container_definitions = jsonencode([{
    name  = "shop"
    image = "${aws_ecr_repository.shop.repository_url}:${var.release}"
  }])
}

resource "aws_lb" "shop" {
  name               = "shop${var.stage}-${var.generation}"
  internal           = true
  load_balancer_type = "application"
  security_groups    = [aws_security_group.shop.id]
  subnets            = aws_subnet.shop[*].id
  tags               = local.tags
}

resource "aws_lb_target_group" "shop" {
  name        = "shop${var.stage}-${var.generation}"
  port        = 80
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = aws_vpc.shop.id
  tags        = local.tags
}

resource "aws_lb_listener" "shop" {
  load_balancer_arn = aws_lb.shop.arn
  port              = 80
  protocol          = "HTTP"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.shop.arn
  }
}

locals {
  tags = { app = "shop", stage = var.stage }
}
