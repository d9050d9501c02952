"""Sources: S3, GCS, MinIO and web servers, from which the bytes of a URI come.

* `sources` finds the source of a URI; `base` has the protocol of a source; `allowlist` checks that a URI
  may be fetched, and `circuit_breaker` that its server answers.
* `s3`, `gcs` and `http` say how to ask, and what answers mean; `reader` asks and waits, with the sinks of
  `bodies`. `asking`, `answers` and `failures` hold what they share: conditions, redirects, metadata, errors.
* `aws`, `minio`, `s3_access`, `keys` and `gcs_access` find the endpoint and the credentials before the first
  request; `routes` adds whom to trust, proxies and guards.
* `boto` and `gcs_client` list and sign.
* `writing` has the protocol of a writer; `boto_writer` and `gcs_writer` write. Code that only reads never
  gets a writer; `uploaded` puts a file that was uploaded into the cache.
* `per_process` keeps the clients of a process out of its forked children.
"""
