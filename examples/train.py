"""Trains a small network on remote photographs, through the cache; resumes after a kill.

    forebay prefetch @manifest.txt --lease 24h                      # optional: fetches everything first
    python examples/train.py manifest.txt --checkpoint run.pt       # after a kill, run it again: it resumes

The manifest has one URI on each line; the directory of a photograph is its class. `forebay.torch` fetches
ahead what each process of the loader needs next; all else is an ordinary training loop.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import forebay
from forebay.torch import MediaDataset, MediaSampler

SIDE = 64


def pixels(sample: tuple[str, int]) -> tuple[torch.Tensor, int]:
    """A photograph as a tensor, and its class."""
    path, label = sample
    with Image.open(path) as image:
        image.draft("RGB", (SIDE, SIDE))
        small = image.convert("RGB").resize((SIDE, SIDE))
    values = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8)
    return values.view(SIDE, SIDE, 3).permute(2, 0, 1).float() / 255, label


def network(classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def train(options: argparse.Namespace) -> None:
    uris = list(forebay.Manifest(options.manifest))
    classes = sorted({uri.split("/")[-2] for uri in uris})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(options.seed)
    dataset = MediaDataset([(uri, classes.index(uri.split("/")[-2])) for uri in uris], pixels)
    sampler = MediaSampler(dataset, seed=options.seed)
    model = network(len(classes)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    parts = {"model": model, "optimizer": optimizer, "sampler": sampler}
    step = load(options.checkpoint, parts)
    loader = DataLoader(
        dataset,
        batch_size=options.batch_size,
        sampler=sampler,
        num_workers=options.loader_processes,
        persistent_workers=options.loader_processes > 0,
        pin_memory=device.type == "cuda",
    )
    steps, waits, began = len(loader), [], time.perf_counter()
    for epoch in range(sampler.epoch, options.epochs):
        sampler.set_epoch(epoch)
        for done, (wait, batch) in enumerate(timed(loader), 1):
            loss = learn(model, optimizer, *(part.to(device) for part in batch))
            step, waits = step + 1, [*waits, wait]
            print(
                f"epoch {epoch} step {step}/{steps} loss {loss:.6f} input wait {1000 * wait:.1f} ms",
                flush=True,
            )
            if step % options.checkpoint_every == 0 or step == steps:
                # The loader is ahead of the loop, which says how much of this iteration it has done.
                position = sampler.state_dict(done=done * options.batch_size)
                save(options.checkpoint, parts, sampler=position, step=step % steps)
        step = 0
    print(summary(waits, time.perf_counter() - began))


def timed(loader: Iterable[Any]) -> Iterator[tuple[float, Any]]:
    """Each training batch, and how long the loop waited for it, in seconds."""
    asked = time.perf_counter()
    for batch in loader:
        yield time.perf_counter() - asked, batch
        asked = time.perf_counter()


def save(path: Path, parts: dict[str, Any], **values: Any) -> None:
    """Writes a checkpoint. A kill meanwhile leaves the previous file complete."""
    state = {name: part.state_dict() for name, part in parts.items()}
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        torch.save(state | {"random": torch.get_rng_state()} | values, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def load(path: Path, parts: dict[str, Any]) -> int:
    """Loads the checkpoint, if there is one, and returns the step after which it was written."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    torch.set_rng_state(state["random"])
    print(f"resuming after step {state['step']} of epoch {state['sampler']['epoch']}", flush=True)
    return int(state["step"])


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


def main() -> None:
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
    try:
        train(options)
    except forebay.ForebayError as error:
        # From a process of the loader, it comes with the traceback there.
        reason = str(error).rstrip().rpartition("\n")[2]
        hint = f"`forebay prefetch @{options.manifest}` fetches all it can and lists every failure"
        raise SystemExit(f"error: {reason}\n{hint}") from None


if __name__ == "__main__":
    main()
