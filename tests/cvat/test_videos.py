"""The manifests of videos."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from forebay.cache import MediaCache
from forebay.cvat import create_video_manifest
from forebay.errors import MediaError, UriError
from tests.commands import Forebay
from tests.fiftyone.media_files import cut_video, video
from tests.servers.seaweedfs import S3Server


@pytest.mark.usefixtures("s3_environment")
def test_the_key_frames_are_those_that_cvat_finds(
    s3_server: S3Server, s3_bucket: str, cache: MediaCache, tmp_path: Path
) -> None:
    """Each is where a seek to its time stamp leads, with the pixels that it vouches for."""
    file = video(tmp_path / "clip.mp4", frames=40)
    uri = s3_server.put(s3_bucket, "videos/clip.mp4", file.read_bytes())

    made = create_video_manifest(uri, cache=cache)

    assert made.path == f"s3://{s3_bucket}/videos/clip.jsonl"
    body = s3_server.client.get_object(Bucket=s3_bucket, Key="videos/clip.jsonl")["Body"].read()
    version, kind, properties, *key_frames = map(json.loads, body.splitlines())
    assert (version, kind) == ({"version": "1.1"}, {"type": "video"})
    assert properties == {
        "properties": {"name": "clip.mp4", "resolution": [96, 64], "length": 40, "chapters": []}
    }
    assert next(key_frame["number"] for key_frame in key_frames) == 0
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        for key_frame in key_frames:
            container.seek(key_frame["pts"], stream=stream)
            frame = next(container.decode(stream))
            assert frame.pts == key_frame["pts"]
            pixels = frame.to_image().tobytes()
            assert key_frame["checksum"] == hashlib.md5(pixels).hexdigest()


@pytest.mark.usefixtures("s3_environment")
def test_the_command_knows_a_video_by_its_name(
    s3_server: S3Server, s3_bucket: str, forebay: Forebay, tmp_path: Path
) -> None:
    uri = s3_server.put(s3_bucket, "clip.mp4", video(tmp_path / "clip.mp4").read_bytes())

    done = forebay("cvat", "manifest", uri, "-o", str(tmp_path / "made.jsonl"))

    assert (done.status, done.lines) == (0, [f"{tmp_path}/made.jsonl: 1 added"])
    assert b'"type":"video"' in (tmp_path / "made.jsonl").read_bytes()


@pytest.mark.usefixtures("s3_environment")
def test_no_video(s3_server: S3Server, s3_bucket: str, cache: MediaCache) -> None:
    uri = s3_server.put(s3_bucket, "clip.mp4", b"no video at all")
    with pytest.raises(MediaError) as raised:
        create_video_manifest(uri, cache=cache)
    assert str(raised.value).startswith(f"{uri}: cannot be read as a video: ")


@pytest.mark.usefixtures("s3_environment")
def test_elsewhere_than_beside_the_video(s3_bucket: str, cache: MediaCache) -> None:
    with pytest.raises(UriError) as raised:
        create_video_manifest(f"s3://{s3_bucket}/a/clip.mp4", f"s3://{s3_bucket}/m.jsonl", cache=cache)
    assert str(raised.value) == (
        f"s3://{s3_bucket}/m.jsonl: the manifest of a video lies beside it, in s3://{s3_bucket}/a/"
    )


@pytest.mark.usefixtures("s3_environment")
@pytest.mark.parametrize("make", [lambda path: video(path / "a.ts"), lambda path: cut_video(path / "a.mp4")])
def test_a_video_whose_frames_are_not_found_by_their_times(
    s3_server: S3Server, s3_bucket: str, forebay: Forebay, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    """A manifest of one would lead CVAT to other frames. The name of some is not that of a video "
    "everywhere."""
    file = make(tmp_path)
    uri = s3_server.put(s3_bucket, file.name, file.read_bytes())

    done = forebay("cvat", "manifest", uri)

    assert (done.status, done.err) == (
        1,
        f"error: {uri}: its first frame cannot be found by its time, as CVAT does it (an MPEG transport "
        f"stream, or an edit list that cuts the beginning off). Encode it anew: ffmpeg -i OLD NEW.mp4\n",
    )


@pytest.mark.usefixtures("s3_environment")
def test_a_key_that_cvat_does_not_accept(s3_bucket: str, cache: MediaCache) -> None:
    uri = f"s3://{s3_bucket}/a//clip.mp4"
    with pytest.raises(UriError) as raised:
        create_video_manifest(uri, cache=cache)
    assert str(raised.value) == (
        f"{uri}: CVAT does not accept a key with an empty part, '.' or '..' between slashes; copy it to "
        f"another key"
    )
