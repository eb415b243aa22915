// Five apps in one file; SHAPE chooses one. RELEASE changes code, SETTING a property, GENERATION the names of some
// resources, STAGE (empty or `-qa`) is part of all names.
const fs = require("fs");
const path = require("path");
const { App, CliCredentialsStackSynthesizer, CfnOutput, Duration, RemovalPolicy, Stack } = require("aws-cdk-lib");
const apigateway = require("aws-cdk-lib/aws-apigateway");
const cloudwatch = require("aws-cdk-lib/aws-cloudwatch");
const dynamodb = require("aws-cdk-lib/aws-dynamodb");
const ec2 = require("aws-cdk-lib/aws-ec2");
const ecr = require("aws-cdk-lib/aws-ecr");
const ecs = require("aws-cdk-lib/aws-ecs");
const events = require("aws-cdk-lib/aws-events");
const iam = require("aws-cdk-lib/aws-iam");
const kinesis = require("aws-cdk-lib/aws-kinesis");
const lambda = require("aws-cdk-lib/aws-lambda");
const logs = require("aws-cdk-lib/aws-logs");
const s3 = require("aws-cdk-lib/aws-s3");
const sns = require("aws-cdk-lib/aws-sns");
const sqs = require("aws-cdk-lib/aws-sqs");
const ssm = require("aws-cdk-lib/aws-ssm");
const stepfunctions = require("aws-cdk-lib/aws-stepfunctions");

const release = process.env.RELEASE || "1";
const setting = Number(process.env.SETTING || "1");
const generation = process.env.GENERATION || "1";
const stage = process.env.STAGE || "";

function worker(scope, id, role, options = {}) {
  const folder = path.join(__dirname, "function");
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, "worker.py"), `def handler(event, context):\n    return ${release}\n`);
  const code = lambda.Code.fromAsset(folder);
  const runtime = lambda.Runtime.PYTHON_3_12;
  return new lambda.Function(scope, id, { runtime, handler: "worker.handler", code, role, ...options });
}

function service(scope, id, name) {
  return new iam.Role(scope, id, { assumedBy: new iam.ServicePrincipal(`${name}.amazonaws.com`) });
}

