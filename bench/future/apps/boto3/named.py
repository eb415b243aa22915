"""Deploys one of several small apps that differ in how they name their resources.

usage: named.py up|down, with SHAPE, RELEASE, SETTING, STAGE, DATE and RUN in the environment
"""

import hashlib
import io
import json
import os
import sys
import uuid
import zipfile
from datetime import datetime, timedelta

import boto3
from botocore.exceptions import ClientError

shape, release, setting = (os.environ[each] for each in ("SHAPE", "RELEASE", "SETTING"))
stage = os.environ["STAGE"].removeprefix("-")
date = os.environ["DATE"]
run = os.environ["RUN"]
region = os.environ["AWS_REGION"]
account = boto3.client("sts").get_caller_identity()["Account"]
BUCKET = f"deploys-{account}"
PARTS = {
    "words": ("tables", "queues", "topics", "functions", "builds", "parameters"),
    "previews": ("tables", "functions", "buckets", "secrets", "alarms"),
    "regions": ("queues", "tables", "functions", "topics"),
    "stages": ("tables", "queues", "functions", "parameters", "builds"),
    "short": ("tables", "queues", "topics", "parameters"),
    "hashed": ("tables", "queues", "functions", "topics"),
    "monthly": ("queues", "reports", "tables"),
    "camel": ("tables", "functions", "queues", "topics", "alarms"),
    "suffix": ("tables", "functions", "queues", "streams", "builds"),
    "branches": ("tables", "queues", "parameters", "groups", "rules", "builds"),
    "tickets": ("buckets", "tables", "secrets", "keys", "functions"),
    "tiny": ("tables", "queues", "topics", "parameters", "functions"),
    "nightly": ("queues", "snapshots", "exports", "alarms"),
    "pets": ("tables", "queues", "functions", "state", "topics"),
    "waves": ("functions", "queues", "rules", "alarms"),
    "cells": ("queues", "tables", "functions", "groups", "alarms"),
    "people": ("tables", "queues", "functions", "alarms", "groups"),
    "full": ("queues", "tables", "topics", "functions"),
    "paths": ("tables", "queues", "parameters", "groups", "rules", "state"),
    "digests": ("tables", "functions", "buckets", "secrets"),
    "versions": ("functions", "repositories", "builds", "tables"),
}
ITEMS = ("users", "orders")


def named(part):
    """The name of a resource of the app in this copy."""
    if shape == "previews":
        return f"forum-{part}" if stage == "prod" else f"forum-{stage}-{part}"
    if shape == "short":
        return f"kv-{stage}-{part[:3]}"
    if shape == "hashed":
        drawn = hashlib.sha256(f"{stage} {part}".encode()).hexdigest()[:10]
        return f"desk-{drawn}"
    if shape == "monthly":
        return f"billing-{date[:4]}-{date[4:6]}-{part}"
    if shape == "camel":
        return "Till" + "".join(each.title() for each in (*stage.split("-"), part))
    if shape == "suffix":
        return f"atlas-{part}-{stage}"
    if shape == "branches":
        return f"crm-{stage}-{part}"
    if shape == "tickets":
        return f"{stage}-helpdesk-{part}"
    if shape == "tiny":
        return f"jo-{stage}-{part[:2]}"
    if shape == "nightly":
        return f"lake-{part}"
    if shape == "pets":
        drawn = hashlib.sha256(stage.encode()).hexdigest()[:6]
        return f"shop-{stage}-{part}-{drawn}"
    if shape == "waves":
        return f"web-{part}-{stage}"
    if shape == "cells":
        cell = "".join(each[:2] for each in region.split("-")[:2]) + region[-1]
        return f"ord-{cell}-{stage}-{part}"
    if shape == "people":
        return f"{stage}-chat-{part}"
    if shape == "full":
        return f"news-{region}-{part}-{stage}"
    if shape == "paths":
        return f"{stage}_pay_{part}".replace("-", "_")
    if shape == "digests":
        drawn = hashlib.sha256(stage.encode()).hexdigest()[:4]
        return f"poll-{part}" if stage == "prod" else f"poll-br-{drawn}-{part}"
    if shape == "versions":
        return f"calc-{stage}-{part}"
    words = {"words": "kiosk", "regions": "fleet", "stages": "ledger"}
    return f"{words[shape]}-{stage}-{part}"


