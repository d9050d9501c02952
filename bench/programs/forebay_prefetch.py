"""What a job script does; fails unless every sample was downloaded. Argument: a file of URIS."""

import sys

import forebay

with open(sys.argv[1]) as file:
    uris = file.read().split()
job = forebay.download_media(uris, progress=False)
status = job.status()
print(status)
sys.exit(status.downloaded != len(uris))
