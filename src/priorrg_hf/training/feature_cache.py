"""Vision features of a frozen encoder, computed once and read from disk in every epoch.

A cache is a folder: `manifest.json` says what the features are of, `features-NNNNN.safetensors` hold them (memory-mapped when read), and a
JSON file beside each shard lists its images with checksums. Features are found by the content of the image file, and the manifest
carries a fingerprint of encoder weights and preprocessing; so neither another encoder, nor another preprocessing, nor a changed
image can be served stale features.

Shards are written whole or not at all. An interrupted run goes on where it stopped.
"""

import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers.utils import logging

from ..data.file_writing import (
    explain_full_disk,
    json_file_with,
    read_json_object,
    replace_file,
    temporary_beside,
    write_text_whole,
)
from ..data.locking import claimed
from ..data.progress import progress_bar
from ..data.worker_processes import end_with_parent
from ..model.processing_priorrg import PriorRGInputError


if TYPE_CHECKING:
    from transformers import PreTrainedModel


logger = logging.get_logger(__name__)

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Configuration fields that do not change what the encoder computes.
_VOLATILE_CONFIG = ("transformers_version", "_name_or_path", "dtype", "architectures", "_attn_implementation")


class FeatureCacheError(ValueError):
    """A cache that does not fit, is incomplete or is damaged; the message says which and what to do."""


# ---- what a cache is of ----


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def encoder_fingerprint(vision_model: "PreTrainedModel") -> str:
    """Fingerprint of an encoder's weights and shape. Parameter names, which change between transformers versions, don't count."""
    config = {k: v for k, v in vision_model.config.to_dict().items() if k not in _VOLATILE_CONFIG}
    weights = sorted(
        _digest(str(tuple(tensor.shape)).encode(), str(tensor.dtype).encode(), _bytes_of(tensor))
        for name, tensor in vision_model.state_dict().items()
        if "mask_token" not in name  # takes no part in a forward pass without a mask
    )
    return _digest(json.dumps(config, sort_keys=True, default=str).encode(), *(digest.encode() for digest in weights))


def preprocessing_fingerprint(processor) -> str:
    """Fingerprint of what the processor does to images: its settings, and its output for three made-up images.

    The images (8 bit, 12 bit, transparent colour) also catch a change of the code or of a library that settings do not show.
    """
    ramp = np.linspace(0, 1, 97 * 61, dtype=np.float64).reshape(97, 61)
    wave = (np.sin(40 * ramp) + 1) / 2
    colour = np.stack([wave, ramp, 1 - ramp, 0.5 + ramp / 2], axis=-1)
    probes = [
        Image.fromarray((255 * wave).astype(np.uint8)),
        (4095 * wave).astype(np.uint16),
        Image.fromarray((255 * colour).astype(np.uint8), mode="RGBA"),
    ]
    pixels = processor(images=probes)["pixel_values"]
    settings = {k: v for k, v in processor.image_processor.to_dict().items() if k != "transformers_version"}
    return _digest(
        json.dumps(settings, sort_keys=True, default=str).encode(),
        np.round(pixels.numpy().astype(np.float64), 4).tobytes(),
    )


def _path_of(source: Any) -> str | None:
    if isinstance(source, Mapping) and source.get("bytes") is None:
        source = source.get("path")
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if path.lower().startswith(("http://", "https://")):
            raise FeatureCacheError(f"{path}: a feature cache needs local images; download them first")
        return path.removeprefix("file://")
    return None


# A file changed this shortly before it was read may change again within the same tick of the clock: it is read again next time.
_SETTLED_NS = 2_000_000_000


