"""Promise: an upload holds weights, settings, tokenizer, card and code; no image, note, log, name of a machine or training state."""

import fnmatch

from hub_helpers import tiny_config, tiny_model, tiny_processor
from training_helpers import example_rows

from priorrg_hf.data.file_writing import MARKER_NAME
from priorrg_hf.data.locking import exclusive
from priorrg_hf.evaluation.generation import generate_reports
from priorrg_hf.publishing.hub import save_with_code, upload_patterns


PRIVATE = [
    MARKER_NAME, "_priorrg.lock", "_priorrg.lock.json", "checkpoint_manifest.json", "training_report.json", "trainer_state.json",
    "training_args.bin", "optimizer.pt", "rng_state.pth", "reports.jsonl", "reports.jsonl.info.json", "evaluation.json",
    "worst_studies.html", "studies.jsonl", "film.png", "film.dcm", "features-00000.safetensors", "embeddings_reports.safetensors",
    "loss_plot.png", "notes.txt", "pytorch_model.bin",
]  # fmt: skip


def test_the_allow_list_names_nothing_private():
    for with_code in (True, False):
        patterns = upload_patterns(with_code)
        assert not [name for name in PRIVATE if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def test_what_a_trainer_uploads_leaves_out_what_names_the_machine():
    # transformers' Trainer uploads its folder but for names that begin so
    assert all(name.startswith("_") for name in PRIVATE if "lock" in name or name == MARKER_NAME)


def test_saved_folders_and_reports_name_no_machine_and_no_path(tmp_path):
    import getpass
    import socket

    processor = tiny_processor(tmp_path / "p")
    model = tiny_model(tiny_config(processor.tokenizer))
    rows = example_rows(3, image_folder=tmp_path / "images")
    with exclusive(tmp_path / "out", "a run", folder=True):
        save_with_code(model, processor, tmp_path / "out")
    generate_reports(model, processor, rows, tmp_path / "out" / "r.jsonl", max_length=6, num_beams=1, progress=False)
    names = [socket.gethostname().encode(), str(tmp_path).encode(), f"/{getpass.getuser()}/".encode()]
    names = [name for name in names if len(name) > 3]
    for path in (tmp_path / "out").iterdir():
        if path.suffix != ".py":
            assert not [name for name in names if name in path.read_bytes()], path
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(("_", "."))]
