"""Where optional files outside the repository are found, and skips that say so when they are absent."""

import os
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("PRIORRG_SHARED", ROOT.parent / "shared"))


def needs(relative_path: str) -> pytest.MarkDecorator:
    """Skips a test where the optional file or folder is absent."""
    path = SHARED / relative_path
    return pytest.mark.skipif(
        not path.exists(), reason=f"{path} is absent (set PRIORRG_SHARED to the folder that has it)"
    )
