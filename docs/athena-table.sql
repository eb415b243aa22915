-- A table of CloudTrail records for the input athena-table, for any number of accounts and regions.
-- Replace DATABASE, TABLE and BUCKET; a trail of an organization has s3://BUCKET/AWSLogs/ORGANIZATION.
-- Each query names its accounts and regions, so that new ones are never left out.
CREATE EXTERNAL TABLE IF NOT EXISTS `DATABASE`.`TABLE` (
  `eventversion` string,
  `eventtime` string,
  `eventsource` string,
  `eventname` string,
  `awsregion` string,
  `useragent` string,
  `errorcode` string,
  `errormessage` string,
  `requestparameters` string,
  `responseelements` string,
  `eventid` string,
  `readonly` string,
  `eventtype` string,
  `recipientaccountid` string,
  `eventcategory` string,
  `managementevent` string,
  `sessioncredentialfromconsole` string,
  `useridentity` struct<type:string,principalid:string,arn:string,accountid:string,invokedby:string,accesskeyid:string,username:string,sessioncontext:struct<sessionissuer:struct<type:string,principalid:string,arn:string,accountid:string,username:string>,sessioncredentialfromconsole:string>>,
  `resources` array<struct<arn:string,arnprefix:string,accountid:string,type:string>>
)
COMMENT 'CloudTrail records, read by leastpriv'
PARTITIONED BY (`account` string, `region` string, `day` string)
ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'
STORED AS INPUTFORMAT 'com.amazon.emr.cloudtrail.CloudTrailInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'
LOCATION 's3://BUCKET/AWSLogs/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.account.type' = 'injected',
  'projection.region.type' = 'injected',
  'projection.day.type' = 'date',
  'projection.day.format' = 'yyyy/MM/dd',
  'projection.day.interval' = '1',
  'projection.day.interval.unit' = 'DAYS',
  'projection.day.range' = '2013/11/01,NOW',
  'storage.location.template' = 's3://BUCKET/AWSLogs/${account}/CloudTrail/${region}/${day}'
)
