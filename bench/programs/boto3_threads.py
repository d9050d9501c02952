"""`get_object` of a shared client, streamed to a file. Arguments: BUCKET KEYS DIRECTORY THREADS."""

import os
import shutil
import sys
import threading

import boto3
from botocore.config import Config

bucket, keys, directory, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
config = Config(max_pool_connections=threads, s3={"addressing_style": "path"})
client = boto3.client("s3", config=config)
with open(keys) as file:
    todo = iter(file.read().split())
lock = threading.Lock()


def work(number: int) -> None:
    temporary = f"{directory}/.partial-{number}"
    while True:
        with lock:
            key = next(todo, None)
        if key is None:
            return
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
        with open(temporary, "wb", buffering=0) as file:
            shutil.copyfileobj(body, file, 1 << 20)
        os.rename(temporary, f"{directory}/{key}")


workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