def _stamp(path: str) -> tuple[int, ...]:
    """Changes whenever the content of a file does: the time of its last change of any kind (ctime) cannot be set back by programs."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class ImageKeys:
    """Keys of images by content.

    A file is read once. After that its size, both of its times and its place on the disk vouch for it; whatever writes to it changes one
    of them, also when size and modification time are put back.
    """

    def __init__(self, known: Mapping[str, Sequence] | None = None):
        self.known = dict(known or {})  # path -> (size, mtime, ctime, inode, key)

    def key(self, source: Any) -> str:
        """Key of anything the processor opens, apart from URLs. Raises `OSError` for a file that cannot be read."""
        path = _path_of(source)
        if path is not None:
            stamp = _stamp(path)
            entry = self.known.get(path)
            if entry is not None and tuple(entry[:-1]) == stamp:
                return entry[-1]
            key = _digest(Path(path).read_bytes())
            if _stamp(path) == stamp and time.time_ns() - max(stamp[1:3]) > _SETTLED_NS:
                self.known[path] = (*stamp, key)
            else:
                self.known.pop(path, None)
            return key
        if isinstance(source, Mapping):
            return _digest(source["bytes"])
        if isinstance(source, (bytes, bytearray, memoryview)):
            return _digest(bytes(source))
        if isinstance(source, Image.Image):
            return _digest(source.mode.encode(), str(source.size).encode(), source.tobytes())
        array = source.numpy() if isinstance(source, torch.Tensor) else np.asarray(source)
        return _digest(str(array.dtype).encode(), str(array.shape).encode(), np.ascontiguousarray(array).tobytes())


# ---- reading ----


def _read_part(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except ValueError as error:
        raise FeatureCacheError(
            f"{error}: the feature cache is damaged. Delete this file and run `priorrg precompute` again."
        ) from None


class FeatureCache:
    """Reads a cache. Made by `FeatureCache.open`, which checks that it fits the model and the processor.

    Tensors are checked against their checksum the first time a process reads them.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        path = self.folder / MANIFEST_NAME
        if not path.is_file():
            raise FeatureCacheError(
                f"{self.folder} is no feature cache: it has no {MANIFEST_NAME}. Make one with `priorrg precompute`."
            )
        self.manifest = _read_part(path)
        missing = [
            name for name in ("encoder", "preprocessing", "layers", "dtype", "shape") if name not in self.manifest
        ]
        if missing and self.manifest.get("format") == FORMAT_VERSION:
            raise FeatureCacheError(
                f"{path} is damaged: it lacks {', '.join(missing)}. Delete the folder and make it anew."
            )
        if self.manifest.get("format") != FORMAT_VERSION:
            raise FeatureCacheError(
                f"{path} has format {self.manifest.get('format')}, this version reads {FORMAT_VERSION}"
            )
        self.checksums: dict[str, dict[str, int]] = {}  # key -> {"last": crc, "all": crc}
        self.shard_of: dict[tuple[str, str], str] = {}
        self.unreadable: dict[str, str] = {}
        known: dict[str, Sequence] = {}
        for sidecar in sorted(self.folder.glob("features-*.json")):
            entry = _read_part(sidecar)
            if (
                not isinstance(entry.get("images"), dict)
                or not isinstance(entry.get("paths"), dict)
                or "file" not in entry
            ):
                raise FeatureCacheError(
                    f"{sidecar} is damaged. Delete it, then run `priorrg precompute` again: only its images are computed anew."
                )
            shard = self.folder / Path(str(entry["file"])).name
            if not shard.is_file() or shard.stat().st_size != entry.get("size"):
                raise FeatureCacheError(
                    f"{shard} is missing or has another size than when it was written. Delete it and {sidecar.name}, then run "
                    "`priorrg precompute` again: only its images are computed anew."
                )
            for key, sums in entry["images"].items():
                self.checksums.setdefault(key, {}).update(sums)
                self.shard_of.update({(key, kind): entry["file"] for kind in sums})
            known.update(entry["paths"])
        failures = self.folder / "unreadable.json"
        if failures.is_file():
            self.unreadable = _read_part(failures)
        self.keys = ImageKeys(known)
        self._files: dict[str, Any] = {}
        self._process = os.getpid()
        self._checked: set[tuple[str, str]] = set()

    def __getstate__(self):
        return {**self.__dict__, "_files": {}, "_process": None}

    @classmethod
    def open(cls, folder: str | os.PathLike, model, processor) -> "FeatureCache":
        """Opens a cache for a model head and its processor; raises [`FeatureCacheError`] if it holds features of something else."""
        cache = cls(folder)
        vision_model = model.model.vision_model
        for part, found in (
            ("encoder", encoder_fingerprint(vision_model)),
            ("preprocessing", preprocessing_fingerprint(processor)),
        ):
            if cache.manifest[part] != found:
                what = {"encoder": "another vision encoder", "preprocessing": "other image preprocessing"}[part]
                raise FeatureCacheError(
                    f"{folder} holds features of {what} ({cache.manifest[part]}, here {found}). Make a new cache with "
                    "`priorrg precompute`, or train with the model and processor that this one was made with."
                )
        cache.needs_layers = model.model.layer_fusion is not None
        if cache.needs_layers and cache.manifest["layers"] != "all":
            raise FeatureCacheError(
                f"{folder} holds the last layer only, but this model fuses all layers. Run `priorrg precompute --layers all` into it."
            )
        return cache

    needs_layers = False

    def __len__(self) -> int:
        return len(self.checksums)

    def has(self, key: str, kind: str) -> bool:
        return (key, kind) in self.shard_of

    def read(self, key: str, kind: str) -> torch.Tensor:
        """Features of an image: `kind` is `"last"` (patches, width) or `"all"` (layers, patches, width)."""
        if self._process != os.getpid():  # a forked worker must not share file handles
            self._files, self._process = {}, os.getpid()
        name = self.shard_of[key, kind]
        try:
            if name not in self._files:
                self._files[name] = safe_open(self.folder / name, framework="pt")
            tensor = self._files[name].get_tensor(f"{key}.{kind}")
        except (SafetensorError, OSError) as error:
            raise FeatureCacheError(
                f"{self.folder / name} cannot be read ({error}). Delete it and its .json, then run `priorrg precompute` again."
            ) from error
        if (key, kind) not in self._checked:
            if zlib.crc32(_bytes_of(tensor)) != self.checksums[key][kind]:
                raise FeatureCacheError(
                    f"{self.folder / name} is damaged: the features of image {key} do not match their checksum. Delete it and its "
                    ".json, then run `priorrg precompute` again."
                )
            self._checked.add((key, kind))
        return tensor

    def verify(self, progress: bool = False) -> int:
        """Reads every tensor and compares its checksum. Returns how many; raises [`FeatureCacheError`] at the first damaged one."""
        self._checked.clear()
        for key, kind in progress_bar(self.shard_of, description="verifying", unit="tensors", shown=progress):
            self.read(key, kind)
        return len(self.shard_of)

    def batch(self, processor, rows: Sequence[Mapping[str, Any]], texts: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Model inputs of example rows with vision features in place of pixels; `texts` are the processor's other arguments."""
        batch = dict(processor.encode_without_images([row.get("prior_image") is not None for row in rows], **texts))
        patches, width = self.manifest["shape"]
        dtype = DTYPES[self.manifest["dtype"]]
        last = torch.zeros(len(rows), patches, width, dtype=dtype)
        prior = torch.zeros_like(last)
        layers = (
            torch.zeros(len(rows), self.manifest["num_layers"], patches, width, dtype=dtype)
            if self.needs_layers
            else None
        )
        for index, row in enumerate(rows):
            if not row.get("is_blank"):
                key = self._key_of(row["image"], index, "images")
                last[index] = self.read(key, "last")
                if layers is not None:
                    layers[index] = self.read(key, "all")
            if row.get("prior_image") is not None:
                prior[index] = self.read(self._key_of(row["prior_image"], index, "prior_images"), "last")
        batch["vision_last_hidden_state"] = last
        batch["prior_vision_last_hidden_state"] = prior
        if layers is not None:
            batch["vision_hidden_states"] = layers
        return batch

    def _key_of(self, source: Any, row: int, field: str) -> str:
        try:
            key = self.keys.key(source)
        except OSError as error:
            raise PriorRGInputError(f"row {row}, {field}: {error}", row=row, field=field) from error
        if key in self.unreadable:
            raise PriorRGInputError(f"row {row}, {field}: {self.unreadable[key]}", row=row, field=field)
        needed = ["last", "all"] if self.needs_layers and field == "images" else ["last"]
        if not all(self.has(key, kind) for kind in needed):
            raise FeatureCacheError(
                f"{self.folder} has no {'all-layer ' if 'all' in needed else ''}features of {_path_of(source) or key} (a new or changed "
                "image?). Run `priorrg precompute` on this table again: what is there already is kept."
            )
        return key


# ---- writing ----


_CHANGED = "was changed while its features were computed; run it again"


class _Images(torch.utils.data.Dataset):
    """Preprocessed images in worker processes; a bad one comes back with its reason."""

    def __init__(self, processor, sources: Sequence[tuple[str, Any]]):
        self.processor = processor
        self.sources = sources

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int):
        key, source = self.sources[index]
        try:
            pixels = self.processor(images=[source])["pixel_values"][0]
            if ImageKeys().key(source) != key:
                return key, None, f"{_path_of(source)} {_CHANGED}"
            return key, pixels, None
        except PriorRGInputError as error:
            return key, None, str(error).removeprefix("row 0, images: ")


