"""Calls: what reads or writes pixels."""

from __future__ import annotations

from typing import Any

from tests.fiftyone.parity import made
from tests.fiftyone.parity.record import Ground, call


@call("compute_metadata: photographs, one of them turned by its EXIF")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.compute_metadata()
    return dataset.values("metadata")


@call("compute_metadata: with other processes, with one, and again")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.compute_metadata(num_workers=2)
    first = dataset.values("metadata.width")
    dataset.compute_metadata(overwrite=True, num_workers=1)
    dataset.first().compute_metadata(overwrite=True)
    return first, dataset.values("metadata")


@call("compute_metadata: a missing file, skipped")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.add_sample(ground.fo.Sample(filepath="missing.jpg"))
    dataset.compute_metadata()
    return dataset.values("metadata.width")


@call("compute_metadata: a missing file, not skipped", fails=True)
def _(ground: Ground) -> Any:
    dataset = ground.fo.Dataset.from_images(["missing.jpg"])
    dataset.compute_metadata(skip_failures=False)


@call("compute_metadata: not an image")
def _(ground: Ground) -> Any:
    (ground.dir / "text.jpg").write_text("no image")
    dataset = ground.fo.Dataset.from_images(["text.jpg"])
    dataset.compute_metadata()
    return dataset.values("metadata")


@call("compute_metadata: videos", video=True)
def _(ground: Ground) -> Any:
    dataset = made.videos(ground)
    dataset.compute_metadata()
    return dataset.values("metadata")


@call("compute_metadata: groups")
def _(ground: Ground) -> Any:
    dataset = made.groups(ground)
    dataset.select_group_slices(_allow_mixed=True).compute_metadata()
    return dataset


@call("Metadata.build_for, ImageMetadata.build_for: relative and absolute")
def _(ground: Ground) -> Any:
    import fiftyone.core.metadata as fom

    return (
        fom.ImageMetadata.build_for("data/photos/rotated.jpg"),
        fom.ImageMetadata.build_for(ground.photos[0]),
        fom.Metadata.build_for("data/photos/grey.png"),
        fom.Metadata.build_for("data/clouds/cloud-0.pcd"),
    )


@call("ImageMetadata.build_for: a missing file", fails=True)
def _(ground: Ground) -> Any:
    import fiftyone.core.metadata as fom

    return fom.ImageMetadata.build_for("missing.jpg")


@call("foui.read: relative, absolute, flags, alpha")
def _(ground: Ground) -> Any:
    import fiftyone.utils.image as foui

    return (
        foui.read("data/photos/china.jpg"),
        foui.read(ground.photos[-1]),
        foui.read("data/photos/grey.png", flag=0),
        foui.read("data/photos/grey.png", include_alpha=True),
    )


@call("foui.read: a missing file", fails=True)
def _(ground: Ground) -> Any:
    import fiftyone.utils.image as foui

    return foui.read("missing.jpg")


@call("compute_filehash")
def _(ground: Ground) -> Any:
    import fiftyone.core.utils as fou

    return fou.compute_filehash("data/photos/china.jpg"), fou.compute_filehash(ground.photos[0], method="md5")


@call("to_patches, exported")
def _(ground: Ground) -> Any:
    patches = made.images(ground).to_patches("detections")
    patches.export(export_dir="exported", dataset_type=ground.fo.types.ImageDirectory)
    return patches.values("filepath"), patches.count("detections")


@call("ImagePatchesExtractor")
def _(ground: Ground) -> Any:
    from fiftyone.utils.patches import ImagePatchesExtractor

    extractor = ImagePatchesExtractor(made.images(ground), "detections", include_labels=True, force_rgb=True)
    return [(patch, label) for patch, label in extractor]


@call("reencode_images")
def _(ground: Ground) -> Any:
    import fiftyone.utils.image as foui

    dataset = made.images(ground)
    foui.reencode_images(dataset, force_reencode=True, output_dir="out", update_filepaths=True)
    return dataset.values("filepath")


@call("transform_images: beside, and in place")
def _(ground: Ground) -> Any:
    import fiftyone.utils.image as foui

    dataset = made.images(ground)
    foui.transform_images(dataset, size=(40, 30), output_dir="out", output_field="small")
    foui.transform_images(dataset, max_size=(50, 50), delete_originals=True, ext=".png")
    return dataset.values(["filepath", "small"])


@call("draw_labels: photographs")
def _(ground: Ground) -> Any:
    view = made.images(ground).select_fields(["detections", "polylines", "keypoints", "ground_truth"])
    return view.draw_labels("drawn", label_fields=["detections", "polylines", "keypoints"])


@call("draw_labels: masks and heatmaps on disk")
def _(ground: Ground) -> Any:
    return made.images(ground).draw_labels("drawn", label_fields=["segmentation", "heatmap"])


@call("draw_labels: videos", video=True)
def _(ground: Ground) -> Any:
    return made.videos(ground).draw_labels("drawn", label_fields=["frames.detections"])


@call("to_frames, with frames on disk", video=True)
def _(ground: Ground) -> Any:
    dataset = made.videos(ground)
    frames = dataset.to_frames(sample_frames=True, fps=4)
    return frames.values("filepath"), frames.count("detections.detections"), dataset.values("frames.filepath")


@call("to_frames, into a directory", video=True)
def _(ground: Ground) -> Any:
    frames = made.videos(ground).to_frames(
        sample_frames=True, output_dir="frames", rel_dir=str(ground.data), fps=2
    )
    return frames.values("filepath")


@call("to_frames, labels only", video=True)
def _(ground: Ground) -> Any:
    return made.videos(ground).to_frames()


@call("to_clips, exported", video=True)
def _(ground: Ground) -> Any:
    clips = made.videos(ground).to_clips("events")
    clips.export(export_dir="exported", dataset_type=ground.fo.types.VideoDirectory)
    return clips.values(["filepath", "support"])


@call("to_trajectories", video=True)
def _(ground: Ground) -> Any:
    return made.videos(ground).to_trajectories("frames.detections").values(["filepath", "support"])


@call("reencode_videos, transform_videos", video=True)
def _(ground: Ground) -> Any:
    import fiftyone.utils.video as fouv

    dataset = made.videos(ground)
    fouv.reencode_videos(dataset, force_reencode=True, output_dir="reencoded", update_filepaths=False)
    fouv.transform_videos(dataset, max_fps=4, output_dir="slow", output_field="slow")
    fouv.transform_videos(dataset, size=(48, 32), delete_originals=True)
    return dataset.values(["filepath", "slow"])


@call("sample_videos, sample_video, extract_clip, concat_videos, exact_frame_count", video=True)
def _(ground: Ground) -> Any:
    import fiftyone.utils.video as fouv

    dataset = made.videos(ground)
    fouv.sample_videos(dataset, output_dir="frames", fps=2, save_filepaths=True)
    fouv.sample_video("data/videos/video-0.mp4", "by-hand/%06d.jpg", frames=[1, 2])
    fouv.extract_clip("data/videos/video-0.mp4", "clip.mp4", support=[2, 5])
    fouv.concat_videos(ground.videos, "both.mp4")
    return dataset.values("frames.filepath"), fouv.exact_frame_count(ground.videos[0])


@call("a video that is missing: compute_metadata, to_frames", video=True)
def _(ground: Ground) -> Any:
    dataset = ground.fo.Dataset.from_videos(["missing.mp4"])
    dataset.compute_metadata()
    return dataset.to_frames(sample_frames=True, skip_failures=True)
