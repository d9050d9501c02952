"""``s3://bucket/key`` and ``minio://bucket/key``: S3 and servers with its protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote, urlsplit

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, ForebayError, SourceError
from forebay.sources import answers, checksums, failures
from forebay.sources.asking import conditions, follow_redirect
from forebay.sources.aws import aws_access
from forebay.sources.base import ObjectInfo, Page, PageQuery
from forebay.sources.boto import BotoClient, told
from forebay.sources.boto_writer import BotoWriter
from forebay.sources.listings.page_requests import read_page
from forebay.sources.listings.s3_pages import parse_page, query_string
from forebay.sources.minio import minio_access
from forebay.sources.per_process import PerProcess
from forebay.sources.reader import WHOLE, WHOLE_OR_PART, Reader
from forebay.sources.request_payer import PAYER, PAYER_HEADER
from forebay.sources.routes import Routes, transport_of
from forebay.sources.s3_access import S3Access
from forebay.transport import Credentials, Head, Headers, Outcome, Request, Transport
from forebay.uri import MediaURI

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_REGION = re.compile(r"<Region>\s*([a-z0-9-]{1,40})\s*</Region>")
_REGION_NAME = re.compile(r"[a-z0-9-]{1,40}")
# The characters that are never percent-encoded.
_UNRESERVED = re.compile(r"[A-Za-z0-9_.~/-]*")
_MD5 = re.compile(r'"([0-9a-f]{32})"')
_SEND_CHECKSUMS = ("x-amz-checksum-mode", "ENABLED")
# A bucket has one region; a server that goes on naming others does not know it.
_MAX_MOVES = 3
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})


def s3_source(config: MediaCacheConfig, transport: Transport | None = None) -> S3Source:
    """The source of ``s3://`` URIs; configured as `forebay.sources.aws` describes.

    Args:
        transport: moves the bytes; by default one of its own.

    Raises:
        ConfigError: the AWS configuration cannot be used.
    """
    return S3Source(aws_access(config), transport or transport_of(config))


def minio_source(config: MediaCacheConfig, transport: Transport | None = None) -> S3Source:
    """The source of ``minio://`` URIs; configured as `forebay.sources.minio` describes.

    Raises:
        ConfigError: the MinIO configuration cannot be used.
    """
    return S3Source(minio_access(config), transport or transport_of(config))


def s3_writer(config: MediaCacheConfig, transport: Transport | None = None) -> BotoWriter:
    """The writer of ``s3://`` URIs.

    Raises:
        ConfigError: the AWS configuration cannot be used.
    """
    return _writer(s3_source(config, transport))


def minio_writer(config: MediaCacheConfig, transport: Transport | None = None) -> BotoWriter:
    """The writer of ``minio://`` URIs.

    Raises:
        ConfigError: the MinIO configuration cannot be used.
    """
    return _writer(minio_source(config, transport))


def _writer(source: S3Source) -> BotoWriter:
    return BotoWriter(source.access, describe_headers)


class S3Source(Reader):
    """Reads the buckets of one S3 server; boto3 signs URLs and names buckets."""

    def __init__(self, access: S3Access, transport: Transport) -> None:
        super().__init__(transport)
        self.access = access
        self._routes = Routes(access.tls, access.proxies)
        self._client = PerProcess(lambda: BotoClient(access))
        # By bucket: its region, where it is another than the configured one, and the URL of its root.
        self._regions: dict[str, str] = {}
        self._roots: dict[str, str] = {}
        self._always = [("User-Agent", access.agent)] if access.agent else []
        if access.requester_pays:
            self._always.append((PAYER_HEADER, PAYER))
        self._headers = list(self._always)
        if access.verify_checksums:
            self._headers.append(_SEND_CHECKSUMS)

    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request:
        url = self._url(uri)
        headers = self._headers
        if span or etag or if_none_match or if_modified_since is not None:
            headers = [*headers, *conditions(span, etag, if_none_match, if_modified_since)]
        return Request(
            url,
            headers=headers,
            credentials=self._credentials(uri),
            route=self._routes.to(url, decode=not answers.keeps_encoding(uri)),
            limits=self.access.limits,
            accept=WHOLE if span is None else WHOLE_OR_PART,
        )

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        info = describe(uri, head)
        if self.access.verify_checksums and info.size is not None:
            info = info._replace(checksum=checksums.announced(head))
        return info

    def request_head(self, uri: MediaURI) -> Request | None:
        request = self.request(uri)
        if not self.access.verify_checksums:
            request.headers = [*request.headers, _SEND_CHECKSUMS]
        request.method = "HEAD"
        return request

    def describe_head(self, uri: MediaURI, head: Head) -> ObjectInfo:
        info = describe(uri, head)
        if info.size is None:
            return info
        return info._replace(checksum=checksums.announced(head, checksums.comparable()))

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        return self._follow(uri, request, outcome, lambda: self._url(uri))

    def _follow(
        self, uri: MediaURI, request: Request, outcome: Outcome, url: Callable[[], str]
    ) -> Request | None:
        """See `follow`; ``url`` gives the URL in the region that the bucket turned out to be in."""
        head = outcome.head
        if head is None or head.status not in (301, 302, 303, 307, 308, 400, 401, 403):
            return None
        code = failures.error_code(outcome.refusal.decode("utf-8", "replace"))
        if head.status in (301, 307) or code == "AuthorizationHeaderMalformed" or head.status == 400:
            moved = self._moved(uri, request, outcome, code, url)
            if moved is not None:
                return moved
        keys, used = self.access.keys, request.credentials
        if code in _EXPIRED and keys is not None and used is not None:
            try:
                fresh = keys.renewed(used)
            except Exception as error:
                outcome.error = self._unusable(uri, error)
                return None
            return replace(request, credentials=fresh) if fresh is not None else None
        return follow_redirect(uri, request, outcome, lambda url: self._routes.redirected(request, url))

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        return failures.failure_of(uri, outcome, credentials=self.access.description)

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        body = read_page(
            self.transport,
            self.page_request(prefix, query),
            lambda request, outcome: self._follow(
                prefix, request, outcome, lambda: self._page_url(prefix, query)
            ),
            lambda outcome: failures.failure_of(
                prefix, outcome, credentials=self.access.description, to="list"
            ),
        )
        return parse_page(body, query)

    def page_request(self, prefix: MediaURI, query: PageQuery) -> Request:
        """The request for a page of a listing. May fetch credentials."""
        url = self._page_url(prefix, query)
        return Request(
            url,
            headers=self._always,
            credentials=self._credentials(prefix),
            route=self._routes.to(url, decode=True),
            limits=self.access.limits,
            accept=WHOLE,
        )

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        check_bucket(uri)
        return self._client.get().sign(uri, expires_seconds=expires_seconds, method=method)

    def explain(self, uri: MediaURI) -> str:
        region = self._regions.get(uri.bucket, self.access.region)
        return f"{self.access.description}; at {self.access.endpoint or 'AWS'}, region {region}"

    def containers(self) -> Sequence[str]:
        return self._client.get().containers()

    def _url(self, uri: MediaURI) -> str:
        root = self._roots.get(uri.bucket) or self._root(uri)
        if _UNRESERVED.fullmatch(uri.key):
            return root + uri.key
        return root + quote(uri.key, safe="/~", errors="surrogateescape")

    def _page_url(self, prefix: MediaURI, query: PageQuery) -> str:
        return f"{self._bucket_url(prefix)}?{query_string(query)}"

    def _bucket_url(self, uri: MediaURI) -> str:
        """The URL of a bucket, without a final slash where the path has its name."""
        root = self._root(uri)
        return root if urlsplit(root).path == "/" else root[:-1]

    def _root(self, uri: MediaURI) -> str:
        root = self._roots.get(uri.bucket)
        if root is None:
            check_bucket(uri)
            region = self._regions.get(uri.bucket, self.access.region)
            try:
                endpoint, in_host = self.access.address(uri.bucket, region)
            except ForebayError:
                raise
            except Exception as error:  # botocore's, of options that do not go together
                raise SourceError(
                    uri.redacted, f"the AWS configuration cannot be used: {told(error)}"
                ) from None
            root = self._roots[uri.bucket] = f"{endpoint}/" if in_host else f"{endpoint}/{uri.bucket}/"
        return root

    def _credentials(self, uri: MediaURI) -> Credentials | None:
        if self.access.keys is None:
            return None
        try:
            return self.access.keys.current(self._regions.get(uri.bucket, self.access.region))
        except Exception as error:
            raise self._unusable(uri, error) from None

    def _unusable(self, uri: MediaURI, error: Exception) -> SourceError:
        return AccessDeniedError(uri.redacted, f"{self.access.description} cannot be used: {told(error)}")

    def _moved(
        self, uri: MediaURI, request: Request, outcome: Outcome, code: str, url: Callable[[], str]
    ) -> Request | None:
        """The request to send to the region that an answer names, which is remembered."""
        assert outcome.head is not None
        region = outcome.head.headers.get("x-amz-bucket-region") or ""
        if not region and (named := _REGION.search(outcome.refusal.decode("utf-8", "replace"))):
            region = named[1]
        if not region and code == "PermanentRedirect":
            # S3 tells it even to those who may not read the bucket.
            try:
                bucket = replace(request, url=self._bucket_url(uri), method="HEAD", headers=self._headers)
                asked = self.transport.call(bucket)
                region = asked.head.headers.get("x-amz-bucket-region") or ""
            except ForebayError:
                return None
        used = request.credentials.region if request.credentials else self._regions.get(uri.bucket, "")
        if not _REGION_NAME.fullmatch(region) or region == used or request.hops >= _MAX_MOVES:
            return None
        self._regions[uri.bucket] = region
        self._roots.pop(uri.bucket, None)
        try:
            return replace(request, url=url(), credentials=self._credentials(uri), hops=request.hops + 1)
        except SourceError as error:
            outcome.error = error
            return None


def check_bucket(uri: MediaURI) -> None:
    """Raises `SourceError` for a bucket's name that no server allows, or one of a kind that needs more."""
    if not _BUCKET.fullmatch(uri.bucket) or ".." in uri.bucket:
        reason = f"{uri.bucket!r} is no name of a bucket: only letters, digits, dots, hyphens and underscores"
        raise SourceError(uri.redacted, reason)
    if uri.bucket.endswith("--x-s3"):
        raise SourceError(
            uri.redacted, "S3 Express directory buckets are not supported; use a general purpose bucket"
        )


def describe(uri: MediaURI, head: Head) -> ObjectInfo:
    """An object's metadata, from an answer of an S3 server."""
    headers = head.headers
    md5 = _MD5.fullmatch(headers.get("etag") or "")
    # With keys of the customer's or of KMS, the etag is 32 digits too, but of something else.
    plain = headers.get("x-amz-server-side-encryption") in (None, "AES256")
    if "x-amz-server-side-encryption-customer-algorithm" in headers:
        plain = False
    return answers.describe(uri, head, md5=md5[1] if md5 and plain else None)


def describe_headers(uri: MediaURI, headers: Mapping[str, str]) -> ObjectInfo:
    """An object's metadata, from the headers that boto3 received."""
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers.items()]
    return describe(uri, Head(200, Headers(lines)))
