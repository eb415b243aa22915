"""Deploys a nightly job with boto3: bucket, Glue database, crawler and job, a state machine and its
schedule.

usage: etl.py up|down, with RELEASE, SETTING, GENERATION and STAGE in the environment
"""

import json
import os
import sys

import boto3

release, setting, stage = (os.environ[each] for each in ("RELEASE", "SETTING", "STAGE"))
name = f"sales{stage}-{os.environ['GENERATION']}"
database = name.replace("-", "_")
s3, iam, glue, states, events = (
    boto3.client(each, region_name=os.environ["AWS_REGION"])
    for each in ("s3", "iam", "glue", "stepfunctions", "events")
)
account = boto3.client("sts").get_caller_identity()["Account"]


def role(suffix, service, statement):
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    try:
        arn = iam.get_role(RoleName=f"{name}-{suffix}")["Role"]["Arn"]
    except iam.exceptions.NoSuchEntityException:
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn = iam.create_role(RoleName=f"{name}-{suffix}", AssumeRolePolicyDocument=document)[
            "Role"
        ]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})
    iam.put_role_policy(RoleName=f"{name}-{suffix}", PolicyName="own", PolicyDocument=policy)
    return arn


def machine_arn():
    return f"arn:aws:states:{os.environ['AWS_REGION']}:{account}:stateMachine:{name}"


def definition():
    step = {
        "Type": "Task",
        "Resource": "arn:aws:states:::glue:startJobRun",
        "Parameters": {"JobName": name},
        "End": True,
    }
    return json.dumps(
        {"Comment": f"release {release}", "StartAt": "Load", "States": {"Load": step}}
    )


def up():
    worker = role(
        "glue", "glue", {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}-lake/*"}
    )
    runner = role("states", "states", {"Action": "glue:StartJobRun", "Resource": "*"})
    script = f"s3://{name}-lake/jobs/load-{release}.py"
    job = {
        "Role": worker,
        "Command": {"Name": "glueetl", "ScriptLocation": script},
        "MaxRetries": int(setting),
    }
    try:
        glue.get_job(JobName=name)
        is_new = False
    except glue.exceptions.EntityNotFoundException:
        is_new = True
    if is_new:
        s3.create_bucket(Bucket=f"{name}-lake")
        s3.put_bucket_encryption(
            Bucket=f"{name}-lake",
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        glue.create_database(DatabaseInput={"Name": database})
        targets = {"S3Targets": [{"Path": f"s3://{name}-lake/raw"}]}
        glue.create_crawler(
            Name=name, Role=worker, DatabaseName=database, Targets=targets, Tags={"app": "sales"}
        )
    s3.put_object(
        Bucket=f"{name}-lake", Key=f"jobs/load-{release}.py", Body=f"release = {release}".encode()
    )
    if is_new:
        glue.create_job(Name=name, Tags={"app": "sales"}, **job)
        states.create_state_machine(name=name, definition=definition(), roleArn=runner)
    else:
        glue.update_job(JobName=name, JobUpdate=job)
        states.update_state_machine(
            stateMachineArn=machine_arn(), definition=definition(), roleArn=runner
        )
    events.put_rule(Name=name, ScheduleExpression=f"rate({1 + int(setting)} hours)")
    events.put_targets(
        Rule=name, Targets=[{"Id": "machine", "Arn": machine_arn(), "RoleArn": runner}]
    )


def down():
    events.remove_targets(Rule=name, Ids=["machine"])
    events.delete_rule(Name=name)
    states.delete_state_machine(stateMachineArn=machine_arn())
    glue.delete_job(JobName=name)
    glue.delete_crawler(Name=name)
    glue.delete_database(Name=database)
    for each in s3.list_objects_v2(Bucket=f"{name}-lake").get("Contents", []):
        s3.delete_object(Bucket=f"{name}-lake", Key=each["Key"])
    s3.delete_bucket(Bucket=f"{name}-lake")
    for suffix in ("glue", "states"):
        iam.delete_role_policy(RoleName=f"{name}-{suffix}", PolicyName="own")
        iam.delete_role(RoleName=f"{name}-{suffix}")


{"up": up, "down": down}[sys.argv[1]]()
