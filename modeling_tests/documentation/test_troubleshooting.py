"""The page of troubleshooting quotes messages that the package, or transformers, really gives."""

import re
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
# Said by libraries, not by us.
THEIRS = {"We couldn't connect to", "nan"}


def test_quoted_messages_exist():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "priorrg_hf").rglob("*.py"))
    # Messages are wrapped over string literals.
    source = re.sub(r"\"\s*\n\s*f?\"", "", source)
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ") and "message says" not in line]
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    assert len(quoted) >= 15
    plain = re.sub(r"\{[^{}\n]*\}", "", source)
    missing = [text for text in quoted if text not in plain and text not in THEIRS]
    assert missing == []