const shapes = {
  api(stack) {
    const made = worker(stack, "Handler", service(stack, "HandlerRole", "lambda"), {
      memorySize: 128 * setting,
      environment: { RELEASE: release },
    });
    new logs.LogGroup(stack, "Log", { logGroupName: `/shop${stage}/api-${generation}`, removalPolicy: RemovalPolicy.DESTROY });
    const body = { openapi: "3.0.1", info: { title: `shop-${setting}`, version: "1" }, paths: {} };
    new apigateway.CfnRestApi(stack, `Api${generation}`, { name: `shop-${setting}`, body });
    new lambda.Alias(stack, "Live", { aliasName: "live", version: made.currentVersion });
    made.addPermission("Call", { principal: new iam.ServicePrincipal("apigateway.amazonaws.com") });
  },
  site(stack) {
    const bucket = new s3.Bucket(stack, `Site${generation}`, {
      bucketName: `site${stage}-${generation}-111122223333`,
      websiteIndexDocument: "index.html",
      websiteErrorDocument: `error-${setting}.html`,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    bucket.addToResourcePolicy(new iam.PolicyStatement({
      actions: ["s3:GetObject"],
      resources: [bucket.arnForObjects("*")],
      principals: [new iam.ServicePrincipal("cloudfront.amazonaws.com")],
    }));
    new ssm.StringParameter(stack, "Version", { parameterName: `/site${stage}/version`, stringValue: release });
    new CfnOutput(stack, "Bucket", { value: bucket.bucketName });
  },
  queue(stack) {
    const dead = new sqs.Queue(stack, "Dead");
    const queue = new sqs.Queue(stack, `Orders${generation}`, {
      queueName: `orders${stage}-${generation}`,
      visibilityTimeout: Duration.seconds(30 * setting),
      deadLetterQueue: { queue: dead, maxReceiveCount: 3 },
    });
    const table = new dynamodb.Table(stack, "Table", {
      partitionKey: { name: "id", type: dynamodb.AttributeType.STRING },
      billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const role = service(stack, "WorkerRole", "lambda");
    queue.grantConsumeMessages(role);
    table.grantReadWriteData(role);
    const made = worker(stack, "Worker", role, { environment: { TABLE: table.tableName, RELEASE: release } });
    made.addEventSourceMapping("FromQueue", { eventSourceArn: queue.queueArn, batchSize: setting });
    const topic = new sns.Topic(stack, "Alarms");
    const metric = dead.metricApproximateNumberOfMessagesVisible();
    new cloudwatch.Alarm(stack, "DeadLetters", { metric, threshold: setting, evaluationPeriods: 1 });
    new CfnOutput(stack, "Topic", { value: topic.topicArn });
  },
  network(stack) {
    const vpc = new ec2.CfnVPC(stack, "Vpc", { cidrBlock: "10.0.0.0/16", enableDnsSupport: true });
    const subnets = [0, 1].map((each) => new ec2.CfnSubnet(stack, `Subnet${each}`, {
      vpcId: vpc.ref,
      cidrBlock: `10.0.${each}.0/24`,
    }));
    new ec2.CfnSecurityGroup(stack, `Access${generation}`, {
      groupDescription: `access ${generation}`,
      vpcId: vpc.ref,
      securityGroupIngress: [{ ipProtocol: "tcp", fromPort: 443, toPort: 443, cidrIp: "10.0.0.0/8" }],
    });
    new ecr.Repository(stack, "Images", { repositoryName: `shop${stage}/web`, removalPolicy: RemovalPolicy.DESTROY });
    new ecs.CfnCluster(stack, "Cluster", { clusterName: `shop${stage}` });
    const log = new logs.LogGroup(stack, `Log${generation}`, { removalPolicy: RemovalPolicy.DESTROY });
    new ecs.CfnTaskDefinition(stack, "Task", {
      family: `web${stage}`,
      cpu: String(256 * setting),
      memory: "512",
      networkMode: "awsvpc",
      requiresCompatibilities: ["FARGATE"],
      executionRoleArn: service(stack, "ExecutionRole", "ecs-tasks").roleArn,
      containerDefinitions: [{ name: "web", image: `shop/web:${release}`, essential: true }],
    });
    new CfnOutput(stack, "Network", { value: `${subnets[0].ref} ${log.logGroupName}` });
  },
  pipeline(stack) {
    const bucket = new s3.Bucket(stack, "Lake", {
      removalPolicy: RemovalPolicy.DESTROY,
      lifecycleRules: [{ expiration: Duration.days(30 * setting) }],
    });
    const stream = new kinesis.Stream(stack, "Clicks", { streamName: `clicks${stage}-${generation}`, shardCount: 1 });
    const made = worker(stack, "Transform", service(stack, "TransformRole", "lambda"), {
      environment: { BUCKET: bucket.bucketName, STREAM: stream.streamName },
    });
    const role = service(stack, "MachineRole", "states");
    made.grantInvoke(role);
    const machine = new stepfunctions.CfnStateMachine(stack, "Nightly", {
      roleArn: role.roleArn,
      definitionString: JSON.stringify({
        Comment: `release ${release}`,
        StartAt: "Transform",
        States: { Transform: { Type: "Pass", End: true } },
      }),
    });
    new events.CfnRule(stack, `Every${generation}`, {
      scheduleExpression: `rate(${setting + 1} hours)`,
      targets: [{ id: "machine", arn: machine.attrArn, roleArn: service(stack, "RuleRole", "events").roleArn }],
    });
    new ssm.StringParameter(stack, "Watermark", { parameterName: `/lake${stage}/watermark`, stringValue: String(setting) });
  },
};

const shape = process.env.SHAPE;
const stack = new Stack(new App(), `shop${stage}-${shape}`, {
  env: { account: process.env.CDK_DEFAULT_ACCOUNT, region: process.env.CDK_DEFAULT_REGION },
  synthesizer: process.env.BOOTSTRAP_ROLES ? undefined : new CliCredentialsStackSynthesizer(),
});
shapes[shape](stack);
