resource "aws_s3_bucket" "site" {
  bucket        = "site${var.stage}-${var.generation}-111122223333"
  force_destroy = true
  versioning {
    enabled = var.setting % 2 == 0
  }
}

resource "aws_s3_bucket_policy" "site" {
  bucket = aws_s3_bucket.site.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "cloudfront.amazonaws.com" }
      Action    = "s3:GetObject"
      Resource  = "${aws_s3_bucket.site.arn}/*"
    }]
  })
}

resource "aws_s3_bucket_object" "index" {
  bucket  = aws_s3_bucket.site.id
  key     = "index.html"
  content = "release ${var.release}"
}

resource "aws_s3_bucket_object" "script" {
  bucket  = aws_s3_bucket.site.id
  key     = "assets/app.${md5(var.release)}.js"
  content = "release = ${var.release}"
}

resource "aws_ssm_parameter" "version" {
  name  = "/site${var.stage}/version"
  type  = "String"
  value = var.release
}
