"""``compute_metadata()`` on remote media: the same as on local copies, from a small part of the bytes."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.photos import photographs
from forebay.cache import MediaCache
from tests.fiftyone import media_files
from tests.fiftyone.made_datasets import dataset_of
from tests.fiftyone.places import Places
from tests.servers import Fault, Proxy
from tests.servers.http_server import HTTPServer
from tests.servers.seaweedfs import S3Server
from tests.videos import KINDS, make_videos


@pytest.fixture
def s3_through_proxy(
    s3_server: S3Server, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch, media_cache: MediaCache
) -> Proxy:
    """Lets ``s3://`` lead through a proxy that counts what is sent."""
    for name, value in s3_server.environment(s3_proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    return s3_proxy


def sent(proxy: Proxy) -> int:
    """The number of body bytes that the server has sent."""
    return sum(request.sent for request in proxy.requests)


def turned(photograph: bytes, orientation: int) -> bytes:
    """A photograph as a camera stores it that was held upright."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.open(io.BytesIO(photograph)).save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


def metadata_of(dataset: Any) -> list[Any]:
    """The metadata of each sample, in order, as plain values."""
    return [None if m is None else m.to_dict() for m in dataset.values("metadata")]


def local_copies(fo: Any, directory: Path, files: Mapping[str, bytes]) -> Any:
    """A dataset of local files."""
    return dataset_of(fo, media_files.write_all(directory / "copies", files))


class TestImages:
    def test_500_photographs_cost_less_than_a_fifth_of_their_bytes(
        self, fo: Any, s3_server: S3Server, s3_bucket: str, s3_through_proxy: Proxy, tmp_path: Path
    ):
        """Every third is one that EXIF turns, some by a quarter."""
        photos = dict(photographs(500))
        for number, name in enumerate(sorted(photos)[::3]):
            photos[name] = turned(photos[name], number % 8 + 1)
        remote = dataset_of(fo, s3_server.put_many(s3_bucket, photos))
        local = local_copies(fo, tmp_path, photos)

        remote.compute_metadata()
        local.compute_metadata()

        assert metadata_of(remote) == metadata_of(local)
        total = sum(map(len, photos.values()))
        print(
            f"transferred {sent(s3_through_proxy):,} of {total:,} bytes: {sent(s3_through_proxy) / total:.1%}"
        )
        assert sent(s3_through_proxy) < total / 5
        assert s3_through_proxy.count() == 500, "one request for each photograph"

    def test_every_format_is_as_on_a_local_copy(self, fo: Any, places: Places, place: str, tmp_path: Path):
        picture = Image.effect_noise((120, 80), 60)
        colours = Image.merge("RGB", [picture, picture.rotate(90), picture.rotate(180)])
        files: dict[str, bytes] = {}
        for name in ("a.jpg", "a.png", "a.webp", "a.gif", "a.bmp", "a.tif", "a.avif"):
            for mode in ("RGB", "RGBA", "L"):
                file = io.BytesIO()
                exif = Image.Exif()
                exif[0x0112] = 6
                options = {} if name in ("a.gif", "a.bmp") else {"exif": exif}
                # As a local copy would be, those are told by what is in them, not by their names.
                image = colours.convert(mode if mode != "RGBA" or name != "a.jpg" else "CMYK")
                image.save(file, Image.registered_extensions()[Path(name).suffix], **options)
                files[f"{mode}/{name}"] = file.getvalue()
        remote = dataset_of(fo, [places.put(place, key, body) for key, body in files.items()])
        local = local_copies(fo, tmp_path, files)

        remote.compute_metadata(skip_failures=False)
        local.compute_metadata(skip_failures=False)

        assert metadata_of(remote) == metadata_of(local)

    def test_photographs_in_all_places(self, fo: Any, remote_dataset: Any, places: Places, tmp_path: Path):
        remote_dataset.compute_metadata()

        copies = {str(i): places.contents[path] for i, path in enumerate(remote_dataset.values("filepath"))}
        sizes = [Image.open(io.BytesIO(body)).size for body in copies.values()]
        assert [(m.width, m.height) for m in remote_dataset.values("metadata")] == sizes
        assert {m.mime_type for m in remote_dataset.values("metadata")} == {"image/jpeg"}

    def test_what_is_cached_is_not_asked_for_again(
        self, fo: Any, s3_server: S3Server, s3_bucket: str, s3_through_proxy: Proxy, photos: dict[str, bytes]
    ):
        dataset = dataset_of(fo, s3_server.put_many(s3_bucket, photos))
        dataset.download_media()
        s3_through_proxy.reset()

        dataset.compute_metadata()

        assert s3_through_proxy.requests == []
        assert len(dataset.exists("metadata")) == len(photos)

    @pytest.mark.parametrize("sized", [True, False])
    def test_a_web_server_that_knows_no_ranges(
        self, fo: Any, http_server: HTTPServer, photos: dict[str, bytes], tmp_path: Path, sized: bool
    ):
        uris = [http_server.put(f"/{name}", body, ranges=False, sized=sized) for name, body in photos.items()]
        remote, local = dataset_of(fo, uris), local_copies(fo, tmp_path, photos)

        remote.compute_metadata()
        local.compute_metadata()

        assert metadata_of(remote) == metadata_of(local)

    def test_one_sample_and_one_path(self, fo: Any, places: Places, place: str, photos: dict[str, bytes]):
        name, body = next(iter(photos.items()))
        sample = fo.Sample(filepath=places.put(place, name, body))

        sample.compute_metadata()

        assert (sample.metadata.width, sample.metadata.height) == Image.open(io.BytesIO(body)).size
        assert fo.ImageMetadata.build_for(sample.filepath) == sample.metadata
        assert fo.ImageMetadata.build_for(sample.filepath, mime_type="image/x").mime_type == "image/x"


class TestVideos:
    @pytest.fixture(scope="class")
    def videos(self, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        return make_videos(tmp_path_factory.mktemp("videos"))

    @pytest.mark.parametrize("kind", KINDS)
    def test_cost_less_than_a_fifth_of_their_bytes(
        self,
        fo: Any,
        s3_server: S3Server,
        s3_bucket: str,
        s3_through_proxy: Proxy,
        videos: dict[str, Path],
        kind: str,
    ):
        path = videos[kind]
        body = path.read_bytes()
        remote = dataset_of(fo, [s3_server.put(s3_bucket, path.name, body)])
        local = dataset_of(fo, [str(path)])

        remote.compute_metadata()
        local.compute_metadata()

        assert metadata_of(remote) == metadata_of(local) != [None]
        share = sent(s3_through_proxy) / len(body)
        print(f"{kind}: {share:.1%} of {len(body):,} bytes in {s3_through_proxy.count()} requests")
        assert share < 0.2

    def test_in_all_places(self, fo: Any, remote_videos: Any, places: Places, tmp_path: Path):
        local = local_copies(
            fo,
            tmp_path,
            {f"{i}.mp4": places.contents[p] for i, p in enumerate(remote_videos.values("filepath"))},
        )

        remote_videos.compute_metadata(skip_failures=False)
        local.compute_metadata()

        assert metadata_of(remote_videos) == metadata_of(local)

    def test_signatures_do_not_reach_ffprobe(
        self, fo: Any, http_server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        import subprocess

        commands: list[list[str]] = []
        run = subprocess.run

        def watched(command: list[str], *args: Any, **kwargs: Any) -> Any:
            commands.append(command)
            return run(command, *args, **kwargs)

        body = media_files.video(tmp_path / "a.mp4").read_bytes()
        uri = http_server.put("/a.mp4?X-Amz-Signature=secret", body)
        monkeypatch.setattr("subprocess.run", watched)

        metadata = fo.VideoMetadata.build_for(uri)

        assert metadata.mime_type == "video/mp4"
        assert commands and all("secret" not in word for command in commands for word in command)


class TestScenes:
    def test_are_as_local_copies_and_only_the_scene_is_read(
        self, fo: Any, remote_scenes: Any, places: Places, http_server: HTTPServer, tmp_path: Path
    ):
        locally = tmp_path / "local" / "scenes" / "3.fo3d"
        assert str(locally) in remote_scenes.values("filepath")
        local = fo.Dataset()
        for i in range(4):
            local.add_sample(
                fo.Sample(filepath=str(media_files.scene(tmp_path / "again" / f"{i}.fo3d", seed=i)))
            )

        remote_scenes.compute_metadata(skip_failures=False)
        local.compute_metadata(skip_failures=False)

        assert [dict(m["asset_counts"]) for m in metadata_of(remote_scenes)] == [
            dict(m["asset_counts"]) for m in metadata_of(local)
        ]
        for remote, copy in zip(remote_scenes, local, strict=True):
            difference = len(places.contents[remote.filepath]) - Path(copy.filepath).stat().st_size
            assert remote.metadata.size_bytes == copy.metadata.size_bytes + difference
        read = {r.path for r in http_server.requests if r.method == "GET"}
        assert read == {"/scenes/2.fo3d"}

    def test_may_refer_to_assets_elsewhere(
        self, fo: Any, places: Places, place: str, http_server: HTTPServer, tmp_path: Path
    ):
        cloud = media_files.point_cloud(tmp_path / "cloud.pcd").read_bytes()
        above = places.put(place, "clouds/above.pcd", cloud)
        elsewhere = places.put("http", "elsewhere.pcd", cloud)
        here = places.put("local", "here.pcd", cloud)
        sky = http_server.put("/sky.png?signature=secret", b"12345")
        scene = fo.Scene()
        for number, path in enumerate(("../clouds/above.pcd", above, elsewhere, here)):
            scene.add(fo.PointCloud(str(number), path))
        scene.background = fo.SceneBackground(image=sky)
        scene.write(str(tmp_path / "scene.fo3d"))
        uri = places.put_file(place, tmp_path / "scene.fo3d", "scenes/scene.fo3d")

        metadata = fo.SceneMetadata.build_for(uri)

        assert dict(metadata.asset_counts) == {"pcd": 4, "png": 1}
        assert metadata.size_bytes == len(places.contents[uri]) + 4 * len(cloud) + 5

    def test_a_local_scene_may_refer_to_remote_assets(
        self, fo: Any, places: Places, place: str, tmp_path: Path
    ):
        cloud = media_files.point_cloud(tmp_path / "cloud.pcd")
        scene = fo.Scene()
        scene.add(fo.PointCloud("remote", places.put_file(place, cloud, "cloud.pcd")))
        scene.add(fo.PointCloud("local", "cloud.pcd"))
        scene.write(str(tmp_path / "scene.fo3d"))

        metadata = fo.SceneMetadata.build_for(str(tmp_path / "scene.fo3d"))

        assert metadata.size_bytes == (tmp_path / "scene.fo3d").stat().st_size + 2 * cloud.stat().st_size


class TestOtherMedia:
    def test_of_point_clouds_only_the_size_is_asked_for(
        self, fo: Any, remote_point_clouds: Any, places: Places, http_server: HTTPServer
    ):
        remote_point_clouds.compute_metadata(skip_failures=False)

        for sample in remote_point_clouds:
            assert sample.metadata.size_bytes == len(places.contents[sample.filepath])
            assert sample.metadata.mime_type == "application/octet-stream"
        assert {r.method for r in http_server.requests} == {"HEAD"}

    def test_groups(self, fo: Any, remote_groups: Any):
        remote_groups.compute_metadata()

        everything = remote_groups.select_group_slices(_allow_mixed=True)
        assert len(everything.exists("metadata")) == 12


class TestNames:
    """The extension tells the media type; with a query string, that of the URL's path."""

    @pytest.mark.parametrize(
        ("uri", "media_type", "mime_type"),
        [
            ("https://example.com/a.jpg?x=1", "image", "image/jpeg"),
            ("https://example.com/a.jpg?X-Amz-Signature=b.mp4", "image", "image/jpeg"),
            ("https://example.com/a.pcd?sig=1", "point-cloud", "application/octet-stream"),
            ("https://example.com/a.fo3d?sig=1", "3d", "application/octet-stream"),
            ("https://example.com/a%2Emp4?sig=1", "video", "video/mp4"),
            ("HTTPS://example.com/a.PNG#part", "image", "image/png"),
            ("s3://bucket/a.jpg", "image", "image/jpeg"),
            ("gs://bucket/what?.mp4", "video", "video/mp4"),
            ("s3://bucket/a#1.png", "image", "image/png"),
            ("s3://bucket/folder.jpg/a", "unknown", "application/octet-stream"),
            ("s3://bucket.mp4", "unknown", "application/octet-stream"),
        ],
    )
    def test_of_uris(self, fo: Any, uri: str, media_type: str, mime_type: str):
        import eta.core.utils as etau
        import fiftyone.core.media as fom

        assert fom.get_media_type(uri) == media_type
        assert etau.guess_mime_type(uri) == mime_type
        assert fo.Sample(filepath=uri).media_type == media_type


class TestFailures:
    @pytest.fixture
    def incomplete(self, fo: Any, places: Places, place: str, photos: dict[str, bytes]) -> Any:
        """Four photographs, one that is not there, and one that is none."""
        uris = [places.put(place, name, body) for name, body in list(photos.items())[:4]]
        uris.append(f"{places.root(place)}missing.jpg")
        uris.append(places.put(place, "text.jpg", b"not a photograph"))
        return dataset_of(fo, uris)

    def test_are_skipped_and_logged(self, fo: Any, incomplete: Any, caplog: pytest.LogCaptureFixture):
        with caplog.at_level(logging.WARNING):
            incomplete.compute_metadata()

        *_, missing, text = incomplete.values("filepath")
        assert len(incomplete.exists("metadata")) == 4
        assert f"Failed to compute sample metadata for sample '{missing}' due to: {missing}: " in caplog.text
        assert f"sample '{text}' due to: cannot identify image file <{text}>" in caplog.text
        assert "Failed to populate metadata on 2 samples" in caplog.text

    def test_raise_if_asked_to(self, fo: Any, incomplete: Any):
        missing = incomplete.values("filepath")[4]

        with pytest.raises(FileNotFoundError, match=missing):
            incomplete.match(fo.ViewField("filepath") == missing).compute_metadata(skip_failures=False)

    def test_are_silent_if_asked_to(self, fo: Any, incomplete: Any, caplog: pytest.LogCaptureFixture):
        with caplog.at_level(logging.WARNING):
            incomplete.compute_metadata(warn_failures=False)

        assert caplog.text == ""

    def test_do_not_show_signatures(
        self, fo: Any, http_server: HTTPServer, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ):
        uris = [
            f"{http_server.endpoint}/{name}?X-Amz-Signature=secret" for name in ("a.jpg", "a.pcd", "a.fo3d")
        ]
        uris += [
            http_server.put(f"/{name}?X-Amz-Signature=secret", b"no such thing")
            for name in ("b.jpg", "b.mp4", "b.fo3d")
        ]

        with caplog.at_level(logging.INFO):
            for uri in uris:
                fo.Sample(filepath=uri).compute_metadata(skip_failures=True)

        assert caplog.text.count("Failed to compute sample metadata") == len(uris)
        assert "X-Amz-Signature" not in caplog.text
        assert f"{http_server.endpoint}/b.mp4?…: ffprobe cannot read it" in caplog.text

    def test_of_the_moment_are_tried_again(
        self, fo: Any, s3_server: S3Server, s3_bucket: str, s3_through_proxy: Proxy, photos: dict[str, bytes]
    ):
        dataset = dataset_of(fo, s3_server.put_many(s3_bucket, photos))
        s3_through_proxy.fault(None, Fault(status=503), times=3)

        dataset.compute_metadata(skip_failures=False)

        assert len(dataset.exists("metadata")) == len(photos)


class TestThreads:
    @pytest.fixture
    def workers(self, fo: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The numbers of threads that were started."""
        import fiftyone.core.metadata as fom

        started: list[int] = []

        def watch(collection: Any, num_workers: int, **kwargs: Any) -> None:
            started.append(num_workers)

        monkeypatch.setattr(fom, "_compute_metadata_multi", watch)
        monkeypatch.setattr(fom, "_compute_metadata", lambda *args, **kwargs: started.append(1))
        return started

    def test_are_many_where_anything_is_remote(self, fo: Any, remote_dataset: Any, workers: list[int]):
        remote_dataset.compute_metadata()
        remote_dataset.take(5).compute_metadata(num_workers=3)
        remote_dataset.compute_metadata(num_workers=0)

        assert workers[0] >= 16
        assert workers[1:] == [3, 1]

    def test_are_as_ever_where_everything_is_local(
        self, fo: Any, photo_paths: list[Path], workers: list[int]
    ):
        import fiftyone.core.utils as fou

        dataset_of(fo, [str(path) for path in photo_paths]).compute_metadata()

        assert workers == [fou.recommend_thread_pool_workers()]

    def test_are_as_configured(
        self, fo: Any, remote_dataset: Any, workers: list[int], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(fo.config, "default_thread_pool_workers", 5)

        remote_dataset.compute_metadata()

        assert workers == [5]
