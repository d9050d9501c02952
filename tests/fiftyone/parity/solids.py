"""Calls: point clouds and scenes."""

from __future__ import annotations

from typing import Any

from tests.fiftyone.parity import made
from tests.fiftyone.parity.record import Ground, call


@call("compute_metadata: point clouds")
def _(ground: Ground) -> Any:
    dataset = made.clouds(ground)
    dataset.compute_metadata()
    return dataset.values("metadata")


@call("compute_metadata: scenes")
def _(ground: Ground) -> Any:
    dataset = made.scenes(ground)
    dataset.compute_metadata()
    return dataset.values("metadata")


@call("SceneMetadata.build_for: an asset that is missing", fails=True)
def _(ground: Ground) -> Any:
    import fiftyone.core.metadata as fom

    (ground.data / "scenes" / "scene" / "cloud.pcd").unlink()
    return fom.SceneMetadata.build_for("data/scenes/scene.fo3d")


@call("get_scene_asset_paths: relative, absolute, with what materials name")
def _(ground: Ground) -> Any:
    import fiftyone.utils.utils3d as fou3d

    path = str(ground.data / "scenes" / "scene.fo3d")
    return (
        fou3d.get_scene_asset_paths([path]),
        fou3d.get_scene_asset_paths(["data/scenes/scene.fo3d"], abs_paths=True),
        fou3d.get_scene_asset_paths([path], abs_paths=True, skip_failures=False),
    )


@call("get_scene_asset_paths: a scene that is missing", fails=True)
def _(ground: Ground) -> Any:
    import fiftyone.utils.utils3d as fou3d

    return fou3d.get_scene_asset_paths(["missing.fo3d"], skip_failures=False)


@call("Scene: read, changed, written with its paths resolved")
def _(ground: Ground) -> Any:
    scene = ground.fo.Scene.from_fo3d("data/scenes/scene.fo3d")
    scene.add(ground.fo.PlyMesh("mesh", "further/mesh.ply"))
    scene.background = ground.fo.SceneBackground(
        image="sky.png", cube=[f"{side}.png" for side in "abcde"] + ["/f.png"]
    )
    scene.write(str(ground.dir / "written.fo3d"), resolve_relative_paths=True)
    again = ground.fo.Scene.from_fo3d("written.fo3d")
    return sorted(scene.get_asset_paths()), sorted(again.get_asset_paths()), scene.get_scene_summary()


# Older versions need open3d for it.
@call("compute_orthographic_projection_images: point clouds", since="1.20")
def _(ground: Ground) -> Any:
    import fiftyone.utils.utils3d as fou3d

    dataset = made.clouds(ground)
    fou3d.compute_orthographic_projection_images(dataset, (32, 32), "projected")
    return dataset


@call("compute_orthographic_projection_images: scenes", since="1.20")
def _(ground: Ground) -> Any:
    import fiftyone.utils.utils3d as fou3d

    dataset = made.scenes(ground)
    fou3d.compute_orthographic_projection_images(dataset, (32, 32), "projected")
    return dataset


@call("pcd_to_3d")
def _(ground: Ground) -> Any:
    import fiftyone.utils.utils3d as fou3d

    dataset = made.clouds(ground)
    fou3d.pcd_to_3d(dataset, output_dir="scenes")
    return dataset
