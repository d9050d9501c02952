"""boto3: prints every key of a bucket. Arguments: ENDPOINT BUCKET."""

import sys

import boto3

client = boto3.client("s3", endpoint_url=sys.argv[1])
for page in client.get_paginator("list_objects_v2").paginate(Bucket=sys.argv[2]):
    for item in page["Contents"]:
        print(item["Key"])
