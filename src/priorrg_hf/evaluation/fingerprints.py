"""Short hashes that say which model, which data and which settings a score belongs to; and files written whole."""

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


def settings_fingerprint(settings: Mapping[str, Any]) -> str:
    """Hash over a JSON-serialisable mapping, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:DIGITS]


def installed_version(package: str) -> str | None:
    """Version of an installed distribution, or `None`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


__all__ = [
    "installed_version",
    "model_fingerprint",
    "settings_fingerprint",
    "text_fingerprint",
]
