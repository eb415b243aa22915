# Orders, deployed by Terraform. The provider is of 2021: the only one that a package index carries.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "3.39.0"
    }
  }
}

variable "release" {
  default = "1"
}

variable "fresh" {
  default = ""
}

variable "endpoint" {}

provider "aws" {
  region                  = "us-east-1"
  s3_force_path_style     = true
  skip_metadata_api_check = true
  skip_get_ec2_platforms  = true
  skip_region_validation  = true
  endpoints {
    dynamodb = var.endpoint
    ec2      = var.endpoint
    iam      = var.endpoint
    lambda   = var.endpoint
    s3       = var.endpoint
    ssm      = var.endpoint
    sts      = var.endpoint
  }
}

resource "aws_iam_role" "worker" {
  name = "orders${var.fresh}-worker"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_s3_bucket" "site" {
  bucket = "orders${var.fresh}-site"
}

resource "aws_s3_bucket_object" "index" {
  bucket  = aws_s3_bucket.site.id
  key     = "index.html"
  content = "release ${var.release}"
}

resource "aws_ssm_parameter" "limit" {
  name  = "/orders${var.fresh}/limit"
  type  = "String"
  value = var.release
}

resource "aws_lambda_function" "worker" {
  function_name = "orders${var.fresh}-worker"
  role          = aws_iam_role.worker.arn
  runtime       = "python3.8"
  handler       = "worker.handler"
  filename      = "worker.zip"
  environment {
    variables = {
      RELEASE = var.release
    }
  }
}

resource "aws_dynamodb_table" "orders" {
  name         = "orders${var.fresh}"
  hash_key     = "id"
  billing_mode = "PAY_PER_REQUEST"
  attribute {
    name = "id"
    type = "S"
  }
}

resource "aws_vpc" "orders" {
  count      = var.fresh == "" ? 0 : 1
  cidr_block = "10.0.0.0/16"
}
