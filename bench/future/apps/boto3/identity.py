"""Deploys an HTTP API with boto3: a user pool with a client, a function behind API Gateway, and a
log group.

usage: identity.py up|down, with RELEASE, SETTING, GENERATION and STAGE in the environment
"""

import io
import json
import os
import sys
import zipfile

import boto3

release, setting, stage = (os.environ[each] for each in ("RELEASE", "SETTING", "STAGE"))
region = os.environ["AWS_REGION"]
name = f"members{stage}-{os.environ['GENERATION']}"
iam, functions, apis, users, logs, secrets = (
    boto3.client(each, region_name=region)
    for each in ("iam", "lambda", "apigatewayv2", "cognito-idp", "logs", "secretsmanager")
)
account = boto3.client("sts").get_caller_identity()["Account"]
TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "lambda.amazonaws.com"},
    "Action": "sts:AssumeRole",
}


def code():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("handler.py", f"def handler(event, context):\n    return {release}\n")
    return data.getvalue()


def pool_of_name():
    pools = users.list_user_pools(MaxResults=60)["UserPools"]
    return next((each["Id"] for each in pools if each["Name"] == name), None)


def api_of_name():
    return next((each["ApiId"] for each in apis.get_apis()["Items"] if each["Name"] == name), None)


def up():
    if api_of_name() is None:
        document = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
        role = iam.create_role(RoleName=f"{name}-handler", AssumeRolePolicyDocument=document)[
            "Role"
        ]["Arn"]
        basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
        iam.attach_role_policy(RoleName=f"{name}-handler", PolicyArn=basic)
        logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
        function = functions.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Handler="handler.handler",
            Role=role,
            Code={"ZipFile": code()},
        )["FunctionArn"]
        pool = users.create_user_pool(PoolName=name)["UserPool"]["Id"]
        client = users.create_user_pool_client(UserPoolId=pool, ClientName="web")["UserPoolClient"][
            "ClientId"
        ]
        secrets.create_secret(Name=f"{name}/client", SecretString=json.dumps({"client": client}))
        api = apis.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
        issuer = f"https://cognito-idp.{region}.amazonaws.com/{pool}"
        authorizer = apis.create_authorizer(
            ApiId=api, AuthorizerType="JWT", Name="users",
            IdentitySource=["$request.header.Authorization"],
            JwtConfiguration={"Audience": [client], "Issuer": issuer},
        )["AuthorizerId"]  # fmt: skip
        made = apis.create_integration(
            ApiId=api,
            IntegrationType="AWS_PROXY",
            IntegrationUri=function,
            PayloadFormatVersion="2.0",
        )["IntegrationId"]
        apis.create_route(
            ApiId=api,
            RouteKey="GET /me",
            Target=f"integrations/{made}",
            AuthorizationType="JWT",
            AuthorizerId=authorizer,
        )
        apis.create_stage(ApiId=api, StageName="live", AutoDeploy=True)
        functions.add_permission(
            FunctionName=name, StatementId="api", Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{region}:{account}:{api}/*",
        )  # fmt: skip
    else:
        functions.update_function_code(FunctionName=name, ZipFile=code())
    functions.update_function_configuration(FunctionName=name, Timeout=3 + int(setting))
    logs.put_retention_policy(
        logGroupName=f"/aws/lambda/{name}", retentionInDays=7 if int(setting) % 2 else 14
    )
    apis.update_stage(ApiId=api_of_name(), StageName="live", Description=f"release {release}")


def down():
    apis.delete_api(ApiId=api_of_name())
    functions.delete_function(FunctionName=name)
    logs.delete_log_group(logGroupName=f"/aws/lambda/{name}")
    secrets.delete_secret(SecretId=f"{name}/client", ForceDeleteWithoutRecovery=True)
    users.delete_user_pool(UserPoolId=pool_of_name())
    iam.detach_role_policy(
        RoleName=f"{name}-handler",
        PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    )
    iam.delete_role(RoleName=f"{name}-handler")


{"up": up, "down": down}[sys.argv[1]]()
