"""Recordings of robots: MCAP files, and LeRobot datasets of parquet and mp4 files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from mcap.writer import CompressionType, Writer

from tests.fiftyone.app.media import Colour, image, video

_SECOND = 1_000_000_000
EPISODE_FRAMES, FRAMES_PER_SECOND = 20, 10
CAMERA = "observation.images.front"


def mcap(path: Path, colour: Colour, *, filling: int = 0, pictures: int = 20) -> Path:
    """An MCAP file of a camera that sees one colour, ten times a second.

    Args:
        filling: of a second topic that nothing shows, in bytes; so large is the file, about.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    schemas, kind = _compressed_image()
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=256 << 10, compression=CompressionType.NONE)
        writer.start()
        schema = writer.register_schema("foxglove.CompressedImage", "protobuf", schemas)
        raw = writer.register_schema("filling", "jsonschema", b'{"type": "object"}')
        camera = writer.register_channel("/camera/front", "protobuf", schema)
        other = writer.register_channel("/filling", "json", raw)
        text = json.dumps({"text": "x" * (filling // pictures)}).encode()
        for number in range(pictures):
            time = _SECOND + number * _SECOND // 10
            seen = kind(data=image(colour), format="png", frame_id="front")
            seen.timestamp.FromNanoseconds(time)
            writer.add_message(camera, time, seen.SerializeToString(), time)
            writer.add_message(other, time, text, time)
        writer.finish()
    return path


def lerobot(directory: Path, colours: list[Colour], *, noise: bool = False) -> Path:
    """A LeRobot dataset v3 with an episode of two seconds for each colour, which its camera sees.

    All episodes share one data file and one video, as LeRobot writes them.

    Args:
        noise: as for `tests.fiftyone.app.media.video`.
    """
    import pyarrow as pa
    import pyarrow.parquet as papq

    count = len(colours)
    video(directory / f"videos/{CAMERA}/chunk-000/file-000.mp4", colours, seconds=2, noise=noise)
    _write_json(
        directory / "meta/info.json",
        {
            "codebase_version": "v3.0",
            "robot_type": "arm",
            "total_episodes": count,
            "total_frames": count * EPISODE_FRAMES,
            "total_tasks": 1,
            "chunks_size": 1000,
            "fps": FRAMES_PER_SECOND,
            "splits": {"train": f"0:{count}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
            "features": {
                CAMERA: {"dtype": "video", "shape": [240, 320, 3], "names": ["height", "width", "channels"]},
                "action": {"dtype": "float32", "shape": [2], "names": ["x", "y"]},
                "observation.state": {"dtype": "float32", "shape": [2], "names": ["x", "y"]},
                **{
                    name: {"dtype": dtype, "shape": [1], "names": None}
                    for name, dtype in {
                        "timestamp": "float32",
                        "frame_index": "int64",
                        "episode_index": "int64",
                        "index": "int64",
                        "task_index": "int64",
                    }.items()
                },
            },
        },
    )
    _write_json(directory / "meta/stats.json", {"action": {"min": [0.0, 0.0], "max": [1.0, 1.0]}})

    frames = range(count * EPISODE_FRAMES)
    _write_table(
        papq,
        directory / "data/chunk-000/file-000.parquet",
        {
            "action": pa.array([[i / 100, 0.5] for i in frames], pa.list_(pa.float32(), 2)),
            "observation.state": pa.array([[i / 100, 0.25] for i in frames], pa.list_(pa.float32(), 2)),
            "timestamp": pa.array([i % EPISODE_FRAMES / FRAMES_PER_SECOND for i in frames], pa.float32()),
            "frame_index": pa.array([i % EPISODE_FRAMES for i in frames], pa.int64()),
            "episode_index": pa.array([i // EPISODE_FRAMES for i in frames], pa.int64()),
            "index": pa.array(list(frames), pa.int64()),
            "task_index": pa.array([0 for _ in frames], pa.int64()),
        },
    )
    episodes = range(count)
    zeros = pa.array([0] * count, pa.int64())
    _write_table(
        papq,
        directory / "meta/episodes/chunk-000/file-000.parquet",
        {
            "episode_index": pa.array(list(episodes), pa.int64()),
            "length": pa.array([EPISODE_FRAMES] * count, pa.int64()),
            "dataset_from_index": pa.array([i * EPISODE_FRAMES for i in episodes], pa.int64()),
            "dataset_to_index": pa.array([(i + 1) * EPISODE_FRAMES for i in episodes], pa.int64()),
            "data/chunk_index": zeros,
            "data/file_index": zeros,
            f"videos/{CAMERA}/chunk_index": zeros,
            f"videos/{CAMERA}/file_index": zeros,
            f"videos/{CAMERA}/from_timestamp": pa.array([2.0 * i for i in episodes], pa.float64()),
            f"videos/{CAMERA}/to_timestamp": pa.array([2.0 * (i + 1) for i in episodes], pa.float64()),
            "tasks": pa.array([["pick"]] * count, pa.list_(pa.string())),
        },
    )
    _write_table(
        papq,
        directory / "meta/tasks.parquet",
        {"task_index": pa.array([0], pa.int64()), "task": pa.array(["pick"])},
    )
    return directory


def _compressed_image() -> tuple[bytes, Any]:
    """Foxglove's message of an image: the descriptors that an MCAP file holds, and its class."""
    text = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="foxglove/CompressedImage.proto",
        package="foxglove",
        syntax="proto3",
        dependency=[timestamp_pb2.DESCRIPTOR.name],
    )
    message = file.message_type.add(name="CompressedImage")
    stamp = message.field.add(name="timestamp", number=1, type=text.TYPE_MESSAGE, label=text.LABEL_OPTIONAL)
    stamp.type_name = ".google.protobuf.Timestamp"
    for name, number, kind in [
        ("data", 2, text.TYPE_BYTES),
        ("format", 3, text.TYPE_STRING),
        ("frame_id", 4, text.TYPE_STRING),
    ]:
        message.field.add(name=name, number=number, type=kind, label=text.LABEL_OPTIONAL)
    known = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(known)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(known)
    pool.Add(file)
    schemas = descriptor_pb2.FileDescriptorSet(file=[known, file]).SerializeToString()
    return schemas, message_factory.GetMessageClass(pool.FindMessageTypeByName("foxglove.CompressedImage"))


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _write_table(papq: Any, path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    papq.write_table(pa.table(columns), path)
