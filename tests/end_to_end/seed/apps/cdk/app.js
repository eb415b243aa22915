// An orders service: a queue with a dead-letter queue, a function with code from a file, a parameter, and an asset.
// RELEASE changes what a deploy changes; CLI_CREDENTIALS deploys without the roles of the bootstrap stack.
const path = require("path");
const { App, CliCredentialsStackSynthesizer, CfnOutput, Duration, RemovalPolicy, Stack } = require("aws-cdk-lib");
const iam = require("aws-cdk-lib/aws-iam");
const kms = require("aws-cdk-lib/aws-kms");
const lambda = require("aws-cdk-lib/aws-lambda");
const s3 = require("aws-cdk-lib/aws-s3");
const assets = require("aws-cdk-lib/aws-s3-assets");
const sqs = require("aws-cdk-lib/aws-sqs");
const ssm = require("aws-cdk-lib/aws-ssm");

const fresh = process.env.FRESH_NAME || "";

class Orders extends Stack {
  constructor(scope, id, props) {
    super(scope, id, props);
    const release = process.env.RELEASE || "1";
    const dead = new sqs.Queue(this, "Dead");
    const orders = new sqs.Queue(this, "Orders", {
      queueName: `orders${fresh}`,
      visibilityTimeout: Duration.seconds(release === "1" ? 30 : 60),
      deadLetterQueue: { queue: dead, maxReceiveCount: 3 },
    });
    const role = new iam.Role(this, "Role", { assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com") });
    orders.grantConsumeMessages(role);
    new lambda.Function(this, "Worker", {
      runtime: lambda.Runtime.PYTHON_3_12,
      handler: "worker.handler",
      code: lambda.Code.fromAsset(path.join(__dirname, "function")),
      role,
      environment: { RELEASE: release },
    });
    new ssm.StringParameter(this, "Limit", { parameterName: `/orders${fresh}/limit`, stringValue: release });
    new assets.Asset(this, "Prices", { path: path.join(__dirname, "prices.csv") });
    if (fresh) {
      new kms.Key(this, "Key", { enableKeyRotation: true, removalPolicy: RemovalPolicy.RETAIN });
      new s3.Bucket(this, "Lake", { removalPolicy: RemovalPolicy.DESTROY });
    }
    new CfnOutput(this, "Url", { value: orders.queueUrl });
  }
}

new Orders(new App(), `Orders${fresh}`, {
  env: { account: process.env.CDK_DEFAULT_ACCOUNT, region: process.env.CDK_DEFAULT_REGION },
  synthesizer: process.env.CLI_CREDENTIALS ? new CliCredentialsStackSynthesizer() : undefined,
});
