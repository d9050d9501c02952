"""What a job script does; fails unless every sample was downloaded. Argument: a file of URIs.

Prints the job's status as JSON.
"""

import json
import sys

import forebay

with open(sys.argv[1]) as file:
    uris = file.read().split()
job = forebay.download_media(uris, progress=False)
status = job.status()
print(json.dumps(status.as_dict()))
if status.downloaded != len(uris):
    sys.exit(f"not everything was downloaded: {job.failures()[:3]}")
