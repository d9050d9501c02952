"""nginx's configuration: one bucket server behind several ports, plain and TLS, at once and late."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers.nginx import temporary_paths

_MODULE_DIRECTORIES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules")
_LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")

_HTTP = """
{modules}
daemon off;
user {user};
worker_processes 1;
worker_rlimit_nofile 16384;
error_log stderr error;
pid {scratch}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 10000000;
    types {{ }}
    default_type application/octet-stream;
    {temporary_paths}
    map_hash_max_size 1048576;
    map_hash_bucket_size 256;
    ssl_certificate {scratch}/server.pem;
    ssl_certificate_key {scratch}/server.key;
    ssl_session_cache shared:tls:4m;
    map $uri $object_etag {{ include {scratch}/etags; }}
    map $args $page {{
        ~(continuation-token|pageToken)=page-(?<token>\\d+) $token;
        include {scratch}/markers;
        default 0;
    }}
    {http}
    {servers}
}}
"""

# Objects of `own-etags` buckets have nginx's own ETags: only those can it check an If-Match against.
_BUCKETS = """
        location = /.ready {{ return 204; }}
        location ~ ^/(?<bucket>[^/]+)/?$ {{ rewrite ^ /.pages/$bucket/$page last; }}
        location /.pages/ {{ internal; default_type application/xml; root {scratch}; }}
        location ~ ^/storage/v1/b/(?<bucket>[^/]+)/o$ {{ rewrite ^ /.gcs-pages/$bucket/$page last; }}
        location /.gcs-pages/ {{ internal; default_type application/json; root {scratch}; }}
        location ~ ^/(download/)?storage/v1/b/([^/]+)/o/(.+)$ {{ rewrite ^ /$2/$3 last; }}
        location /own-etags/ {{ root {root}; }}
        location / {{ root {root}; etag off; add_header ETag $object_etag; }}
"""


@dataclass(frozen=True)
class Listener:
    """One port of the server.

    Attributes:
        directives: that hold for all that is asked for at this port.
        upstream: another server that answers instead, as ``host:port``.
    """

    port: int
    tls: bool = False
    directives: str = ""
    upstream: str | None = None


def configuration(
    root: Path, scratch: Path, listeners: Mapping[str, Listener], *, modules: tuple[Path, ...], http: str = ""
) -> str:
    """The text of a configuration file.

    Args:
        modules: to load.
        http: directives for the level of HTTP.
    """
    servers = "\n".join(_server(root, scratch, name, one) for name, one in listeners.items())
    return _HTTP.format(
        scratch=scratch,
        temporary_paths=temporary_paths(scratch),
        user=getpass.getuser(),
        modules="\n".join(f"load_module {module};" for module in modules),
        http=http,
        servers=servers,
    )


def _server(root: Path, scratch: Path, name: str, listener: Listener) -> str:
    if listener.upstream is None:
        before, content = "", _BUCKETS.format(scratch=scratch, root=root)
    else:
        before = f"    upstream {name} {{ server {listener.upstream}; keepalive 512; }}\n"
        content = (
            "        location = /.ready { return 204; }\n"
            f"        location / {{ proxy_pass http://{name}; proxy_http_version 1.1; proxy_buffering off;\n"
            '            proxy_set_header Connection ""; proxy_set_header Host $http_host; }\n'
        )
    listen = f"127.0.0.1:{listener.port}{' ssl' if listener.tls else ''} backlog=4096"
    return f"{before}    server {{\n        listen {listen};\n        {listener.directives}\n{content}    }}"


def lua_modules() -> tuple[Path, ...]:
    """The files of nginx's Lua module and of what it needs; none where it is not installed."""
    for directory in map(Path, _MODULE_DIRECTORIES):
        files = tuple(directory / name for name in _LUA_MODULES)
        if all(file.exists() for file in files):
            return files
    return ()


def sleeping(seconds: float) -> str:
    """The directive that answers late, for a server with the Lua module."""
    return f"access_by_lua_block {{ ngx.sleep({seconds}) }}"
