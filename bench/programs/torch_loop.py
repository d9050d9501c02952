"""One rank of a training loop. Arguments: WAY URIS ROOT RANK RANKS PLACE PROCESSES BATCH STEP_SECONDS.

The model is a pause, as that of a GPU, and an all-reduce of its gradient (gloo). Prints how long it waited,
as JSON. Of the way ``forebay``, ``PLACE/position-RANK`` has the position after each step, where it resumes.
"""

import io
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler

WAY, URIS, ROOT, PLACE = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[6])
RANK, RANKS, PROCESSES, BATCH = int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[7]), int(sys.argv[8])
STEP_SECONDS = float(sys.argv[9])
SIDE = 64
uris = Path(URIS).read_text().split()


def pixels(file) -> torch.Tensor:
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        image.draft("RGB", (SIDE, SIDE))
        small = image.convert("RGB").resize((SIDE, SIDE))
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8)


class Plain(Dataset[torch.Tensor]):
    """Local files, or what everyone writes first: boto3 in `__getitem__`, with a client for each process."""

    def __init__(self) -> None:
        self.client: Any = None

    def __len__(self) -> int:
        return len(uris)

    def __getitem__(self, index: int) -> torch.Tensor:
        bucket, _, key = uris[index].removeprefix("s3://").partition("/")
        if WAY == "local":
            return pixels(ROOT / bucket / key)
        if self.client is None:
            import boto3

            self.client = boto3.session.Session().client("s3")
        return pixels(self.client.get_object(Bucket=bucket, Key=key)["Body"].read())


def litdata() -> Any:
    from litdata import StreamingRawDataset
    from litdata.raw.indexer import BaseIndexer, FileMetadata
    from litdata.streaming import downloader

    # Otherwise it refuses a server without TLS.
    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True

    class Listed(BaseIndexer):
        """The list is given, as to all others."""

        def discover_files(self, input_dir, storage_options):
            return self.build_or_load_index(input_dir)

        def build_or_load_index(self, *arguments, **options):
            bucket = uris[0].split("/")[2]
            return [
                FileMetadata(uri, (ROOT / bucket / uri.rpartition("/")[2]).stat().st_size) for uri in uris
            ]

    return StreamingRawDataset(
        uris[0].rpartition("/")[0], cache_dir=str(PLACE / "litdata"), indexer=Listed(), transform=pixels
    )


def loader():
    if WAY == "forebay":
        import forebay

        dataset = forebay.torch.MediaDataset(uris, pixels)
        sampler = forebay.torch.MediaSampler(dataset)
    else:
        dataset = litdata() if WAY == "litdata" else Plain()
        sampler = DistributedSampler(dataset, RANKS, RANK)
    return DataLoader(dataset, BATCH, sampler=sampler, num_workers=PROCESSES), sampler


def main() -> None:
    torch.set_num_threads(1)
    # That there are more processes than CPUs.
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    group = f"file://{PLACE}/group-{os.environ['GROUP']}"
    distributed.init_process_group("gloo", init_method=group, rank=RANK, world_size=RANKS)
    batches, sampler = loader()
    position = PLACE / f"position-{RANK}"
    if position.exists():
        sampler.load_state_dict(json.loads(position.read_text()))
    gradient, waits, began = torch.zeros(100_000), [], time.perf_counter()
    steps = iter(batches)
    while True:
        asked = time.perf_counter()
        batch = next(steps, None)
        if batch is None:
            break
        waits.append(time.perf_counter() - asked)
        time.sleep(STEP_SECONDS)
        distributed.all_reduce(gradient)
        if WAY == "forebay":
            new = position.with_suffix(".new")
            new.write_text(json.dumps(sampler.state_dict(done=len(waits) * BATCH)))
            new.replace(position)
    position.unlink(missing_ok=True)
    print(json.dumps({"waits": waits, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