def client(service):
    return boto3.client(service, region_name=region)


def missing(call, **parameters):
    """Whether AWS answers a call with an error, as for a resource that does not exist."""
    try:
        call(**parameters)
    except ClientError:
        return True
    return False


def tables(do):
    dynamodb = client("dynamodb")
    for item in ITEMS:
        name = named(item)
        if do == "down":
            dynamodb.delete_table(TableName=name)
        elif missing(dynamodb.describe_table, TableName=name):
            dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        elif int(setting) > 1:
            dynamodb.update_time_to_live(
                TableName=name,
                TimeToLiveSpecification={"Enabled": int(setting) % 2 == 0, "AttributeName": "ttl"},
            )


def queues(do):
    sqs = client("sqs")
    for item in ("mails",) if shape != "stages" else ("mails", "events"):
        if do == "down":
            sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=named(item))["QueueUrl"])
            continue
        url = sqs.create_queue(QueueName=named(item))["QueueUrl"]
        sqs.set_queue_attributes(
            QueueUrl=url, Attributes={"VisibilityTimeout": str(30 + int(setting))}
        )


def topics(do):
    sns = client("sns")
    arn = f"arn:aws:sns:{region}:{account}:{named('alerts')}"
    if do == "down":
        sns.delete_topic(TopicArn=arn)
        return
    sns.create_topic(Name=named("alerts"))
    sns.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue=release)


def code():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("handler.py", f"def handler(event, context):\n    return {release}\n")
    return data.getvalue()


def functions(do):
    functions, iam, logs = client("lambda"), client("iam"), client("logs")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    for item in ("api", "worker"):
        name = named(item)
        role = f"{name}-{region}" if shape == "regions" else name
        if do == "down":
            functions.delete_function(FunctionName=name)
            logs.delete_log_group(logGroupName=f"/aws/lambda/{name}")
            iam.delete_role_policy(RoleName=role, PolicyName="own")
            iam.delete_role(RoleName=role)
        elif missing(functions.get_function, FunctionName=name):
            document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
            arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=document)["Role"]["Arn"]
            own = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [own]})
            iam.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=policy)
            logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
            functions.create_function(
                FunctionName=name, Runtime="python3.12", Handler="handler.handler", Role=arn,
                Code={"ZipFile": code()},
            )  # fmt: skip
        else:
            functions.update_function_code(FunctionName=name, ZipFile=code())
            functions.update_function_configuration(FunctionName=name, Timeout=3 + int(setting))


def builds(do):
    if do == "down":
        return
    s3 = client("s3")
    day = f"{date[:4]}/{date[4:6]}/{date[6:]}"
    drawn = hashlib.sha256(release.encode()).hexdigest()
    s3.put_object(Bucket=BUCKET, Key=f"builds/{day}/{run}.zip", Body=code())
    s3.put_object(Bucket=BUCKET, Key=f"{stage}/assets/app.{drawn[:8]}.js", Body=code())
    s3.put_object(Bucket=BUCKET, Key=f"{stage}/manifest.json", Body=b"{}")


def reports(do):
    if do == "down":
        return
    s3 = client("s3")
    s3.put_object(Bucket=BUCKET, Key=f"reports/{date[:4]}-{date[4:6]}/totals.csv", Body=b"1")
    s3.put_object(Bucket=BUCKET, Key=f"reports/year={date[:4]}/month={date[4:6]}/a.csv", Body=b"1")


def buckets(do):
    s3 = client("s3")
    name = f"{named('media')}-{account}"
    if do == "down":
        s3.delete_object(Bucket=name, Key="index.html")
        s3.delete_bucket(Bucket=name)
        return
    if missing(s3.head_bucket, Bucket=name):
        s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="index.html", Body=release.encode())


def secrets(do):
    secrets = client("secretsmanager")
    if do == "down":
        secrets.delete_secret(SecretId=named("token"), ForceDeleteWithoutRecovery=True)
    elif missing(secrets.describe_secret, SecretId=named("token")):
        secrets.create_secret(Name=named("token"), SecretString="first")
    else:
        secrets.put_secret_value(SecretId=named("token"), SecretString=release)


