"""SECURITY.md names a test file for each promise, and each of them is there."""

import re
from pathlib import Path


ROOT = Path(__file__).parents[2]


def test_every_promise_has_its_test_file():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(promises) >= 15
    for line in promises:
        files = re.findall(r"`(modeling_tests/[\w/]+\.py)`", line)
        assert files, line
        assert all((ROOT / name).is_file() for name in files), line
