// An app of the CDK whose updates set properties that its first version lacks; UPDATE is the number of the last one.
const fs = require("fs");
const path = require("path");
const { App, Duration, RemovalPolicy, Stack, Tags } = require("aws-cdk-lib");
const cloudwatch = require("aws-cdk-lib/aws-cloudwatch");
const dynamodb = require("aws-cdk-lib/aws-dynamodb");
const events = require("aws-cdk-lib/aws-events");
const targets = require("aws-cdk-lib/aws-events-targets");
const iam = require("aws-cdk-lib/aws-iam");
const kms = require("aws-cdk-lib/aws-kms");
const lambda = require("aws-cdk-lib/aws-lambda");
const sources = require("aws-cdk-lib/aws-lambda-event-sources");
const logs = require("aws-cdk-lib/aws-logs");
const s3 = require("aws-cdk-lib/aws-s3");
const sns = require("aws-cdk-lib/aws-sns");
const sqs = require("aws-cdk-lib/aws-sqs");
const ssm = require("aws-cdk-lib/aws-ssm");

const update = Number(process.env.UPDATE || "0");
const from = (number, value) => (update >= number ? value : undefined);

const stack = new Stack(new App(), "shop", {
  env: { account: process.env.CDK_DEFAULT_ACCOUNT, region: process.env.CDK_DEFAULT_REGION },
});
const folder = path.join(__dirname, "function");
fs.mkdirSync(folder, { recursive: true });
fs.writeFileSync(path.join(folder, "worker.py"), `def handler(event, context):\n    return ${update >= 2 ? 2 : 1}\n`);

const key = new kms.Key(stack, "Key", {
  enableKeyRotation: from(1, true),
  description: from(3, "of the shop"),
});
const inbox = new sqs.Queue(stack, "Inbox", { visibilityTimeout: from(1, Duration.seconds(60)) });
const table = new dynamodb.Table(stack, "Orders", {
  partitionKey: { name: "id", type: dynamodb.AttributeType.STRING },
  billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
  removalPolicy: RemovalPolicy.DESTROY,
  timeToLiveAttribute: from(2, "until"),
  stream: from(3, dynamodb.StreamViewType.NEW_IMAGE),
});
const files = new s3.Bucket(stack, "Files", {
  removalPolicy: RemovalPolicy.DESTROY,
  versioned: from(1, true),
  lifecycleRules: from(2, [{ expiration: Duration.days(30) }]),
  cors: from(4, [{ allowedMethods: [s3.HttpMethods.GET], allowedOrigins: ["*"] }]),
});
const log = new logs.LogGroup(stack, "Log", {
  logGroupName: "/shop/worker",
  removalPolicy: RemovalPolicy.DESTROY,
  retention: update >= 3 ? logs.RetentionDays.ONE_MONTH : logs.RetentionDays.TWO_YEARS,
});
const worker = new lambda.Function(stack, "Worker", {
  runtime: lambda.Runtime.PYTHON_3_12,
  handler: "worker.handler",
  code: lambda.Code.fromAsset(folder),
  memorySize: from(1, 256),
  environment: update >= 4 ? { LOG: log.logGroupName, TABLE: table.tableName } : { LOG: log.logGroupName },
});
worker.addEventSource(new sources.SqsEventSource(inbox, { batchSize: update >= 5 ? 5 : 10 }));
table.grantReadWriteData(worker);
if (update >= 4) files.grantRead(worker);
const hourly = new events.Rule(stack, "Hourly", {
  schedule: events.Schedule.rate(Duration.hours(update >= 5 ? 2 : 1)),
  description: from(2, "every hour"),
});
hourly.addTarget(new targets.LambdaFunction(worker));
const alarms = new sns.Topic(stack, "Alarms", { displayName: from(4, "alarms") });
new cloudwatch.Alarm(stack, "Waiting", {
  metric: inbox.metricApproximateNumberOfMessagesVisible(),
  threshold: 1 + update,
  evaluationPeriods: 1,
});
new ssm.StringParameter(stack, "Topic", {
  parameterName: "/shop/topic",
  stringValue: `${alarms.topicArn} ${update}`,
  description: from(5, "of the alarms"),
});
new iam.Role(stack, "Reader", {
  assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com"),
  maxSessionDuration: from(5, Duration.hours(2)),
});
if (update >= 5) Tags.of(stack).add("team", "shop");
key.grantEncryptDecrypt(worker);
