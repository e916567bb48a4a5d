"""Short hashes that say which model, which data and which settings a report or a score belongs to."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any


DIGITS = 16


def model_fingerprint(model) -> str:
    """Hash over names, shapes and values of all parameters and buffers: equal exactly for equal weights of one dtype."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()[:DIGITS]


def text_fingerprint(texts: Iterable[str | None]) -> str:
    """Hash over texts in their order; a missing text differs from an empty one."""
    digest = hashlib.sha256()
    for text in texts:
        payload = b"\x00" if text is None else b"\x01" + text.encode("utf-8", errors="surrogatepass")
        digest.update(len(payload).to_bytes(8, "big") + payload)
    return digest.hexdigest()[:DIGITS]


def _plain(value: Any) -> str:
    """For JSON: a tensor or array by its content (its text leaves the middle out), anything else by its text."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().float().numpy()
    if hasattr(value, "tobytes") and hasattr(value, "shape"):
        return f"{value.dtype}{tuple(value.shape)}{hashlib.sha256(value.tobytes()).hexdigest()}"
    return str(value)


def settings_fingerprint(settings: Mapping[str, Any]) -> str:
    """Hash over a JSON-serialisable mapping, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=_plain).encode()).hexdigest()[:DIGITS]


# Fields of configurations that say where a model came from, not what it computes.
_VOLATILE = (
    "transformers_version",
    "_name_or_path",
    "dtype",
    "torch_dtype",
    "architectures",
    "auto_map",
    "custom_pipelines",
)


def _without_volatile(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_volatile(entry) for key, entry in value.items() if key not in _VOLATILE}
    return value


def config_fingerprint(config) -> str:
    """Hash over a model's configuration, without what does not change its outputs."""
    return settings_fingerprint(_without_volatile(config.to_dict()))


def processor_fingerprint(processor) -> str:
    """Hash over all that a processor does: to images (tried on made-up ones), to text, and to views."""
    from ..training.feature_cache import preprocessing_fingerprint

    tokenizer = processor.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        words: Any = sorted(tokenizer.get_vocab().items())
    else:  # without the state that the last call left in it
        words = {k: v for k, v in json.loads(backend.to_str()).items() if k not in ("truncation", "padding")}
    settings = {k: v for k, v in processor.to_dict().items() if k != "image_processor"}
    return settings_fingerprint(
        {
            "images": preprocessing_fingerprint(processor),
            "tokenizer": words,
            "special_tokens": tokenizer.special_tokens_map,
            "settings": _without_volatile(settings),
        }
    )


# What a report was made of, in words; the parts of `RowFingerprints.of`.
PARTS = {
    "image": "image",
    "prior": "prior image",
    "views": "views",
    "context": "indication or history",
    "reference": "reference",
    "study": "study or patient id",
}


class RowFingerprints:
    """What an example row is made of, part by part. A file that several rows have is read once."""

    def __init__(self):
        from ..training.feature_cache import ImageKeys

        self._keys = ImageKeys()

    def of(self, row: Mapping[str, Any]) -> dict[str, str | None]:
        """Short hash of each of `PARTS`; `None` for a prior that is not there.

        Images count by their content, whatever they are: files, bytes, PIL images, arrays. Only a web address counts as such, since
        looking behind it would mean to fetch it twice.
        """
        prior = row.get("prior_image")
        days = row.get("days_before")
        return {
            "image": self._image(row.get("image")),
            "prior": None if prior is None else self._image(prior),
            "views": text_fingerprint(
                [row.get("view_position"), row.get("prior_view_position") if prior is not None else None]
            ),
            "context": text_fingerprint([row.get("indication"), row.get("history")]),
            "reference": text_fingerprint([row.get("findings")]),
            "study": text_fingerprint(
                None if value is None else str(value) for value in (row.get("study_id"), row.get("patient_id"), days)
            ),
        }

    def _image(self, source: Any) -> str:
        address = source.get("path") if isinstance(source, Mapping) and source.get("bytes") is None else source
        if isinstance(address, str) and address.lower().startswith(("http://", "https://")):
            return text_fingerprint([address])
        try:
            return self._keys.key(source)[:DIGITS]
        except Exception as error:  # it will be skipped, with the reason, when it is read in earnest
            return f"unreadable: {type(error).__name__}"


def installed_version(package: str) -> str | None:
    """Version of an installed distribution, or `None`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


__all__ = [
    "PARTS",
    "RowFingerprints",
    "config_fingerprint",
    "installed_version",
    "model_fingerprint",
    "processor_fingerprint",
    "settings_fingerprint",
    "text_fingerprint",
]