def parameters(do):
    ssm = client("ssm")
    place = named("settings").replace("-", "/")
    if do == "down":
        ssm.delete_parameter(Name=f"/{place}")
        return
    ssm.put_parameter(Name=f"/{place}", Value=release, Type="String", Overwrite=True)


def alarms(do):
    cloudwatch = client("cloudwatch")
    if do == "down":
        cloudwatch.delete_alarms(AlarmNames=[named("errors")])
        return
    cloudwatch.put_metric_alarm(
        AlarmName=named("errors"), Namespace="App", MetricName="Errors", Statistic="Sum",
        Period=60, EvaluationPeriods=1, Threshold=float(setting),
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip


def streams(do):
    kinesis = client("kinesis")
    if do == "down":
        kinesis.delete_stream(StreamName=named("clicks"))
    elif missing(kinesis.describe_stream_summary, StreamName=named("clicks")):
        kinesis.create_stream(StreamName=named("clicks"), ShardCount=1)


def groups(do):
    logs = client("logs")
    name = f"/{named('jobs').replace('-', '/', 1)}"
    if do == "down":
        logs.delete_log_group(logGroupName=name)
        return
    if missing(logs.create_log_group, logGroupName=name):
        logs.describe_log_groups(logGroupNamePrefix=name)
    logs.put_retention_policy(logGroupName=name, retentionInDays=7)


def rules(do):
    events = client("events")
    name = named("hourly")
    if do == "down":
        events.remove_targets(Rule=name, Ids=["queue"])
        events.delete_rule(Name=name)
        return
    events.put_rule(Name=name, ScheduleExpression=f"rate({setting} days)")
    queue = f"arn:aws:sqs:{region}:{account}:{named('mails')}"
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": queue}])


def keys(do):
    kms = client("kms")
    alias = f"alias/{named('data')}"
    if do == "down":
        key = kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"]
        kms.delete_alias(AliasName=alias)
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    elif missing(kms.describe_key, KeyId=alias):
        tags = [{"TagKey": "app", "TagValue": "helpdesk"}]
        key = kms.create_key(Tags=tags)["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName=alias, TargetKeyId=key)


def repositories(do):
    ecr = client("ecr")
    if do == "down":
        return
    if missing(ecr.describe_repositories, repositoryNames=["calc-api"]):
        ecr.create_repository(repositoryName="calc-api")


def state(do):
    """Reads the state file of a stage as Terraform does, then writes or deletes it."""
    s3 = client("s3")
    place = "shop.tfstate" if stage == "prod" else f"env:/{stage}/shop.tfstate"
    missing(s3.get_object, Bucket=BUCKET, Key=place)  # A first run finds none.
    if do == "down":
        s3.delete_object(Bucket=BUCKET, Key=place)
        return
    s3.put_object(Bucket=BUCKET, Key=place, Body=release.encode())


def _days_ago(days):
    return datetime.strptime(date, "%Y%m%d") - timedelta(days=days)


def snapshots(do):
    if do == "down":
        return
    dynamodb = client("dynamodb")
    old = f"lake-facts-{_days_ago(6):%Y-%m-%d}"
    if not missing(dynamodb.describe_table, TableName=old):
        dynamodb.delete_table(TableName=old)
    dynamodb.create_table(
        TableName=f"lake-facts-{_days_ago(0):%Y-%m-%d}",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def exports(do):
    if do == "down":
        return
    s3 = client("s3")
    drawn = uuid.uuid5(uuid.NAMESPACE_DNS, date)
    s3.put_object(
        Bucket=BUCKET, Key=f"exports/dt={_days_ago(0):%Y-%m-%d}/part-0-{drawn}.csv", Body=b"1"
    )
    s3.put_object(Bucket=BUCKET, Key="exports/latest.json", Body=b"{}")
    old = f"exports/dt={_days_ago(6):%Y-%m-%d}/"
    for each in s3.list_objects_v2(Bucket=BUCKET, Prefix=old).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=each["Key"])


for part in PARTS[shape]:
    globals()[part](sys.argv[1])
