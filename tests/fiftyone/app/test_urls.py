"""The URLs that the App's server tells the browser to load, asked in this process."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from forebay.errors import MediaError
from forebay.fiftyone import local_media
from forebay.fiftyone.app import media_shapes, route, scenes, signed_links
from forebay.fiftyone.app.link_rewriting import link
from forebay.fiftyone.app.signing_key import signing_key
from tests.fiftyone.app.media import image, video
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.places import Places
from tests.servers.http_server import HTTPServer

RED = (200, 30, 40)


def told(view: Any) -> list[str]:
    """The URLs that the browser is to load for the first sample of a view."""
    import fiftyone.server.metadata as fosm

    [sample] = view._aggregate(post_pipeline=[{"$limit": 1}])
    return [url["url"] for url in fosm._create_media_urls(view, sample, "image", {})[2]]


def leads_to(path: str) -> str:
    """The URI behind a link."""
    target = signed_links.read(signing_key(local_media.media_cache()), path, time.time())
    assert target is not None, f"{path} is no link"
    return target.uri


# Links


def test_remote_paths_become_links_and_local_ones_stay(fo: Any, tmp_path: Path) -> None:
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath="s3://bucket/a.jpg"))
    assert [leads_to(url) for url in told(dataset.view())] == ["s3://bucket/a.jpg"]

    local = fo.Dataset()
    local.add_sample(fo.Sample(filepath=str(tmp_path / "a.jpg")))
    assert told(local.view()) == [str(tmp_path / "a.jpg")]


@pytest.mark.parametrize(
    "uri",
    ["minio://bucket/a.jpg", "http://192.168.1.1/a.jpg", "http://localhost/a.jpg", "s3:///a.jpg"],
)
def test_what_the_server_would_refuse_gets_no_link(uri: str, fo: Any, use_cache: UseCache) -> None:
    use_cache(allowed_sources="s3://,http://")
    assert link(uri) == uri


SECRET = "s3://other/secret.jpg"


def rewriting(dataset: Any) -> dict[str, Any]:
    """Views that name an object of the caller's choice, as the browser may send them."""
    import fiftyone as fo
    from fiftyone.core.view import DatasetView

    put = {"$set": {"filepath": SECRET}}

    def built(name: str, **kwargs: Any) -> Any:
        return DatasetView._build(dataset, [{"_cls": name, "kwargs": [*kwargs.items()]}])

    return {
        "Mongo": dataset.mongo([put]),
        "Mongo by another name": built("fiftyone.Mongo", pipeline=[put]),
        "SetField": dataset.set_field("filepath", SECRET),
        "MapValues": dataset.map_values("filepath", {"s3://bucket/a.jpg": SECRET}),
        "Concat": dataset.limit(0).concat(dataset.mongo([put])),
        "Flatten": dataset.group_by("number").flatten(fo.Mongo([put])),
    }


