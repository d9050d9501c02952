"""Where a URI's bytes come from.

* `registry` gives each URI its source; `base` says what a source is; `allowed` says which URIs may be
  fetched at all.
* `s3`, `gcs`, `http` and `local` are the sources. `aws`, `minio`, `s3_access` and `gcs_access` find out
  how to reach the buckets, before the first request.
* `bucket` chooses between the two ways to an object in a bucket: obstore (`fast`), and the cloud's own
  client (`boto`, `gcs`). `process` keeps both out of forked children.
* `writing` says what a writer is; `s3_writer` chooses between `fast_writer` and `boto_writer`, and
  `gcs_writer` writes to GCS. Nothing that reads is ever given one.
* `failures` makes errors of answers; `web` and `guard` are what sources share that speak through requests.
"""
