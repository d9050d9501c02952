"""nginx as an S3 server that can do one thing, fast: objects and listings of one bucket, path-style.

Objects have their MD5 as ETag, as they do on S3, and the bucket can be listed: without either, rclone
asks for the headers of every object before it fetches it. As nginx cannot check an ``If-Match`` against
such an ETag, ranges of large objects need those that it makes itself.
"""

from __future__ import annotations

import contextlib
import getpass
import http.client
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from bench.corpus import Corpus
from tests.servers.process import free_ports, running

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench-secret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
_PAGE = 1000

_CONFIGURATION = """
daemon off;
user {user};
worker_processes 1;
error_log stderr error;
pid {scratch}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 10000000;
    types {{ }}
    default_type application/octet-stream;
    client_body_temp_path {scratch}/body;
    proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;
    map_hash_max_size 1048576;
    map_hash_bucket_size 256;
    map $uri $object_etag {{ include {scratch}/etags; }}
    map $args $page {{
        ~continuation-token=page-(?<token>\\d+) $token;
        include {scratch}/markers;
        default 0;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /.ready {{ return 204; }}
        location ~ ^/(?<bucket>[^/]+)/?$ {{ rewrite ^ /.pages/$bucket/$page last; }}
        location /.pages/ {{ internal; default_type application/xml; root {scratch}; }}
        location / {{ root {root}; {etag} }}
    }}
}}
"""


@contextlib.contextmanager
def serving(root: Path, scratch: Path, *corpora: Corpus, md5_etags: bool = True) -> Iterator[str]:
    """Serves the buckets below ``root``; gives the endpoint, ``http://127.0.0.1:port``.

    Args:
        md5_etags: false for nginx's own ETags.

    Raises:
        RuntimeError: nginx is not installed, or does not come up.
    """
    binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin") or shutil.which(
        "nginx"
    )
    if binary is None:
        raise RuntimeError("no `nginx` found; install the nginx package of your system")
    (port,) = free_ports()
    scratch.mkdir()
    _write_etags(scratch / "etags", corpora)
    _write_listings(scratch, corpora)
    configuration = scratch / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            scratch=scratch,
            root=root,
            port=port,
            user=getpass.getuser(),
            etag="etag off; add_header ETag $object_etag;" if md5_etags else "",
        )
    )

    def serves() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/.ready")
        return connection.getresponse().status == 204

    command = [binary, "-c", str(configuration), "-p", str(scratch), "-e", "stderr"]
    with running(command, log=scratch / "log", ready=serves):
        yield f"http://127.0.0.1:{port}"


def _write_etags(path: Path, corpora: tuple[Corpus, ...]) -> None:
    with path.open("w") as file:
        for corpus in corpora:
            file.writelines(f"/{corpus.bucket}/{key} '\"{md5}\"';\n" for key, md5 in corpus.md5.items())


def _write_listings(scratch: Path, corpora: tuple[Corpus, ...]) -> None:
    """Writes every page of every bucket's listing, good for both versions of the request.

    Version 2 names the next page by a token, version 1 by the last key of the page before it.
    """
    markers = {}
    for corpus in corpora:
        directory, keys = scratch / ".pages" / corpus.bucket, list(corpus.md5)
        directory.mkdir(parents=True)
        for number, start in enumerate(range(0, len(keys), _PAGE)):
            page, more = keys[start : start + _PAGE], start + _PAGE < len(keys)
            (directory / str(number)).write_text(_listing(corpus, page, number + 1 if more else None))
            if more:
                markers[quote(page[-1], safe="")] = number + 1
    (scratch / "markers").write_text("".join(f"~marker={key} {page};\n" for key, page in markers.items()))


def _listing(corpus: Corpus, keys: list[str], following: int | None) -> str:
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{corpus.md5[key]}&quot;</ETag><Size>{corpus.size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
    )
    rest = "<IsTruncated>false</IsTruncated>"
    if following is not None:
        rest = (
            f"<IsTruncated>true</IsTruncated><NextContinuationToken>page-{following}</NextContinuationToken>"
            f"<NextMarker>{keys[-1]}</NextMarker>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{corpus.bucket}</Name>'
        f"<Prefix></Prefix><MaxKeys>{_PAGE}</MaxKeys>{rest}{contents}</ListBucketResult>"
    )
