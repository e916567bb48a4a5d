"""The cache of frozen vision features: equal to images, never stale, never damaged unnoticed."""

import json
import os
import threading
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from training_helpers import (
    contrastive_trainer,
    example_rows,
    gradients_of_step,
    largest_difference,
    picture,
    processor_and_config,
    report_trainer,
    stage_1_model,
    stage_2_model,
)

from priorrg_hf.data.file_writing import DiskFullError, OutputError
from priorrg_hf.data.locking import LockedError, exclusive
from priorrg_hf.training import feature_cache
from priorrg_hf.training.feature_cache import FeatureCache, FeatureCacheError, precompute_features


@pytest.fixture
def setting(tmp_path):
    processor, config = processor_and_config(tmp_path)
    rows = example_rows(6, image_folder=tmp_path / "images")
    return processor, config, rows, tmp_path


def loss_and_gradients(make_trainer, make_model, setting, cache=None):
    processor, config, rows, tmp_path = setting
    trainer = make_trainer(
        tmp_path / "run", make_model(config), processor, rows, feature_cache=None if cache is None else str(cache)
    )
    batch = trainer.data_collator(rows[:4])
    assert ("pixel_values" in batch) == (cache is None)
    trainer.model.eval()
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(dict(batch)))
    return float(loss), gradients_of_step(trainer, [rows[:4]])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-3)])
def test_training_from_the_cache_equals_training_from_images(setting, dtype, tolerance):
    processor, config, rows, tmp_path = setting
    for stage, make_trainer, make_model, layers in (
        ("stage1", contrastive_trainer, stage_1_model, "last"),
        ("stage2", report_trainer, stage_2_model, "all"),
    ):
        cache = tmp_path / f"{stage}-{dtype}"
        facts = precompute_features(
            make_model(config), processor, rows, cache, layers=layers, dtype=dtype, batch_size=4, progress=False
        )
        assert facts["images"] == facts["computed"] == 9
        expected_loss, expected = loss_and_gradients(make_trainer, make_model, setting)
        loss, gradients = loss_and_gradients(make_trainer, make_model, setting, cache)
        assert abs(loss - expected_loss) <= tolerance * abs(expected_loss)
        if dtype == "float32":
            assert largest_difference(expected, gradients) < 1e-5


def test_the_trainer_fills_the_cache_when_asked(setting):
    processor, config, rows, tmp_path = setting
    cache = tmp_path / "filled"
    with pytest.raises(FeatureCacheError):
        contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, rows, feature_cache=str(cache))
    settings = {"feature_cache": str(cache), "fill_feature_cache": True}
    contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, rows[:4], rows[4:], **settings)
    keys = len(FeatureCache.open(cache, stage_1_model(config), processor))
    assert keys == precompute_features(stage_1_model(config), processor, rows, cache, progress=False)["images"]
    # The second stage adds the layers it needs.
    trainer = report_trainer(tmp_path / "run", stage_2_model(config), processor, rows, **settings)
    assert "vision_hidden_states" in trainer.data_collator(rows[:2])
    with pytest.raises(ValueError, match="fill_feature_cache needs feature_cache"):
        contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, rows, fill_feature_cache=True)


def test_another_encoder_or_preprocessing_is_refused(setting):
    processor, config, rows, tmp_path = setting
    model = stage_1_model(config)
    precompute_features(model, processor, rows, tmp_path / "cache", progress=False)
    FeatureCache.open(tmp_path / "cache", model, processor)

    changed = stage_1_model(config)
    with torch.no_grad():
        changed.model.vision_model.layernorm.bias[0] += 1e-3
    with pytest.raises(FeatureCacheError, match="another vision encoder"):
        FeatureCache.open(tmp_path / "cache", changed, processor)

    processor.image_processor.image_mean = [0.5] * 3
    with pytest.raises(FeatureCacheError, match="other image preprocessing"):
        FeatureCache.open(tmp_path / "cache", model, processor)


def test_last_layer_cache_is_refused_where_layers_are_fused(setting):
    processor, config, rows, tmp_path = setting
    model = stage_2_model(config)
    precompute_features(model, processor, rows, tmp_path / "cache", progress=False)
    with pytest.raises(FeatureCacheError, match="--layers all"):
        FeatureCache.open(tmp_path / "cache", model, processor)
    # Adding the layers later keeps what is there.
    facts = precompute_features(model, processor, rows, tmp_path / "cache", layers="all", progress=False)
    assert facts["computed"] == 6
    assert FeatureCache.open(tmp_path / "cache", model, processor).verify() == 9 + 6


