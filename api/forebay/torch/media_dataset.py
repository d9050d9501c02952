"""The dataset: samples that name media, which a transform gets as local paths."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

from torch.utils.data import Dataset

import forebay
from forebay.errors import ConfigError, ForebayError, SampleError, UriError
from forebay.torch.arguments import checked_cache, checked_transform
from forebay.torch.epoch_order import Place
from forebay.torch.paths_ahead import PathsAhead
from forebay.torch.reasons import reason
from forebay.uri import is_local, shown, uri_text

log = logging.getLogger(__name__)

OnError: TypeAlias = Literal["raise", "skip", "replace"]

# How often a sample is made whose files are evicted before its transform has opened them.
_ATTEMPTS = 3
# How many samples are tried in the place of one that failed.
_REPLACEMENTS = 10


class MediaDataset(Dataset[Any]):
    """Samples that name remote media; what is read of them are local files.

    With a `MediaSampler`, each process of a ``DataLoader`` fetches ahead what it needs next. With any other
    sampler, the files of a training batch are fetched at the same time, when the batch is asked for.

    Args:
        samples: URIs, or tuples, lists or dictionaries of them and other values: image, mask and label, for
            example. A `Manifest` is read at once.
        transform: is called with each sample, in which local paths have taken the place of the media, and
            makes what the dataset returns; by default the sample is returned. If a file is evicted before
            it was opened, the transform is called again.
        fields: which keys of dictionaries, or positions of tuples, are media, each a URI, a local path or a
            list of them. By default, all texts that are URIs of a scheme that Forebay reads.
        on_error: what happens to a sample whose media cannot be fetched, or whose transform raises:
            ``raise``; ``skip``, by which its training batch is smaller; or ``replace``, by the next sample
            of the dataset that does not fail, of ten. Both log a warning with the reason.
        cache: the cache; by default ``forebay.media_cache``.

    Raises:
        ConfigError: ``fields`` is no list, or names something that the first sample does not have,
            ``on_error`` is none of the three, or ``transform`` or ``cache`` is of a wrong type.
        UriError: ``samples`` is a single text or dictionary, or no list.
    """

    def __init__(
        self,
        samples: Iterable[Any],
        transform: Callable[[Any], Any] | None = None,
        *,
        fields: Collection[str | int] | None = None,
        on_error: OnError = "raise",
        cache: forebay.MediaCache | None = None,
    ) -> None:
        is_list = isinstance(samples, Iterable) or hasattr(samples, "__getitem__")
        if not is_list or isinstance(samples, (str, bytes, os.PathLike, Mapping)):
            raise UriError(f"expected a list of samples, and this is {shown(samples)}")
        if on_error not in ("raise", "skip", "replace"):
            raise ConfigError(
                f"on_error={on_error!r} is not allowed: must be raise, skip or replace", setting="on_error"
            )
        self.samples: Sequence[Any] = samples if isinstance(samples, Sequence) else list(samples)
        self.transform = checked_transform(transform)
        self.on_error = on_error
        if isinstance(fields, (str, int)):
            raise ConfigError(f"expected a list of fields: write [{shown(fields)}]", setting="fields")
        self._fields = None if fields is None else frozenset(fields)
        self._cache = checked_cache(cache)
        self._ahead: PathsAhead | None = None
        if self._fields and self.samples:
            missing = sorted(map(str, self._fields - set(_names(self.samples[0]))))
            if missing:
                raise ConfigError(f"no sample has the field {missing[0]}", setting="fields")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ahead": None}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        """One sample.

        Raises:
            SampleError: it failed; there is no batch without it where ``on_error`` is ``skip``.
        """
        return self._items([index], is_batch=False)[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples of a training batch, which a ``DataLoader`` asks for at once.

        Raises:
            SampleError: a sample failed, or all of them did where ``on_error`` is ``skip``.
        """
        return self._items(indices, is_batch=True) if indices else []

    def _items(self, indices: Sequence[int], *, is_batch: bool) -> list[Any]:
        if isinstance(indices[0], Place) and indices[0].order.length != len(self):
            # Another dataset around this one, a `ConcatDataset` for instance, has handed its own places on.
            indices = [int(index) for index in indices]
        made = []
        with self._paths().reading(indices, is_batch=is_batch) as path_of:
            for number, index in enumerate(indices):
                sample = self.samples[index]
                try:
                    made.append(self._make(sample, partial(path_of, number)))
                except Exception as error:
                    made += self._instead(index, error)
        if not made:
            raise SampleError(f"all {len(indices)} samples of a training batch failed: see the warnings")
        return made

    def _make(self, sample: Any, path_of: Callable[[str], str]) -> Any:
        attempts, paths = 0, list[str]()

        def noted(uri: str) -> str:
            paths.append(path_of(uri))
            return paths[-1]

        while True:
            attempts += 1
            paths.clear()
            local = self._with_media(sample, noted)
            if self.transform is None:
                return local
            try:
                return self.transform(local)
            except Exception:
                # Another process that needed the room may have had a file evicted before it was opened.
                if attempts == _ATTEMPTS or all(map(os.path.exists, paths)):
                    raise

    def _instead(self, index: int, error: Exception) -> list[Any]:
        """What takes the place of a sample that failed: nothing, or another one."""
        index = int(index)
        if self.on_error == "raise":
            if isinstance(error, ForebayError):
                raise SampleError(f"sample {index}: {error}") from error
            raise error
        if self.on_error == "skip":
            log.warning("sample %d is skipped: %s", index, reason(error))
            return []
        for other in range(index + 1, index + 1 + min(_REPLACEMENTS, len(self) - 1)):
            try:
                made = self._make(self.samples[other % len(self)], self._paths().path)
            except Exception as next_error:
                log.debug(
                    "sample %d cannot take the place of another: %s", other % len(self), reason(next_error)
                )
            else:
                log.warning("sample %d is replaced by sample %d: %s", index, other % len(self), reason(error))
                return [made]
        raise SampleError(f"sample {index}, and those that could replace it: {reason(error)}") from error

    def _paths(self) -> PathsAhead:
        # A forked process has the parent's.
        if self._ahead is None or self._ahead.process != os.getpid():
            self._ahead = PathsAhead(self._cache or forebay.media_cache, self._uris_of)
        return self._ahead

    def _uris_of(self, index: int) -> list[str]:
        """The URIs and paths of a sample; none of one that has none, which fails when it is made."""
        uris: list[str] = []

        def note(uri: str) -> str:
            uris.append(uri)
            return uri

        try:
            self._with_media(self.samples[index], note)
        except ForebayError:
            return []
        return uris

    def _with_media(self, sample: Any, change: Callable[[str], str]) -> Any:
        """A sample with each of its media changed."""
        if isinstance(sample, (str, os.PathLike)):
            return change(uri_text(sample))
        if isinstance(sample, Mapping):
            return {name: self._value(name, value, change) for name, value in sample.items()}
        if isinstance(sample, (tuple, list)):
            values = [self._value(position, value, change) for position, value in enumerate(sample)]
            if isinstance(sample, list):
                return values
            # A named tuple stays one.
            return getattr(type(sample), "_make", tuple)(values)
        raise UriError(f"expected a URI, or a tuple or dictionary with some, and this is {shown(sample)}")

    def _value(self, name: Any, value: Any, change: Callable[[str], str]) -> Any:
        if self._fields is None:
            return change(value) if isinstance(value, str) and _is_remote(value) else value
        if name not in self._fields or value is None:
            return value
        if isinstance(value, (tuple, list)):
            return [change(uri_text(one)) for one in value]
        return change(uri_text(value))


def _names(sample: Any) -> Iterable[Any]:
    if isinstance(sample, Mapping):
        return sample
    return range(len(sample)) if isinstance(sample, (tuple, list)) else ()


def _is_remote(value: str) -> bool:
    try:
        return not is_local(value)
    except UriError:
        return True
