"""Looking into remote media, on real servers and over every transport."""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from forebay.cache import MediaCache
from forebay.errors import MediaError, ObjectNotFoundError, SourceNotAllowedError, TransientSourceError
from forebay.headers.bridge import Bridge, bridge
from forebay.headers.image_info import image_info
from forebay.headers.media_files import FIRST_BYTES, open_media, size_of
from forebay.headers.ranges import RemoteBytes
from forebay.headers.video_info import video_info
from forebay.uri import MediaURI, parse
from tests.caches import MakeCache
from tests.integration.sites import SITES, Site
from tests.servers import Fault
from tests.servers.http_server import HTTPServer
from tests.videos import KINDS, ffprobe, make_videos


@pytest.fixture(params=["s3", "minio", "gcs", "azure", "http"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Each kind of server in turn."""
    with SITES[request.param](request) as one:
        yield one


@pytest.fixture
def cache(site: Site, make_cache: MakeCache) -> MediaCache:
    """A cache that may fetch from the site."""
    return allowed_cache(make_cache, site.uri("").raw)


def allowed_cache(make_cache: MakeCache, *roots: str) -> MediaCache:
    return make_cache(allowed_sources=["s3://", "minio://", "gs://", "az://", *roots])


def sent(site: Site, uri: MediaURI) -> list[int]:
    """The bytes of each answer for an object."""
    assert site.proxy is not None
    key = uri.key.rpartition("/")[2]
    return [request.sent for request in site.proxy.requests if request.path == site.path(key)]


def photograph(size: tuple[int, int] = (640, 480)) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 90).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A video of each kind out of `KINDS`."""
    return make_videos(tmp_path_factory.mktemp("videos"))


class TestImages:
    def test_cost_one_request(self, site: Site, cache: MediaCache):
        uri = site.put("a.jpg", photograph())

        found = image_info(cache, uri.raw)

        assert (found.width, found.height, found.channels) == (640, 480, 1)
        assert sent(site, uri) == [FIRST_BYTES]

    def test_cost_nothing_when_they_are_cached(self, site: Site, cache: MediaCache):
        uri = site.put("a.jpg", photograph())
        before = image_info(cache, uri.raw)
        cache.local_path(uri.raw)
        assert site.proxy is not None
        site.proxy.reset()

        assert image_info(cache, uri.raw) == before
        assert site.proxy.requests == []

    def test_are_not_cached_by_looking_at_them(self, site: Site, cache: MediaCache):
        image_info(cache, site.put("a.jpg", photograph()).raw)

        assert cache.stats()["current_count"] == 0


class TestSizes:
    @pytest.mark.parametrize("size", [0, 100_000])
    def test_cost_no_bytes(self, site: Site, cache: MediaCache, size: int):
        uri = site.put("a.bin", bytes(size))

        assert size_of(cache, uri.raw) == size
        assert sent(site, uri) == [0]

    def test_of_what_a_server_does_not_tell(self, http_server: HTTPServer, make_cache: MakeCache):
        cache = allowed_cache(make_cache, http_server.endpoint + "/")

        assert size_of(cache, http_server.put("/a.bin", bytes(100_000), sized=False)) == 100_000


class TestVideos:
    @pytest.mark.parametrize("kind", KINDS)
    def test_cost_less_than_a_fifth_and_are_as_local_copies(
        self, site: Site, cache: MediaCache, videos: dict[str, Path], kind: str
    ):
        body = videos[kind].read_bytes()
        uri = site.put(videos[kind].name, body)

        found = video_info(cache, uri.raw)

        local = ffprobe(videos[kind])
        assert found.streams == local["streams"]
        assert found.format == local["format"] | {"filename": uri.redacted}
        assert sum(sent(site, uri)) < len(body) / 5

    def test_that_are_cached_are_read_where_they_are(
        self, site: Site, cache: MediaCache, videos: dict[str, Path]
    ):
        path = videos["mp4, index at the end"]
        uri = site.put("a.mp4", path.read_bytes())
        cache.local_path(uri.raw)
        assert site.proxy is not None
        site.proxy.reset()

        assert video_info(cache, uri.raw).streams == ffprobe(path)["streams"]
        assert site.proxy.requests == []

    @pytest.mark.parametrize("sized", [True, False])
    def test_of_a_server_without_ranges(
        self, http_server: HTTPServer, make_cache: MakeCache, videos: dict[str, Path], sized: bool
    ):
        path = videos["mp4, index at the end"]
        uri = http_server.put("/a.mp4", path.read_bytes(), ranges=False, sized=sized)
        cache = allowed_cache(make_cache, http_server.endpoint + "/")

        assert video_info(cache, uri).streams == ffprobe(path)["streams"]

    @pytest.mark.parametrize("site", ["s3"], indirect=True)
    def test_a_proxy_of_the_environment_is_not_asked(
        self, site: Site, cache: MediaCache, videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ):
        path = videos["mp4, index at the end"]
        uri = site.put("a.mp4", path.read_bytes())
        size_of(cache, uri.raw)  # the source has its own opinion of proxies, and has formed it
        # Nobody listens there.
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.delenv("no_proxy", raising=False)

        assert video_info(cache, uri.raw).streams == ffprobe(path)["streams"]

    def test_a_playlist_leads_ffprobe_nowhere(
        self, http_server: HTTPServer, other_http_server: HTTPServer, make_cache: MakeCache, tmp_path: Path
    ):
        secret = other_http_server.put("/secret.ts", b"G" * 188 * 100)
        local = tmp_path / "secret.ts"
        local.write_bytes(b"G" * 188 * 100)
        playlists = [
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n"
            for target in (secret, local, f"file://{local}", f"tcp://{other_http_server.host}:9")
        ]
        cache = allowed_cache(make_cache, http_server.endpoint + "/")

        for playlist in playlists:
            for name in ("a.mp4", "a.m3u8"):
                uri = http_server.put(f"/{len(http_server.resources)}/{name}", playlist.encode())
                with pytest.raises(MediaError, match="ffprobe cannot read it"):
                    video_info(cache, uri)

        assert other_http_server.requests == []


class TestFailures:
    def test_of_the_moment_are_tried_again(self, site: Site, cache: MediaCache, videos: dict[str, Path]):
        assert site.proxy is not None
        image = site.put("a.jpg", photograph())
        site.proxy.fault(site.path("a.jpg"), Fault(reset_after=100), times=1)
        video = site.put("a.mp4", videos["mp4, index at the end"].read_bytes())
        site.proxy.fault(site.path("a.mp4"), Fault(truncate_after=100), times=2)

        assert image_info(cache, image.raw).width == 640
        assert video_info(cache, video.raw).video is not None

    def test_of_a_video_s_middle_are_not_ffprobe_s_fault(
        self, site: Site, make_cache: MakeCache, videos: dict[str, Path]
    ):
        assert site.proxy is not None
        uri = site.put("a.mp4", videos["mp4, index at the end"].read_bytes())
        cache = make_cache(allowed_sources=["s3://", "minio://", "gs://", site.uri("").raw], max_attempts=1)
        remote = RemoteBytes(cache, uri, first_bytes=1000)
        site.proxy.fault(site.path("a.mp4"), Fault(status=503))

        with pytest.raises(TransientSourceError, match="503"):
            remote.read_at(2000, 10)

    def test_name_what_is_not_there(self, site: Site, cache: MediaCache):
        uri = site.uri("missing.mp4").raw

        for look in (image_info, video_info, open_media, size_of):
            with pytest.raises(ObjectNotFoundError, match=uri):
                look(cache, uri)

    def test_what_is_no_video(self, site: Site, cache: MediaCache):
        uri = site.put("text.mp4", b"not a video")

        with pytest.raises(MediaError) as error:
            video_info(cache, uri.raw)

        assert str(error.value) == (
            f"{uri.raw}: ffprobe cannot read it: Invalid data found when processing input"
        )

    def test_ffprobe_is_not_installed(
        self, site: Site, cache: MediaCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        uri = site.put("a.mp4", b"not a video")
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(MediaError, match="without ffprobe, which is not installed: install ffmpeg"):
            video_info(cache, uri.raw)

    def test_what_is_not_allowed_is_not_asked_for(self, http_server: HTTPServer, make_cache: MakeCache):
        uri = http_server.put("/a.mp4", b"x")

        for look in (image_info, video_info, size_of):
            with pytest.raises(SourceNotAllowedError):
                look(make_cache(allowed_sources=["s3://"]), uri)
        assert http_server.requests == []


class TestBridge:
    @pytest.fixture
    def served(self, http_server: HTTPServer, make_cache: MakeCache) -> Iterator[Bridge]:
        """A bridge to ten bytes."""
        uri = parse(http_server.put("/digits.bin?signature=secret", b"0123456789"))
        remote = RemoteBytes(allowed_cache(make_cache, http_server.endpoint + "/"), uri, first_bytes=4)
        with bridge(remote, uri.key) as one:
            yield one

    def ask(self, bridge: Bridge, method: str, target: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(urlsplit(bridge.url).netloc, timeout=10)
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def test_serves_the_object_in_parts(self, served: Bridge):
        assert self.ask(served, "GET", served.path) == (206, b"0123456789")
        assert self.ask(served, "GET", served.url) == (206, b"0123456789"), "as a proxy is asked"
        assert self.ask(served, "GET", served.path, Range="bytes=3-5") == (206, b"345")
        assert self.ask(served, "GET", served.path, Range="bytes=7-") == (206, b"789")
        assert self.ask(served, "GET", served.path, Range="bytes=10-") == (416, b"")
        assert self.ask(served, "HEAD", served.path) == (206, b"")

    def test_serves_nothing_else_and_takes_nothing(self, served: Bridge):
        for target in ("/", "/digits.bin", served.path[:-1], served.path + "/x", "http://127.0.0.2/secret"):
            assert self.ask(served, "GET", target)[0] == 404
        assert self.ask(served, "GET", f"http://127.0.0.2{served.path}")[0] == 404
        for method in ("POST", "PUT", "DELETE", "CONNECT", "OPTIONS"):
            assert self.ask(served, method, served.path)[0] == 501

    def test_has_a_secret_address_that_tells_nothing_but_the_extension(self, served: Bridge):
        assert served.url.endswith("/media.bin")
        assert "secret" not in served.url and "digits" not in served.url
        assert served.url.startswith("http://127.0.0.1:")

    def test_is_gone_afterwards(self, http_server: HTTPServer, make_cache: MakeCache):
        uri = parse(http_server.put("/digits", b"0123456789"))
        remote = RemoteBytes(allowed_cache(make_cache, http_server.endpoint + "/"), uri, first_bytes=4)
        with bridge(remote, uri.key) as served:
            pass

        with pytest.raises(ConnectionRefusedError):
            self.ask(served, "GET", served.path)
