#!/bin/sh
# A site behind CloudFront by the AWS command line: bucket, origin access control, distribution, invalidation, parameters.
# usage: cdn.sh up|down, with RELEASE, SETTING, GENERATION and STAGE in the environment
set -eu
name=docs$STAGE-$GENERATION
bucket=$name-pages
parameter=/docs$STAGE/$GENERATION

read_parameter() { aws ssm get-parameter --name "$parameter/$1" --query Parameter.Value --output text; }

if [ "$1" = down ]; then
  distribution=$(read_parameter distribution)
  aws cloudfront get-distribution-config --id "$distribution" --query DistributionConfig >config.json
  etag=$(aws cloudfront get-distribution-config --id "$distribution" --query ETag --output text)
  sed -i 's/"Enabled": true/"Enabled": false/' config.json
  aws cloudfront update-distribution --id "$distribution" --if-match "$etag" --distribution-config file://config.json >updated.json
  etag=$(aws cloudfront get-distribution --id "$distribution" --query ETag --output text)
  aws cloudfront delete-distribution --id "$distribution" --if-match "$etag"
  aws s3 rm "s3://$bucket" --recursive
  aws s3 rb "s3://$bucket"
  aws ssm delete-parameters --names "$parameter/distribution" "$parameter/release"
  exit 0
fi

mkdir -p pages/assets
rm -f pages/assets/*
echo "release $RELEASE" >pages/index.html
echo "release = $RELEASE" >"pages/assets/app.$(printf %s "$RELEASE" | md5sum | cut -c1-12).js"
if ! aws s3api head-bucket --bucket "$bucket" 2>/dev/null; then
  aws s3 mb "s3://$bucket"
  aws s3api put-public-access-block --bucket "$bucket" \
    --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
  cat >distribution.json <<J
{"CallerReference": "$name-$RELEASE", "Comment": "$name", "Enabled": true,
 "Origins": {"Quantity": 1, "Items": [{"Id": "pages", "DomainName": "$bucket.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}]},
 "DefaultCacheBehavior": {"TargetOriginId": "pages", "ViewerProtocolPolicy": "redirect-to-https", "MinTTL": 0,
  "ForwardedValues": {"QueryString": false, "Cookies": {"Forward": "none"}}}}
J
  distribution=$(aws cloudfront create-distribution --distribution-config file://distribution.json --query Distribution.Id --output text)
  aws ssm put-parameter --name "$parameter/distribution" --type String --value "$distribution" --overwrite
fi
distribution=$(read_parameter distribution)
aws s3 sync pages "s3://$bucket" --delete --no-progress --cache-control "max-age=$((SETTING * 60))"
aws cloudfront create-invalidation --distribution-id "$distribution" --paths "/index.html"
aws ssm put-parameter --name "$parameter/release" --type String --value "$RELEASE" --overwrite