def test_a_changed_image_is_not_served_old_features(setting):
    processor, config, rows, tmp_path = setting
    model = stage_1_model(config)
    precompute_features(model, processor, rows, tmp_path / "cache", progress=False)
    trainer = contrastive_trainer(tmp_path / "run", model, processor, rows, feature_cache=str(tmp_path / "cache"))
    trainer.data_collator(rows[:2])
    from PIL import Image

    Image.open(rows[0]["image"]).rotate(90, expand=True).save(rows[0]["image"])
    with pytest.raises(FeatureCacheError, match="no features of .*current-0.png"):
        trainer.data_collator(rows[:2])


def test_a_damaged_shard_is_noticed(setting):
    processor, config, rows, tmp_path = setting
    model = stage_1_model(config)
    precompute_features(model, processor, rows, tmp_path / "cache", progress=False)
    shard = next((tmp_path / "cache").glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-5] ^= 0x40
    shard.write_bytes(content)
    cache = FeatureCache.open(tmp_path / "cache", model, processor)
    with pytest.raises(FeatureCacheError, match="damaged"):
        cache.verify()
    shard.write_bytes(content[:-100])
    with pytest.raises(FeatureCacheError, match="another size"):
        FeatureCache.open(tmp_path / "cache", model, processor)


def test_an_interrupted_run_goes_on_and_bad_images_are_named(setting):
    processor, config, rows, tmp_path = setting
    model = stage_1_model(config)
    folder = tmp_path / "cache"
    with open(rows[3]["image"], "wb") as file:
        file.write(b"no image at all")
    first = precompute_features(model, processor, rows[:3], folder, shard_bytes=1, batch_size=2, progress=False)
    assert first["computed"] == 4
    (folder / "features-00099.safetensors").write_bytes(b"a shard without its list")
    second = precompute_features(model, processor, rows, folder, shard_bytes=1, batch_size=2, progress=False)
    assert second["computed"] == 4 and len(second["unreadable"]) == 1
    assert not (folder / "features-00099.safetensors").exists()

    trainer = contrastive_trainer(tmp_path / "run", model, processor, rows, feature_cache=str(folder))
    batch = trainer.data_collator(rows[2:5])
    assert list(batch["batch_metadata"]["skipped"]) == ["example-3"]
    assert batch["vision_last_hidden_state"].shape[0] == 3


def test_manifest_names_no_patient(setting):
    processor, config, rows, tmp_path = setting
    precompute_features(stage_1_model(config), processor, rows, tmp_path / "cache", progress=False)
    manifest = json.loads((tmp_path / "cache" / "manifest.json").read_text())
    assert "patient" not in json.dumps(manifest)
    assert manifest["dtype"] == "bfloat16" and manifest["layers"] == "last"


def change_keeping_size_and_time(path, seed):
    """Other content under the same name, size and modification time. (A BMP: its size does not depend on the content.)"""
    before = os.stat(path)
    picture(seed).save(path, format="BMP")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(path)
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.fixture
def old_files(setting):
    """The setting with images that were written long ago, so that their times vouch for them."""
    processor, config, rows, folder = setting
    for seed, path in enumerate(sorted((folder / "images").iterdir())):
        picture(seed).save(path, format="BMP")
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return setting


@pytest.mark.parametrize("field", ["image", "prior_image"])
@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("settled", [False, True])
def test_size_and_modification_time_alone_vouch_for_nothing(old_files, monkeypatch, field, reopened, settled):
    processor, config, rows, folder = old_files
    if settled:  # as if the files had been there for long
        monkeypatch.setattr(feature_cache, "_SETTLED_NS", -1)
    model = stage_1_model(config)
    precompute_features(model, processor, rows, folder / "cache", progress=False)
    cache = FeatureCache.open(folder / "cache", model, processor)
    row = rows[1]
    texts = {"indication": ["a"], "reports": ["b"], "report_task": "alignment", "study_ids": ["c"]}
    cache.batch(processor, [row], texts)
    change_keeping_size_and_time(row[field], 99)
    if reopened:
        cache = FeatureCache.open(folder / "cache", model, processor)
    with pytest.raises(FeatureCacheError, match="new or changed image"):
        cache.batch(processor, [row], texts)
    facts = precompute_features(model, processor, rows, folder / "cache", progress=False)
    assert facts["computed"] == 1


