"""``s3://bucket/key`` and ``minio://bucket/key``: S3 and servers with its protocol."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from forebay.config import MediaCacheConfig
from forebay.sources.aws import aws_access
from forebay.sources.boto import BotoReader
from forebay.sources.boto_writer import BotoWriter
from forebay.sources.bucket import BucketSource
from forebay.sources.fast import FastReader, client_options
from forebay.sources.fast_writer import FastWriter
from forebay.sources.minio import minio_access
from forebay.sources.per_process import PerProcess
from forebay.sources.s3_access import S3Access, S3CredentialProvider
from forebay.sources.s3_listing import S3Pages
from forebay.sources.s3_writer import S3Writer

if TYPE_CHECKING:
    from obstore.store import S3Store

# obstore is imported in the function that needs it, which a forked child never calls; see `per_process`.
_REGION = re.compile(r"<Region>\s*([a-z0-9-]{1,40})\s*</Region>")


def s3_source(config: MediaCacheConfig, *, obstore: bool = True) -> BucketSource:
    """The source of ``s3://`` URIs; configured as `forebay.sources.aws` describes.

    Args:
        obstore: whether bytes may move through obstore.

    Raises:
        ConfigError: the AWS configuration cannot be used.
    """
    return _source(config, lambda: aws_access(config), obstore)


def minio_source(config: MediaCacheConfig, *, obstore: bool = True) -> BucketSource:
    """The source of ``minio://`` URIs; configured as `forebay.sources.minio` describes.

    Raises:
        ConfigError: the MinIO configuration cannot be used.
    """
    return _source(config, lambda: minio_access(config), obstore)


def _source(config: MediaCacheConfig, resolve: Callable[[], S3Access], obstore: bool) -> BucketSource:
    access = PerProcess(resolve)
    portable = PerProcess(lambda: BotoReader(access.get().client(), access.get()))

    def fast() -> FastReader | None:
        stores = _Stores(access.get(), portable.get)
        if not obstore or stores.access.needs_boto:
            return None
        return FastReader(stores.make, stores.access.credential_provider, relocate=stores.relocate)

    def pages() -> S3Pages | None:
        return (
            None if access.get().needs_boto else S3Pages(access.get(), lambda b: portable.get().region_of(b))
        )

    access.get()  # a configuration that cannot be used is reported now
    return BucketSource(fast, portable.get, verify=config.verify_checksums, make_pages=pages)


def s3_writer(config: MediaCacheConfig, *, obstore: bool = True) -> S3Writer:
    """The writer of ``s3://`` URIs.

    Raises:
        ConfigError: the AWS configuration cannot be used.
    """
    return _writer(lambda: aws_access(config), obstore)


def minio_writer(config: MediaCacheConfig, *, obstore: bool = True) -> S3Writer:
    """The writer of ``minio://`` URIs.

    Raises:
        ConfigError: the MinIO configuration cannot be used.
    """
    return _writer(lambda: minio_access(config), obstore)


def _writer(resolve: Callable[[], S3Access], obstore: bool) -> S3Writer:
    access = PerProcess(resolve)
    client = PerProcess(lambda: BotoReader(access.get().client(), access.get()))

    def fast() -> FastWriter | None:
        stores = _Stores(access.get(), client.get)
        if not obstore or stores.access.needs_boto:
            return None
        return FastWriter(stores.make, stores.access.credential_provider, relocate=stores.relocate)

    access.get()  # a configuration that cannot be used is reported now
    return S3Writer(fast, lambda: BotoWriter(access.get()))


class _Stores:
    """Makes obstore's stores.

    Args:
        client: returns the boto3 reader; called only when it is needed, as making it takes 100 ms.
    """

    def __init__(self, access: S3Access, client: Callable[[], BotoReader]) -> None:
        self.access = access
        self._client = client

    def make(self, bucket: str) -> S3Store:
        return self._make(bucket, self.access.region)

    def relocate(self, bucket: str, answer: str) -> S3Store | None:
        """The store of a bucket that turned out to be in another region."""
        named = _REGION.search(answer)
        region = named[1] if named else None
        if region is None:
            with contextlib.suppress(Exception):
                region = self._client().region_of(bucket)
        if region is None or region == self.access.region:
            return None
        return self._make(bucket, region)

    def _make(self, bucket: str, region: str) -> S3Store:
        from obstore.store import S3Store

        access = self.access
        endpoint, in_host = access.address(bucket, region)
        # obstore reads AWS_* itself, differently from boto3: every value that boto3 decided is passed.
        config: dict[str, Any] = {
            "region": region,
            "endpoint": endpoint,
            "aws_endpoint_url_s3": endpoint,
            "virtual_hosted_style_request": in_host,
            "skip_signature": not access.is_signed,
        }
        return S3Store(
            bucket,
            config=config,  # type: ignore[arg-type]
            client_options=client_options(  # type: ignore[arg-type]
                connect_timeout=access.connect_timeout,
                read_timeout=access.read_timeout,
                http=endpoint.startswith("http://"),
                verify=access.verify,
            ),
            retry_config={"max_retries": 0},
            credential_provider=access.credential_provider
            if isinstance(access.credential_provider, S3CredentialProvider)
            else None,  # type: ignore[arg-type]
        )