class FeatureWriter:
    """Collects features and writes them shard by shard."""

    def __init__(self, folder: Path, dtype: torch.dtype, shard_bytes: int):
        self.folder, self.dtype, self.shard_bytes = folder, dtype, shard_bytes
        taken = [int(path.stem.split("-")[1]) for path in folder.glob("features-*.json")]
        self.next_shard = max(taken, default=-1) + 1
        self.tensors: dict[str, torch.Tensor] = {}
        self.bytes = self.total_bytes = 0

    def add(self, key: str, kind: str, features: torch.Tensor) -> None:
        tensor = features.detach().to("cpu", self.dtype).contiguous()
        self.tensors[f"{key}.{kind}"] = tensor
        self.bytes += tensor.numel() * tensor.element_size()

    def flush(self, paths: Mapping[str, Sequence], force: bool = False) -> None:
        if not self.tensors or (self.bytes < self.shard_bytes and not force):
            return
        name = f"features-{self.next_shard:05d}"
        shard = self.folder / f"{name}.safetensors"
        temporary = temporary_beside(shard)
        kept = f"The {self.next_shard} shards before it are complete, and will be taken over."
        with explain_full_disk(shard, kept):
            try:
                save_file(self.tensors, temporary)
                replace_file(temporary, shard)
            finally:
                temporary.unlink(missing_ok=True)
        images: dict[str, dict[str, int]] = {}
        for tensor_name, tensor in self.tensors.items():
            key, kind = tensor_name.split(".")
            images.setdefault(key, {})[kind] = zlib.crc32(_bytes_of(tensor))
        sidecar = {
            "file": shard.name,
            "size": shard.stat().st_size,
            "images": images,
            "paths": {path: list(entry) for path, entry in paths.items() if entry[-1] in images},
        }
        write_text_whole(self.folder / f"{name}.json", json.dumps(sidecar), kept=kept)
        self.total_bytes += self.bytes
        self.next_shard += 1
        self.tensors, self.bytes = {}, 0