def test_a_settled_file_is_read_once(old_files, monkeypatch):
    monkeypatch.setattr(feature_cache, "_SETTLED_NS", -1)
    processor, config, rows, folder = old_files
    reads = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (reads.append(path), read(path))[1])
    keys = feature_cache.ImageKeys()
    for _ in range(3):
        keys.key(rows[0]["image"])
    assert len(reads) == 1
    monkeypatch.setattr(feature_cache, "_SETTLED_NS", 2_000_000_000)
    Path(rows[0]["image"]).touch()
    keys.key(rows[0]["image"])
    keys.key(rows[0]["image"])
    assert len(reads) == 3, "a file changed just now may change again unseen"


def test_an_image_that_changes_meanwhile_is_left_out(setting, monkeypatch):
    processor, config, rows, folder = setting
    changed = []

    class Changing(type(processor)):
        def __call__(self, images=None, **kwargs):
            outputs = super().__call__(images=images, **kwargs)
            if images and isinstance(images[0], str) and images[0] == rows[0]["image"] and not changed:
                changed.append(picture(55).save(images[0]))
            return outputs

    monkeypatch.setattr(processor, "__class__", Changing)
    facts = precompute_features(stage_1_model(config), processor, rows, folder / "cache", progress=False)
    assert changed and len(facts["unreadable"]) == 1 and "changed while" in next(iter(facts["unreadable"].values()))
    monkeypatch.undo()
    again = precompute_features(stage_1_model(config), processor, rows, folder / "cache", progress=False)
    assert again["computed"] == 1 and not again["unreadable"]


def test_two_runs_fill_one_cache_one_after_the_other(setting):
    processor, config, rows, folder = setting
    failures = []

    def second():
        try:
            precompute_features(stage_1_model(config), processor, rows, folder / "cache", progress=False)
        except LockedError as error:
            failures.append(str(error))

    with exclusive(folder / "cache", "priorrg precompute", folder=True):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(failures) == 1 and "priorrg precompute (process" in failures[0]
    second()
    assert len(FeatureCache(folder / "cache")) == 9 and len(failures) == 1


@pytest.mark.parametrize(
    "name", ["manifest.json", "features-00000.safetensors", "features-mine.json", "unreadable.json"]
)
def test_files_of_others_are_no_cache(setting, name):
    processor, config, rows, folder = setting
    (folder / "cache").mkdir()
    (folder / "cache" / name).write_text('{"mine": 1}')
    with pytest.raises((OutputError, FeatureCacheError)):
        precompute_features(stage_1_model(config), processor, rows, folder / "cache", progress=False)
    assert (folder / "cache" / name).read_text() == '{"mine": 1}' and len(list((folder / "cache").iterdir())) == 1


@pytest.mark.parametrize("name", ["manifest.json", "features-00000.json", "features-00000.safetensors"])
@pytest.mark.parametrize("content", ["[]", "{", "3", '{"format": 1}', '{"images": [], "paths": {}, "file": "x"}'])
def test_damaged_parts_are_named(setting, name, content):
    processor, config, rows, folder = setting
    model = stage_1_model(config)
    precompute_features(model, processor, rows, folder / "cache", progress=False)
    (folder / "cache" / name).write_text(content)
    with pytest.raises(FeatureCacheError, match=name.split(".")[0]):
        FeatureCache.open(folder / "cache", model, processor)


def test_a_full_disk_keeps_the_shards_before(setting, monkeypatch):
    processor, config, rows, folder = setting
    model, calls = stage_1_model(config), []
    save = feature_cache.save_file

    def full(tensors, path):
        calls.append(path)
        if len(calls) == 3:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save(tensors, path)

    monkeypatch.setattr(feature_cache, "save_file", full)
    run = {"batch_size": 2, "shard_bytes": 1, "progress": False}
    with pytest.raises(DiskFullError, match="The 2 shards before it are complete"):
        precompute_features(model, processor, rows, folder / "cache", **run)
    monkeypatch.setattr(feature_cache, "save_file", save)
    facts = precompute_features(model, processor, rows, folder / "cache", **run)
    assert facts["computed"] == 5 and not list((folder / "cache").glob(".*"))
