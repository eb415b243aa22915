# What the five apps share. The provider is of 2021: the only one that a package index carries.
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

variable "setting" {
  default = 1
}

variable "generation" {
  default = "1"
}

variable "stage" {
  default = ""
}

variable "region" {
  default = "us-east-1"
}

variable "endpoint" {}

provider "aws" {
  region                  = var.region
  s3_force_path_style     = true
  skip_metadata_api_check = true
  skip_get_ec2_platforms  = true
  skip_region_validation  = true
  endpoints {
    apigateway       = var.endpoint
    cloudwatch       = var.endpoint
    cloudwatchevents = var.endpoint
    cloudwatchlogs   = var.endpoint
    dynamodb         = var.endpoint
    ec2              = var.endpoint
    ecr              = var.endpoint
    ecs              = var.endpoint
    elasticache      = var.endpoint
    elb              = var.endpoint
    iam              = var.endpoint
    kinesis          = var.endpoint
    kms              = var.endpoint
    lambda           = var.endpoint
    rds              = var.endpoint
    s3               = var.endpoint
    secretsmanager   = var.endpoint
    sns              = var.endpoint
    sqs              = var.endpoint
    ssm              = var.endpoint
    stepfunctions    = var.endpoint
    sts              = var.endpoint
  }
}
