#!/bin/sh
# A deploy as a shell script: site files, a parameter, a topic, a table and a function, all by the AWS command line.
# usage: deploy.sh up|down RELEASE
set -eu
release=$2
account=$(aws sts get-caller-identity --query Account --output text)
app=orders${FRESH_NAME-}
name=$app-$account

if [ "$1" = down ]; then
  aws lambda delete-function --function-name $app-worker
  aws sns delete-topic --topic-arn "arn:aws:sns:$AWS_REGION:$account:$app"
  aws dynamodb delete-table --table-name $app
  aws ssm delete-parameter --name /$app/release
  aws s3 rm "s3://$name" --recursive
  aws s3 rb "s3://$name"
  exit 0
fi

aws s3api head-bucket --bucket "$name" 2>/dev/null || aws s3 mb "s3://$name"
echo "<p>release $release" >site/index.html
aws s3 sync site "s3://$name/site" --delete
aws sns create-topic --name $app
if ! aws dynamodb describe-table --table-name $app >/dev/null 2>&1; then
  aws dynamodb create-table --table-name $app --billing-mode PAY_PER_REQUEST \
    --attribute-definitions AttributeName=id,AttributeType=S --key-schema AttributeName=id,KeyType=HASH
fi
aws dynamodb put-item --table-name $app --item "{\"id\": {\"S\": \"$release\"}}"
aws ssm put-parameter --name /$app/release --type String --overwrite --value "$release"
if ! aws lambda get-function --function-name $app-worker >/dev/null 2>&1; then
  aws lambda create-function --function-name $app-worker --runtime python3.12 --handler worker.handler \
    --role "arn:aws:iam::$account:role/orders-worker" --zip-file fileb://worker.zip
else
  aws lambda update-function-code --function-name $app-worker --zip-file fileb://worker.zip
  aws lambda update-function-configuration --function-name $app-worker --environment "Variables={RELEASE=$release}"
fi
