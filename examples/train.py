"""Trains a small network on remote photographs, through the cache; resumes after a kill.

    forebay prefetch @manifest.txt --lease 24h                      # optional: fetches everything first
    python examples/train.py manifest.txt --checkpoint run.pt       # after a kill, run it again: it resumes

The manifest has one URI on each line; the directory of a photograph is its class. For your own program, use
`Ahead`, `Photographs` and `Checkpoint`; the rest is an ordinary training loop.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

import forebay

SIDE = 64


class Ahead(Sampler[list[int]]):
    """Training batches of indices, in another order each epoch; the files are fetched in this order.

    A training batch is returned when its files are cached. Therefore the processes of the loader find every
    file, and send no requests.

    Attributes:
        epoch, step: the position of the loop; ``step`` counts the training batches that it has done in this
            epoch. The loop counts them, because the loader is some training batches ahead.
    """

    def __init__(self, uris: list[str], batch_size: int, seed: int) -> None:
        self.uris, self.batch_size, self.seed = uris, batch_size, seed
        self.epoch = self.step = 0

    def __len__(self) -> int:
        return math.ceil(len(self.uris) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.uris), generator=random).tolist()[self.step * self.batch_size :]
        with closing(forebay.media_cache.look_ahead([(self.uris[i],) for i in order])) as ahead:
            for first in range(0, len(order), self.batch_size):
                batch = order[first : first + self.batch_size]
                for number, index in enumerate(batch, first):
                    # Waits for the file. If it cannot be fetched, this raises the error, not the loader.
                    ahead.path(number, self.uris[index])
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "step": self.step, "seed": self.seed, "batch_size": self.batch_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.step = state["epoch"], state["step"]
        # With another order or batch size, the epoch would have some photographs twice and others never.
        self.seed, self.batch_size = state["seed"], state["batch_size"]


class Photographs(Dataset[tuple[torch.Tensor, int]]):
    """The photographs of a manifest as tensors, with the numbers of their classes."""

    def __init__(self, uris: list[str]) -> None:
        self.uris = uris
        self.classes = sorted({class_of(uri) for uri in uris})

    def __len__(self) -> int:
        return len(self.uris)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        uri = self.uris[index]
        with Image.open(forebay.local_path(uri)) as image:
            image.draft("RGB", (SIDE, SIDE))
            pixels = image.convert("RGB").resize((SIDE, SIDE))
        values = torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8)
        tensor = values.view(SIDE, SIDE, 3).permute(2, 0, 1).float() / 255
        return tensor, self.classes.index(class_of(uri))


class Checkpoint:
    """The state of a run in a file. A kill during `save` leaves the previous file complete.

    Args:
        uris: the URIs of the run; `load` refuses a checkpoint of another list.
    """

    def __init__(self, path: Path, uris: list[str], **parts: Any) -> None:
        self.path, self.parts = path, parts
        self.manifest = hashlib.sha256("\n".join(uris).encode()).hexdigest()

    def save(self) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        new = self.path.with_name(self.path.name + ".new")
        with new.open("wb") as file:
            torch.save(state | {"manifest": self.manifest, "random": torch.get_rng_state()}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def load(self) -> bool:
        """Loads the state from the file, if it exists; returns whether it did."""
        if not self.path.exists():
            return False
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        if state["manifest"] != self.manifest:
            raise SystemExit(f"{self.path} is of another manifest: remove it, or name another --checkpoint")
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
        return True


def class_of(uri: str) -> str:
    return uri.split("/")[-2]


def network(classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def train(options: argparse.Namespace) -> None:
    uris = [line.strip() for line in options.manifest.read_text().splitlines() if line.strip()]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(options.seed)
    photographs = Photographs(uris)
    model = network(len(photographs.classes)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    sampler = Ahead(uris, options.batch_size, options.seed)
    checkpoint = Checkpoint(options.checkpoint, uris, model=model, optimizer=optimizer, sampler=sampler)
    if checkpoint.load():
        print(f"resuming after step {sampler.step} of epoch {sampler.epoch}", flush=True)
    loader = DataLoader(
        photographs,
        batch_sampler=sampler,
        num_workers=options.loader_processes,
        # Processes are forked once, before this process has threads and connections.
        persistent_workers=options.loader_processes > 0,
        pin_memory=device.type == "cuda",
    )
    waits, began = [], time.perf_counter()
    while sampler.epoch < options.epochs:
        batches = iter(loader)
        while True:
            asked = time.perf_counter()
            found = next(batches, None)
            if found is None:
                break
            waits.append(time.perf_counter() - asked)
            loss = learn(model, optimizer, *(part.to(device) for part in found))
            sampler.step += 1
            print(
                f"epoch {sampler.epoch} step {sampler.step}/{len(sampler)} loss {loss:.6f}"
                f" input wait {1000 * waits[-1]:.1f} ms of {1000 * (time.perf_counter() - asked):.1f} ms",
                flush=True,
            )
            if sampler.step % options.checkpoint_every == 0:
                checkpoint.save()
        sampler.epoch, sampler.step = sampler.epoch + 1, 0
        checkpoint.save()
    print(summary(waits, time.perf_counter() - began))


def learn(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> float:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def summary(waits: list[float], seconds: float) -> str:
    if not waits:
        return "nothing left to do: the run had ended"
    return (
        f"input wait: {sum(waits):.2f} s of {seconds:.2f} s in {len(waits)} steps,"
        f" median {1000 * statistics.median(waits):.1f} ms, longest {1000 * max(waits):.1f} ms"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small network on the photographs of a manifest.")
    parser.add_argument("manifest", type=Path, help="a file with one URI on each line")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoint.pt"))
    parser.add_argument("--checkpoint-every", type=int, default=10, metavar="STEPS")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--loader-processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.manifest.is_file():
        parser.error(f"there is no manifest {options.manifest}")
    return options


def main() -> None:
    options = arguments()
    try:
        train(options)
    except forebay.ForebayError as error:
        hint = f"`forebay prefetch @{options.manifest}` fetches all it can and lists every failure"
        raise SystemExit(f"error: {error}\n{hint}") from None


if __name__ == "__main__":
    main()