@pytest.mark.parametrize(
    "how", ["Mongo", "Mongo by another name", "SetField", "MapValues", "Concat", "Flatten"]
)
def test_a_view_cannot_put_its_own_uri_in_place_of_a_sample_s(
    how: str, fo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a sample, and a view that names an object of the caller's choice
    import fiftyone.server.metadata as fosm

    read: list[str] = []
    monkeypatch.setattr(
        media_shapes,
        "_shapes",
        media_shapes.SingleFlightCache(lambda uri: read.append(uri) or {"aspect_ratio": 2}),
    )
    box = fo.Detection(label="x", bounding_box=[0, 0, 1, 1])
    dataset = fo.Dataset()
    dataset.add_sample(
        fo.Sample(filepath="s3://bucket/a.jpg", number=1, things=fo.Detections(detections=[box]))
    )
    view = rewriting(dataset)[how]

    # then it gets no link to it, and its header is not read
    assert told(view) == [SECRET]
    [sample] = view._aggregate(post_pipeline=[{"$limit": 1}])
    got = asyncio.run(fosm.get_metadata(view, sample, "image", {}, {}))
    assert (got["aspect_ratio"], read) == (1, [])
    if how.startswith("Mongo"):
        assert told(view.to_patches("things")) == [SECRET]


def test_the_samples_own_paths_are_to_be_seen_in_any_view(fo: Any) -> None:
    dataset = fo.Dataset()
    box = fo.Detection(label="x", bounding_box=[0, 0, 1, 1])
    dataset.add_sample(
        fo.Sample(filepath="s3://bucket/a.jpg", number=1, things=fo.Detections(detections=[box]))
    )
    for view in (
        dataset.mongo([{"$match": {}}]),
        dataset.mongo([{"$match": {}}]).to_patches("things"),
        dataset.map_labels("things", {"x": "y"}),
        dataset.sort_by("number").limit(1).to_patches("things"),
        dataset.group_by("number"),
        dataset.group_by("number").flatten(),
    ):
        assert [leads_to(url) for url in told(view)] == ["s3://bucket/a.jpg"]


def test_the_frame_that_a_video_comes_with_has_links_as_it_is_stored(fo: Any) -> None:
    # given a video whose first frame has a mask, and a view that names another one
    import fiftyone.server.metadata as fosm

    mask = "s3://bucket/mask.png"
    sample = fo.Sample(filepath="s3://bucket/a.mp4")
    sample.frames[1] = fo.Frame(label=fo.Segmentation(mask_path=mask))
    dataset = fo.Dataset()
    dataset.add_sample(sample)

    def first_frames(view: Any) -> str:
        [found] = view._aggregate(attach_frames=True, post_pipeline=[{"$limit": 1}])
        fosm._create_media_urls(view, found, "video", {})
        return str(found["frames"][0]["label"]["mask_path"])

    # then the browser is told to load the stored one, and none other
    assert leads_to(first_frames(dataset.view())) == mask
    assert leads_to(first_frames(dataset.mongo([{"$match": {}}]))) == mask
    assert first_frames(dataset.map_values("frames.label.mask_path", {mask: SECRET})) == SECRET


def test_a_text_of_a_sample_that_looks_like_a_uri_is_not_signed(fo: Any) -> None:
    # given a sample with a URI in every text that is no media field
    sample = fo.Sample(
        filepath="s3://bucket/a.jpg",
        tags=[SECRET],
        note=SECRET,
        more={"filepath": SECRET, "mask_path": SECRET},
        label=fo.Classification(label=SECRET, filepath=SECRET),
        thing=fo.Segmentation(mask_path="s3://bucket/mask.png", note=SECRET),
    )
    dataset = fo.Dataset()
    dataset.add_sample(sample, dynamic=True)

    # when a view puts it in the place of the path
    for name in ("note", "more.filepath", "label.label", "label.filepath", "thing.note"):
        view = dataset.mongo([{"$set": {"filepath": f"${name}"}}])
        assert SECRET in told(view), name
    assert SECRET in told(dataset.mongo([{"$set": {"filepath": {"$arrayElemAt": ["$tags", 0]}}}]))

    # then only what a media field holds is signed.
    urls = told(dataset.mongo([{"$set": {"filepath": "$thing.mask_path"}}]))
    assert {leads_to(url) for url in urls} == {"s3://bucket/mask.png"}


def test_a_text_of_a_frame_that_looks_like_a_uri_is_not_signed(fo: Any) -> None:
    import fiftyone.server.metadata as fosm

    sample = fo.Sample(filepath="s3://bucket/a.mp4")
    mask = fo.Segmentation(mask_path="s3://bucket/mask.png", more={"mask_path": SECRET})
    sample.frames[1] = fo.Frame(label=mask, note={"filepath": SECRET, "map_path": SECRET}, mask_path=SECRET)
    dataset = fo.Dataset()
    dataset.add_sample(sample, dynamic=True)

    for view in (dataset.view(), dataset.mongo([{"$match": {}}])):
        [found] = view._aggregate(attach_frames=True, post_pipeline=[{"$limit": 1}])
        fosm._create_media_urls(view, found, "video", {})
        [frame] = found["frames"]
        assert leads_to(frame["label"]["mask_path"]) == "s3://bucket/mask.png"
        assert frame["label"]["more"] == {"mask_path": SECRET}
        assert (frame["note"], frame["mask_path"]) == ({"filepath": SECRET, "map_path": SECRET}, SECRET)


def test_the_files_of_the_cache_itself_are_private(fo: Any, tmp_path: Path) -> None:
    private = tmp_path / "cache" / ".forebay"
    (private / "tmp").mkdir(parents=True)
    (private / "app.key").touch()
    (tmp_path / "link").symlink_to(private)
    (tmp_path / "key").symlink_to(private / "app.key")
    (tmp_path / "cache" / "media").mkdir()
    (tmp_path / "cache" / "media" / "a.jpg").touch()
    inside = [
        f"{private}/app.key",
        f"{private}/none",
        f"{private}/tmp/../app.key",
        f"{tmp_path}/cache//.forebay/./app.key",
        f"{tmp_path}/link/app.key",
        f"{tmp_path}/key",
        f"/proc/self/root{private}/app.key",
        f"{tmp_path}/nul\0",
    ]
    outside = [f"{tmp_path}/cache/media/a.jpg", f"{tmp_path}/none", "none", str(tmp_path)]

    assert [route.is_private(path, str(private)) for path in inside] == [True] * len(inside)
    assert [route.is_private(path, str(private)) for path in outside] == [False] * len(outside)


def test_a_stage_that_names_the_files_of_frames_gets_no_links_to_them(fo: Any) -> None:
    from forebay.fiftyone.app import provenance

    assert provenance._is_harmless(fo.ToFrames())
    assert not provenance._is_harmless(fo.ToFrames(config={"output_dir": "s3://other/"}))


def test_only_the_owner_of_the_volume_can_read_the_key(fo: Any) -> None:
    cache = local_media.media_cache()
    first = signing_key(cache)
    file = Path(cache.config.cache_dir, ".forebay", "app.key")
    assert file.stat().st_mode & 0o777 == 0o600

    # another server on the volume
    signing_key.cache_clear()
    assert signing_key(cache) == first

    # a key that others could have read is not used
    file.chmod(0o644)
    signing_key.cache_clear()
    assert signing_key(cache) != first


# Scenes


def test_a_scene_is_served_with_links(fo: Any, places: Places) -> None:
    own = places.put("s3", "scenes/a.ply", b"ply").rpartition("/")[0]
    uri = places.put(
        "s3",
        "scenes/s.fo3d",
        json.dumps(
            {
                "_type": "Scene",
                "background": {"image": "skies/sky 1.png"},
                "children": [
                    {"_type": "PlyMesh", "plyPath": f"{own}/a.ply", "children": []},
                    {"_type": "PointCloud", "pcdPath": "/data/local.pcd", "children": []},
                    {"_type": "ObjMesh", "objPath": "b/c.obj", "mtlPath": None, "children": []},
                ],
            }
        ).encode(),
    )

    served = json.loads(scenes.linked_scene(uri, link))

    root = uri.rpartition("/scenes/")[0]
    assert leads_to(served["background"]["image"]) == f"{root}/scenes/skies/sky 1.png"
    cloud, local, mesh = served["children"]
    assert leads_to(cloud["plyPath"]) == f"{own}/a.ply"
    assert local["pcdPath"] == "/data/local.pcd"
    assert (leads_to(mesh["objPath"]), mesh["mtlPath"]) == (f"{root}/scenes/b/c.obj", None)


ELSEWHERE = [
    "s3://elsewhere/a.ply",
    "../a.ply",
    "b/../../a.ply",
    "%2e%2e/a.ply",
    "b/%2E./%252e%252e/%2e%2e/a.ply",
    "..%2fa.ply",
    "..\\a.ply",
    "gs://bucket/a.ply",
]


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("place", ["s3", "http"])
def test_what_a_scene_names_elsewhere_gets_no_link(
    name: str, place: str, fo: Any, places: Places, use_cache: UseCache
) -> None:
    use_cache(allowed_sources=f"s3://,gs://,{places.http_server.endpoint}/")
    scene = {"_type": "Scene", "children": [{"plyPath": name}], "background": {"cube": [name]}}
    uri = places.put(place, "scenes/hostile/s.fo3d", json.dumps(scene).encode())

    served = json.loads(scenes.linked_scene(uri, link))

    assert (served["children"], served["background"]["cube"]) == ([{"plyPath": name}], [name])


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png"])
def test_what_a_material_names_elsewhere_is_not_served(name: str, fo: Any, places: Places) -> None:
    uri = places.put("s3", "scenes/hostile/a.mtl", f"map_Kd {name}\nmap_Ks own.png".encode())

    assert scenes.asset_uri(uri, name) is None
    assert scenes.asset_uri(uri, "own.png") == uri.replace("a.mtl", "own.png")


def test_what_is_no_scene_is_said_to_be_none(fo: Any, places: Places) -> None:
    uri = places.put("s3", "broken.fo3d", b"\x89PNG")
    with pytest.raises(MediaError, match=r"broken\.fo3d: is not valid JSON, as a \.fo3d file must be"):
        scenes.linked_scene(uri, link)


# Metadata that the dataset lacks


def shape(uri: str, is_video: bool = False) -> Any:
    import fiftyone.server.metadata as fosm

    return asyncio.run(fosm.read_metadata(uri, is_video))


def test_the_shape_of_an_image_is_read_once_in_a_session(fo: Any, http_server: HTTPServer) -> None:
    large = image(RED, (600, 300)) + bytes(1_000_000)
    uri = http_server.put("/large.png", large)

    assert shape(uri) == shape(uri) == {"aspect_ratio": 2.0}

    [request] = http_server.requests
    assert request.headers["range"] == "bytes=0-8191"


def test_an_image_that_is_turned_is_shown_turned(fo: Any, http_server: HTTPServer) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (400, 100)).save(file, "JPEG", exif=exif)
    assert shape(http_server.put("/turned.jpg", file.getvalue())) == {"aspect_ratio": 0.25}


def test_the_shape_and_speed_of_a_video(fo: Any, http_server: HTTPServer, tmp_path: Path) -> None:
    made = video(tmp_path / "a.mp4", [RED], seconds=1)
    uri = http_server.put("/a.mp4", made.read_bytes())
    assert shape(uri, is_video=True) == {"aspect_ratio": 320 / 240, "frame_rate": 10.0}
    asked = len(http_server.requests)
    shape(uri, is_video=True)
    assert len(http_server.requests) == asked
