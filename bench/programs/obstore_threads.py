"""obstore in threads, streamed to a file and renamed. Arguments: BUCKET KEYS DIRECTORY THREADS."""

import os
import sys
import threading

import obstore
from obstore.store import S3Store

bucket, keys, directory, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
store = S3Store(
    bucket,
    endpoint=os.environ["AWS_ENDPOINT_URL"],
    virtual_hosted_style_request=False,
    client_options={"allow_http": True},
)
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
        result = obstore.get(store, key)
        with open(temporary, "wb", buffering=0) as file:
            for piece in result.stream():
                file.write(piece)
        os.rename(temporary, f"{directory}/{key}")


workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
