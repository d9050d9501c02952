"""Sources: S3, GCS, MinIO and web servers, from which the bytes of a URI come.

* `sources` finds the source of a URI; `base` has the protocol of a source; `allowlist` checks that a URI
  may be fetched, and `circuit_breaker` that its server answers.
* `s3`, `gcs` and `http` are the sources. `aws`, `minio`, `s3_access` and `gcs_access` find the endpoint
  and the credentials of the buckets before the first request.
* `bucket` chooses between the two ways to an object in a bucket: obstore (`fast`), and the cloud's own
  client (`boto`, `gcs`). `per_process` keeps both out of forked children.
* `writing` has the protocol of a writer; `s3_writer` chooses between `fast_writer` and `boto_writer`, and
  `gcs_writer` writes to GCS. Code that only reads never gets a writer; `uploaded` puts a file that was
  uploaded into the cache.
* `failures` turns answers into errors; `web` and `guard` are shared by the sources that use requests.
"""
