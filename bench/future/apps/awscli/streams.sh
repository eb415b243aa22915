#!/bin/sh
# Clicks by the AWS command line: a stream, a delivery stream to a bucket, a topic, an alarm and a dashboard.
# usage: streams.sh up|down, with RELEASE, SETTING, GENERATION and STAGE in the environment
set -eu
account=$(aws sts get-caller-identity --query Account --output text)
name=clicks$STAGE-$GENERATION
bucket=$name-archive
role=$name-delivery
trust='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"firehose.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
topic=arn:aws:sns:$AWS_REGION:$account:$name-alarms

if [ "$1" = down ]; then
  aws cloudwatch delete-dashboards --dashboard-names "$name"
  aws cloudwatch delete-alarms --alarm-names "$name-late"
  aws sns delete-topic --topic-arn "$topic"
  aws firehose delete-delivery-stream --delivery-stream-name "$name"
  aws kinesis delete-stream --stream-name "$name" --enforce-consumer-deletion
  aws iam delete-role-policy --role-name "$role" --policy-name archive
  aws iam delete-role --role-name "$role"
  aws s3 rm "s3://$bucket" --recursive
  aws s3api delete-bucket --bucket "$bucket"
  exit 0
fi

if ! aws kinesis describe-stream-summary --stream-name "$name" >/dev/null 2>&1; then
  aws s3api create-bucket --bucket "$bucket"
  aws s3api put-bucket-lifecycle-configuration --bucket "$bucket" --lifecycle-configuration \
    '{"Rules":[{"ID":"old","Status":"Enabled","Filter":{"Prefix":""},"Expiration":{"Days":30}}]}'
  aws kinesis create-stream --stream-name "$name" --shard-count 1
  aws kinesis wait stream-exists --stream-name "$name"
  aws iam create-role --role-name "$role" --assume-role-policy-document "$trust"
  aws iam put-role-policy --role-name "$role" --policy-name archive --policy-document \
    "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:PutObject\",\"Resource\":\"arn:aws:s3:::$bucket/*\"}]}"
  aws firehose create-delivery-stream --delivery-stream-name "$name" --delivery-stream-type DirectPut \
    --extended-s3-destination-configuration "RoleARN=arn:aws:iam::$account:role/$role,BucketARN=arn:aws:s3:::$bucket"
  aws sns create-topic --name "$name-alarms"
fi
aws kinesis increase-stream-retention-period --stream-name "$name" --retention-period-hours $((24 + SETTING)) 2>/dev/null || true
aws cloudwatch put-metric-alarm --alarm-name "$name-late" --namespace AWS/Kinesis --metric-name GetRecords.IteratorAgeMilliseconds \
  --dimensions "Name=StreamName,Value=$name" --statistic Maximum --period 60 --evaluation-periods "$SETTING" \
  --threshold 60000 --comparison-operator GreaterThanThreshold --alarm-actions "$topic"
aws cloudwatch put-dashboard --dashboard-name "$name" --dashboard-body \
  "{\"widgets\":[{\"type\":\"text\",\"width\":6,\"height\":3,\"properties\":{\"markdown\":\"release $RELEASE\"}}]}"
aws s3api put-object --bucket "$bucket" --key release.txt --content-type "text/plain" --metadata "release=$RELEASE"
aws kinesis put-record --stream-name "$name" --partition-key deploy --data "$(printf 'release %s' "$RELEASE" | base64)"
