"""The buckets that CVAT's cloud storages are made of."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from forebay.config import MediaCacheConfig
from forebay.cvat.manifest_location import bucket_root, parse_in_bucket
from forebay.sources.aws import aws_access
from forebay.sources.azure_account import azure_account
from forebay.sources.credential_rules import settings_for
from forebay.sources.minio import minio_access

S3_PROVIDER, GCS_PROVIDER, AZURE_PROVIDER = "AWS_S3_BUCKET", "GOOGLE_CLOUD_STORAGE", "AZURE_CONTAINER"
_LOCAL_HOSTS = ("localhost", "127.", "[::1]", "host.docker.internal")


@dataclass(frozen=True)
class CloudBucket:
    """A bucket, by what tells it from others in CVAT.

    Attributes:
        uri: for instance ``s3://photos/``.
        provider: CVAT's word for its kind.
        name: its name.
        endpoint: the URL of the S3 server, as this machine reaches it; ``None`` for AWS and other clouds.
        region: of an S3 bucket.
        account: the storage account of an Azure container.
    """

    uri: str
    provider: str
    name: str
    endpoint: str | None = None
    region: str | None = None
    account: str | None = None

    @classmethod
    def of(cls, uri: str, config: MediaCacheConfig) -> CloudBucket:
        """The bucket that holds a URI.

        Raises:
            UriError: it is in no bucket.
            ConfigError: the configuration of this kind of bucket cannot be used.
        """
        parsed = parse_in_bucket(uri)
        root = bucket_root(parsed)
        if parsed.scheme == "gs":
            return cls(root, GCS_PROVIDER, parsed.bucket)
        if parsed.scheme == "az":
            container, _, host = parsed.bucket.partition("@")
            account = host.partition(".")[0] or azure_account(settings_for(config, parsed)).name
            return cls(root, AZURE_PROVIDER, container, account=account)
        access = (minio_access if parsed.scheme == "minio" else aws_access)(settings_for(config, parsed))
        return cls(root, S3_PROVIDER, parsed.bucket, access.endpoint, access.region)

    @property
    def attach_command(self) -> str:
        """The command that attaches this bucket to CVAT."""
        return f"forebay cvat attach {self.uri.rstrip('/')}"


def endpoint_fits(theirs: str | None, ours: str | None) -> bool:
    if ours is None or theirs is None:
        return _is_aws(theirs) and _is_aws(ours)
    return _address(theirs) == _address(ours) or _is_local(ours) or _is_local(theirs)


def _is_aws(endpoint: str | None) -> bool:
    return endpoint is None or (urlsplit(endpoint).hostname or "").endswith(".amazonaws.com")


def _is_local(endpoint: str) -> bool:
    """Whether an address is valid on one machine only."""
    return urlsplit(endpoint).netloc.startswith(_LOCAL_HOSTS)


def _address(endpoint: str) -> tuple[str, str | None, int]:
    parts = urlsplit(endpoint)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
