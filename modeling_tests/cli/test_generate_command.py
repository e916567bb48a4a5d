"""`priorrg generate` as a stranger runs it: a table with a bad study, one image, wrong calls."""

import json

import pytest
from hub_helpers import studies, tiny_config, tiny_model, tiny_processor
from typer.testing import CliRunner

from priorrg_hf.cli import app


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def model(processor):
    return tiny_model(tiny_config(processor.tokenizer))


@pytest.fixture()
def rows():
    return [{**row, "patient_id": f"p{i}", "findings": f"Report {i}."} for i, row in enumerate(studies())]


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_command(model, processor, rows, tmp_path):
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    table = []
    for row in rows:
        row["image"].save(tmp_path / f"{row['study_id']}.png")
        table.append({"study_id": row["study_id"], "patient_id": row["patient_id"], "image": f"{row['study_id']}.png",
                      "view": "PA", "indication": row.get("indication"), "findings": row["findings"]})  # fmt: skip
    table.append({**table[0], "study_id": "gone", "patient_id": "p9", "image": "gone.png"})
    (tmp_path / "studies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))

    def run(*arguments):
        return CliRunner().invoke(app, ["generate", str(tmp_path / "model"), *map(str, arguments)])

    settings = ("--max-length", 10, "--num-beams", 1)
    result = run("-d", tmp_path / "studies.jsonl", "--split", "all", "-o", tmp_path / "out.jsonl", *settings)
    assert result.exit_code == 0, result.stderr
    assert "4 reports" in result.stdout
    assert {line["study_id"] for line in read(tmp_path / "out.jsonl")} == {"s0", "s1", "s2", "s3"}
    one = run("--image", tmp_path / "s0.png", "--prior-image", tmp_path / "s1.png", "--indication", "cough", *settings)
    assert one.exit_code == 0, one.stderr
    for wrong, message in (
        ((), "--image"),
        (("-d", "x.csv"), "--output"),
        (("--image", tmp_path / "no.png"), "no.png"),
    ):
        result = run(*wrong)
        assert result.exit_code == 2 and message in result.stderr, result.stderr
