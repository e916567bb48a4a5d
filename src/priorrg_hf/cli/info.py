"""`priorrg info`: what a bug report should hold."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from typing import Any

import typer

from ..version import __version__
from .grammar import command, show
from .options import ShowOptions


CORE = ("torch", "transformers", "huggingface-hub", "safetensors", "numpy", "pillow")


def information() -> dict[str, Any]:
    """Versions, devices, and which extras are installed. Imports torch, and nothing else that is heavy."""
    import torch

    devices = [
        {
            "name": torch.cuda.get_device_name(index),
            "memory_gib": round(torch.cuda.get_device_properties(index).total_memory / 2**30, 1),
        }
        for index in range(torch.cuda.device_count())
    ]
    return {
        "priorrg_hf": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda,
        "devices": devices,
        "java": shutil.which("java"),
        "packages": {name: _version(name) for name in CORE},
        "extras": _extras(),
        "offline": os.environ.get("HF_HUB_OFFLINE", "0"),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _extras() -> dict[str, dict[str, str | None]]:
    """Extra -> its packages with their versions, `None` where one is missing. Read from the package's own metadata."""
    extras: dict[str, dict[str, str | None]] = {}
    for requirement in importlib.metadata.requires("priorrg-hf") or ():
        # name[extras]specifier; markers and extra == 'x'
        match = re.fullmatch(r"\s*([A-Za-z0-9._-]+).*?extra\s*==\s*['\"]([\w-]+)['\"].*", requirement)
        if match and match[1] != "priorrg-hf" and match[2] not in ("dev", "docs"):
            extras.setdefault(match[2], {})[match[1]] = _version(match[1])
    return extras


def info(*, shown: ShowOptions) -> None:
    """Versions, devices, and which extras are installed or missing: what a bug report should hold."""
    facts = information()
    lines = [
        f"{name:<15} {facts[name]}"
        for name in ("priorrg_hf", "python", "platform", "cores", "threads", "cpu_capability")
    ]
    lines += [f"{name:<15} {version or 'missing'}" for name, version in facts["packages"].items()]
    cuda = ", ".join(f"{device['name']} ({device['memory_gib']} GiB)" for device in facts["devices"])
    lines.append(f"{'CUDA':<15} {cuda or 'no device'} (torch built for {facts['cuda'] or 'CPU only'})")
    lines.append(f"{'java':<15} {facts['java'] or 'missing (METEOR needs it)'}")
    for extra, packages in facts["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        have = ", ".join(f"{name} {version}" for name, version in packages.items() if version is not None)
        state = f"missing: {', '.join(missing)} (pip install 'priorrg-hf[{extra}]')" if missing else "installed"
        lines.append(f"extra {extra:<10} {state}{' | ' + have if have else ''}")
    show(shown.json_output, facts, *lines)


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("info", rich_help_panel="Help")(command(info))