def _images_of(examples: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    if hasattr(examples, "select_columns"):
        examples = examples.select_columns(["image", "prior_image"])
    for row in examples:
        for field in ("image", "prior_image"):
            if row.get(field) is not None:
                yield field, row[field]


def _prepare_folder(folder: Path, manifest: dict[str, Any]) -> None:
    path = folder / MANIFEST_NAME
    if path.is_file():
        found = _read_part(path)
        fixed = ("format", "encoder", "preprocessing", "dtype", "shape", "num_layers")
        different = [name for name in fixed if found.get(name) != manifest[name]]
        if different:
            raise FeatureCacheError(
                f"{folder} already holds a cache with other {', '.join(different)}. Choose another folder, or delete this one."
            )
        if found.get("layers") == "all":
            manifest["layers"] = "all"
    for leftover in folder.glob("features-*.safetensors"):
        if not leftover.with_suffix(".json").is_file():  # the run was stopped between shard and its list
            leftover.unlink()
    for leftover in folder.glob(".features-*.tmp"):
        leftover.unlink()
    write_text_whole(path, json.dumps(manifest, indent=2) + "\n")


@torch.no_grad()
def precompute_features(
    model,
    processor,
    examples: Iterable[Mapping[str, Any]],
    folder: str | os.PathLike,
    *,
    layers: str = "last",
    dtype: str = "bfloat16",
    batch_size: int = 16,
    num_workers: int = 0,
    shard_bytes: int = 256 * 2**20,
    autocast: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Computes the vision features of all current and prior images of `examples` that a cache does not hold yet.

    Args:
        model: a PriorRG head; its vision encoder is used, on the device where it is.
        processor ([`PriorRGProcessor`]): its image preprocessing is used.
        examples: example rows; see [`PriorRGDataCollator`].
        folder: the cache; made if it does not exist, continued if it does.
        layers (`str`): `"last"` (stage 1, or models without layer fusion) or `"all"` (stage 2: also every layer of current images).
        dtype (`str`): `"bfloat16"` or `"float32"`, on disk.
        batch_size, num_workers (`int`): images per forward pass; processes that open and preprocess images.
        shard_bytes (`int`): size of a shard, and so what an interrupted run may lose.
        autocast (`bool`): compute in bfloat16 (fast on GPUs).
        progress (`bool`): show a progress bar.

    Returns a dictionary: `images` (distinct), `computed`, `unreadable` (key -> reason), `bytes` (written now).
    """
    if layers not in ("last", "all"):
        raise FeatureCacheError(f"layers must be 'last' or 'all', got {layers!r}")
    if dtype not in DTYPES:
        raise FeatureCacheError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    folder, base = Path(folder), model.model
    config, vision_model = model.config.vision_config, base.vision_model.eval()
    size = processor.image_processor.crop_size
    patches = (size["height"] // config.patch_size) * (size["width"] // config.patch_size) + 1
    manifest = {
        "format": FORMAT_VERSION,
        "encoder": encoder_fingerprint(vision_model),
        "preprocessing": preprocessing_fingerprint(processor),
        "layers": layers,
        "dtype": dtype,
        "computed_in": "bfloat16" if autocast else str(vision_model.dtype).removeprefix("torch."),
        "shape": [patches, config.hidden_size],
        "num_layers": config.num_hidden_layers,
        "notice": "Features of chest X-rays: treat them like the images. Research use only, not for clinical decisions.",
    }
    with claimed(
        folder, "feature cache", ("manifest.json", "features-*", "unreadable.json"), "a run that precomputes features",
        recognised=json_file_with("format", "encoder", "preprocessing")(folder / MANIFEST_NAME),
    ):  # fmt: skip
        _prepare_folder(folder, manifest)
        return _fill(
            FeatureCache(folder),
            base,
            processor,
            examples,
            layers,
            dtype,
            batch_size,
            num_workers,
            shard_bytes,
            autocast,
            progress,
        )


@torch.no_grad()
def _fill(
    cache: FeatureCache, base, processor, examples, layers: str, dtype: str, batch_size: int, num_workers: int, shard_bytes: int,
    autocast: bool, progress: bool,
) -> dict[str, Any]:  # fmt: skip
    folder, vision_model = cache.folder, base.vision_model
    wanted, missing_files = _wanted_features(cache, examples, layers)
    unreadable = dict(missing_files)
    todo = [(key, source) for key, (source, kinds) in wanted.items() if kinds]
    writer = FeatureWriter(folder, DTYPES[dtype], shard_bytes)
    loader = torch.utils.data.DataLoader(
        _Images(processor, todo),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=list,
        worker_init_fn=end_with_parent,
    )
    device = vision_model.device
    with progress_bar(total=len(todo), description="vision features", unit="images", shown=progress) as bar:
        for batch in loader:
            unreadable.update({key: reason for key, _, reason in batch if reason is not None})
            readable = [(key, pixels) for key, pixels, _ in batch if pixels is not None]
            if readable:
                pixels = torch.stack([pixels for _, pixels in readable]).to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                    last, hidden = base.encode_images(pixels, output_layers=layers == "all")
                for index, (key, _) in enumerate(readable):
                    if "last" in wanted[key][1]:
                        writer.add(key, "last", last[index])
                    if "all" in wanted[key][1]:
                        writer.add(key, "all", torch.stack([layer[index] for layer in hidden]))
                writer.flush(cache.keys.known)
            bar.update(len(batch))
    writer.flush(cache.keys.known, force=True)
    repaired = {key for key, _ in todo} - set(unreadable)
    unreadable = {key: r for key, r in {**cache.unreadable, **unreadable}.items() if key not in repaired}
    if unreadable or cache.unreadable:
        # A change is no property of the content that the key stands for.
        lasting = {key: reason for key, reason in unreadable.items() if not reason.endswith(_CHANGED)}
        write_text_whole(folder / "unreadable.json", json.dumps(lasting, indent=2))
    return {
        "images": len(wanted),
        "computed": len(todo) - sum(key in unreadable for key, _ in todo),
        "unreadable": unreadable,
        "bytes": writer.total_bytes,
    }


def _wanted_features(cache: FeatureCache, examples, layers: str):
    """Images by key with the kinds of features still to be computed, and files that cannot even be read."""
    wanted: dict[str, tuple[Any, set[str]]] = {}
    missing: dict[str, str] = {}
    for field, source in _images_of(examples):
        try:
            key = cache.keys.key(source)
        except OSError as error:
            missing[str(_path_of(source))] = str(error)
            continue
        kinds = {"last", "all"} if layers == "all" and field == "image" else {"last"}
        kinds = {kind for kind in kinds if not cache.has(key, kind)}
        if key in wanted:
            wanted[key][1].update(kinds)
        else:
            wanted[key] = (source, kinds)
    return wanted, missing


__all__ = ["FeatureCache", "FeatureCacheError", "precompute_features"]
