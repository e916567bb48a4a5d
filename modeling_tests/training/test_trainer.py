"""The two trainers: recipe, freezing, losses, accumulation, monitoring, bad situations."""

import errno
import json
import os

import numpy as np
import pytest
import torch
from hub_helpers import enable_checkpointing
from training_helpers import (
    contrastive_trainer,
    example_rows,
    gradients_of_step,
    largest_difference,
    processor_and_config,
    report_trainer,
    stage_1_model,
    stage_2_model,
)
from transformers import TrainingArguments

from priorrg_hf import (
    PriorRGContrastiveTrainingArguments,
    PriorRGForReportGeneration,
    PriorRGReportTrainer,
    PriorRGReportTrainingArguments,
)
from priorrg_hf.training.checkpointing import CheckpointError, last_complete_checkpoint
from priorrg_hf.training.trainer import NonFiniteLossError


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return processor_and_config(tmp_path_factory.mktemp("processor"))


# ---- recipe ----


def test_defaults_are_the_published_recipe(tmp_path):
    first = PriorRGContrastiveTrainingArguments(str(tmp_path), use_cpu=True)
    assert (first.per_device_train_batch_size, first.gradient_accumulation_steps, first.num_train_epochs) == (
        32,
        2,
        10,
    )
    assert (first.learning_rate, first.weight_decay, first.adam_beta1, first.adam_beta2) == (5e-5, 0.01, 0.9, 0.999)
    assert first.lr_scheduler_kwargs == {"mode": "min", "factor": 0.1, "patience": 10}
    assert (first.metric_for_best_model, first.early_stopping_patience, first.freeze_vision) == ("loss", 15, True)
    second = PriorRGReportTrainingArguments(str(tmp_path), use_cpu=True)
    assert (second.per_device_train_batch_size, second.gradient_accumulation_steps) == (16, 2)
    assert (second.num_train_epochs, second.learning_rate, second.encoder_learning_rate) == (50, 5e-5, 5e-6)
    assert second.lr_scheduler_kwargs == {"mode": "max", "factor": 0.1, "patience": 5}
    assert (second.metric_for_best_model, second.greater_is_better) == ("rcb", True)
    assert (second.generation_num_beams, second.generation_max_length, second.early_stopping_patience) == (3, 100, 15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prior_dropout": 1.5}, "prior_dropout"),
        ({"feature_cache": "x", "freeze_vision": False}, "freeze_vision"),
        ({"feature_cache": "x", "augmentation": True}, "augmentation"),
        ({"eval_strategy": "no"}, "steps at each evaluation"),
        ({"predict_with_generate": False}, "rcb"),
    ],
)
def test_arguments_that_contradict_each_other(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        PriorRGReportTrainingArguments(str(tmp_path), use_cpu=True, **settings)


def test_what_each_stage_trains(parts, tmp_path):
    processor, config = parts
    rows = example_rows(4)
    stage_1 = contrastive_trainer(tmp_path, stage_1_model(config), processor, rows)
    frozen = {n for n, p in stage_1.model.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in stage_1.model.named_parameters() if n.startswith("model.vision_model.")}
    stage_1.create_optimizer()
    assert [g["lr"] for g in stage_1.optimizer.param_groups] == [5e-5]

    stage_2 = report_trainer(tmp_path, stage_2_model(config), processor, rows)
    frozen = {n for n, p in stage_2.model.named_parameters() if not p.requires_grad}
    tables = {"model.view_position_embedding", "model.time_position_embedding"}
    assert frozen == tables | {n for n, _ in stage_2.model.named_parameters() if n.startswith("model.vision_model.")}
    stage_2.create_optimizer()
    groups = stage_2.optimizer.param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(5e-5, 0.01), (5e-6, 0.01)]
    decoder = {id(p) for p in stage_2.model.decoder.parameters()}
    assert {id(p) for p in groups[0]["params"]} == decoder
    assert sum(len(g["params"]) for g in groups) == sum(p.requires_grad for p in stage_2.model.parameters())

    unfrozen = report_trainer(tmp_path, stage_2_model(config), processor, rows, freeze_vision=False)
    trained = {n for n, p in unfrozen.model.named_parameters() if p.requires_grad}
    assert "model.vision_model.encoder.layer.0.norm1.weight" in trained and not any("mask_token" in n for n in trained)
    unfrozen.model.train()
    assert unfrozen.model.model.vision_model.training


# ---- training ----


def test_overfit_and_stage_1_feeds_stage_2(parts, tmp_path):
    processor, config = parts
    rows = example_rows(4)
    steps = {"max_steps": 60, "gradient_accumulation_steps": 1, "weight_decay": 0.0}
    stage_1 = contrastive_trainer(tmp_path / "1", stage_1_model(config), processor, rows, learning_rate=3e-3, **steps)
    stage_1.train()
    losses = [entry["loss"] for entry in stage_1.state.log_history if "loss" in entry]
    assert losses[0] > 1.0 and losses[-1] < 0.02
    stage_1.save_model(tmp_path / "stage1")

    model = PriorRGForReportGeneration.from_pretrained(tmp_path / "stage1")
    learned = stage_1.model.model.state_dict()
    for name, tensor in model.model.state_dict().items():
        if not name.startswith(("layer_fusion.", "visual_norm.")):
            assert torch.equal(tensor, learned[name]), name
    stage_2 = report_trainer(
        tmp_path / "2",
        model,
        processor,
        rows,
        learning_rate=1e-2,
        encoder_learning_rate=1e-3,
        **{**steps, "max_steps": 150, "lr_scheduler_type": "cosine"},
    )
    stage_2.train()
    losses = [entry["loss"] for entry in stage_2.state.log_history if "loss" in entry]
    assert losses[0] > 3.0 and losses[-1] < 0.05
    written = stage_2.predict(rows).predictions
    assert processor.post_process_reports(written) == [row["findings"][:38] for row in rows]


def test_evaluation_writes_reports_with_one_pass_of_the_encoder(parts, tmp_path):
    processor, config = parts
    rows = example_rows(6)
    seen = {}

    def score(prediction):
        seen["predictions"] = processor.post_process_reports(prediction.predictions)
        seen["references"] = processor.post_process_reports(prediction.label_ids)
        return {"rcb": 0.5}

    trainer = report_trainer(
        tmp_path,
        stage_2_model(config),
        processor,
        rows,
        rows,
        compute_metrics=score,
        metric_for_best_model="rcb",
        generation_num_beams=2,
        per_device_eval_batch_size=4,
    )
    passes = []
    trainer.model.model.vision_model.register_forward_hook(lambda *_: passes.append(1))
    metrics = trainer.evaluate()
    assert len(passes) == 2, "images must be encoded once a batch, for loss and report together"
    assert metrics["eval_rcb"] == 0.5 and seen["references"] == [row["findings"][:38] for row in rows]
    assert len(seen["predictions"]) == 6

    inputs = trainer._prepare_inputs(trainer.evaluation_collator(rows[:4]))
    with torch.no_grad():
        names = ("labels", "decoder_input_ids", "decoder_attention_mask")
        encoder_inputs = {k: v for k, v in inputs.items() if k not in names}
        plain = trainer.model.generate(**encoder_inputs, num_beams=2, max_length=40)
        loss = trainer.model(**inputs).loss
    assert processor.post_process_reports(plain) == seen["predictions"][:4]
    step_loss, _, _ = trainer.prediction_step(trainer.model, trainer.evaluation_collator(rows[:4]), False)
    assert torch.allclose(step_loss, loss)


@pytest.mark.parametrize("freeze_vision", [True, False])
def test_accumulated_gradients_equal_the_big_batch_in_stage_2(parts, tmp_path, freeze_vision):
    """BatchNorm normalises each batch by itself; with its statistics fixed, accumulation is exact."""
    processor, config = parts
    rows = example_rows(6)
    trainer = report_trainer(
        tmp_path, stage_2_model(config).double(), processor, rows, freeze_batch_norm=True, freeze_vision=freeze_vision
    )
    together = gradients_of_step(trainer, [rows])
    assert largest_difference(together, gradients_of_step(trainer, [rows[:4], rows[4:]])) < 1e-9
    assert largest_difference(together, gradients_of_step(trainer, [rows[:5], rows[1:6]])) > 1e-2


def test_gradient_cache_equals_the_big_batch_in_stage_1(parts, tmp_path):
    processor, config = parts
    rows = example_rows(8)
    rows[5].update(study_id=rows[1]["study_id"], patient_id=rows[1]["patient_id"])  # positives in different batches
    model = stage_1_model(config).double()
    plain = contrastive_trainer(tmp_path, model, processor, rows, freeze_batch_norm=True)
    together = gradients_of_step(plain, [rows])
    batches = [rows[:3], rows[3:6], rows[6:]]
    cached = contrastive_trainer(tmp_path, model, processor, rows, freeze_batch_norm=True, gradient_cache=True)
    assert "logit_scale" in together
    assert largest_difference(together, gradients_of_step(cached, batches)) < 1e-9
    assert largest_difference(together, gradients_of_step(plain, batches)) > 1e-2, "without it negatives are missing"


def test_gradient_cache_with_dropout_replays_it_and_counts_batch_norm_once(tmp_path):
    processor, config = processor_and_config(tmp_path / "processor")
    config.text_config.hidden_dropout_prob = 0.3
    rows = example_rows(8)
    trainer = contrastive_trainer(tmp_path, stage_1_model(config), processor, rows, gradient_cache=True)
    embeddings = []
    trainer.model.model.text_projection.register_forward_hook(
        lambda _, __, out: embeddings.append(out.detach().clone())
    )
    gradients_of_step(trainer, [rows[:4], rows[4:]])
    assert len(embeddings) == 8
    assert all(torch.equal(first, second) for first, second in zip(embeddings[:4], embeddings[4:], strict=True))
    # contexts and reports of two batches: four updates, not eight
    assert int(trainer.model.model.text_projection.batch_norm.num_batches_tracked) == 4


def test_plateau_lowers_both_learning_rates_and_early_stop_ends_the_run(parts, tmp_path):
    processor, config = parts
    rows = example_rows(4)
    trainer = report_trainer(
        tmp_path,
        stage_2_model(config),
        processor,
        rows,
        rows,
        compute_metrics=lambda _: {"rcb": 0.0},
        metric_for_best_model="rcb",
        num_train_epochs=20,
        plateau_patience=0,
        early_stopping_patience=2,
        gradient_accumulation_steps=1,
    )
    trainer.train()
    assert trainer.state.epoch == 3  # the first evaluation is the best one, two more do not improve it
    assert trainer.learning_rates() == pytest.approx([5e-7, 5e-8])


CHECKPOINTING = "activation_checkpointing"
if not hasattr(TrainingArguments, CHECKPOINTING):  # its name in older transformers
    CHECKPOINTING = "gradient_checkpointing"


@pytest.mark.parametrize("settings", [{"bf16": True}, {CHECKPOINTING: True}])
def test_bf16_and_checkpointing_train(parts, tmp_path, settings):
    processor, config = parts
    rows = example_rows(4)
    for make_trainer, make_model in ((contrastive_trainer, stage_1_model), (report_trainer, stage_2_model)):
        plain = gradients_of_step(make_trainer(tmp_path, make_model(config), processor, rows), [rows])
        trainer = make_trainer(tmp_path, make_model(config), processor, rows, max_steps=2, **settings)
        if CHECKPOINTING in settings:
            enable_checkpointing(trainer.model, {"use_reentrant": False})
            assert largest_difference(plain, gradients_of_step(trainer, [rows])) < 1e-4
        trainer.train()
        assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_compile_option_gives_the_plain_step(tmp_path):
    processor, config = processor_and_config(
        tmp_path, perceiver_num_blocks=1, temporal_fusion_num_blocks=1, use_layer_fusion=False
    )
    for part, layers in (
        ("vision_config", "num_hidden_layers"),
        ("text_config", "num_hidden_layers"),
        ("decoder_config", "n_layer"),
    ):
        setattr(getattr(config, part), layers, 1)
    rows = example_rows(4, priors="all")
    losses = []
    for settings in ({}, {"torch_compile": True, "torch_compile_backend": "eager"}):
        trainer = report_trainer(tmp_path, stage_2_model(config), processor, rows, max_steps=2, **settings)
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# ---- monitoring ----


def test_report_plot_tensorboard_and_logged_values(parts, tmp_path):
    processor, config = parts
    rows = example_rows(8)
    trainer = contrastive_trainer(
        tmp_path,
        stage_1_model(config),
        processor,
        rows,
        rows,
        num_train_epochs=2,
        report_to="tensorboard",
        loss_plot=True,
    )
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert entries[0]["share_with_prior"] == 0.5 and entries[0]["share_with_context"] == 0.625
    assert entries[0]["temperature"] == pytest.approx(0.07, rel=1e-2) and entries[0]["grad_norm"] > 0

    report = json.loads((tmp_path / "training_report.json").read_text())
    assert report["status"] == "finished" and report["steps"] == 2
    assert report["first_loss"] == entries[0]["loss"] and report["last_loss"] == entries[-1]["loss"]
    assert report["last_evaluation"]["eval_loss"] > 0 and report["peak_memory_bytes"]["process"] > 1e7
    assert (tmp_path / "loss_plot.png").read_bytes()[:4] == b"\x89PNG"

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(tmp_path.rglob("events.out.tfevents*")).parent)).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {"train/loss", "train/temperature", "train/share_with_prior", "eval/loss"} <= scalars


# ---- bad situations ----

NAN_CASES = [(1, True, False), (1, False, False), (1, False, True), (2, True, False), (2, False, False)]


@pytest.mark.parametrize(("stage", "freeze_batch_norm", "gradient_cache"), NAN_CASES)
def test_nan_loss_stops_with_the_offending_study(parts, tmp_path, stage, freeze_batch_norm, gradient_cache):
    processor, config = parts
    rows = example_rows(4)
    make_trainer, make_model = {1: (contrastive_trainer, stage_1_model), 2: (report_trainer, stage_2_model)}[stage]
    extra = {"gradient_cache": True} if gradient_cache else {}
    trainer = make_trainer(
        tmp_path, make_model(config), processor, rows, max_steps=1, gradient_accumulation_steps=1,
        freeze_batch_norm=freeze_batch_norm, **extra,
    )  # fmt: skip
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    collate = trainer.data_collator.__call__

    def poisoned(examples):
        batch = collate(examples)
        batch["pixel_values"][batch["batch_metadata"]["example_ids"].index("example-2")] = float("nan")
        return batch

    trainer.data_collator = poisoned
    with pytest.raises(NonFiniteLossError, match=r"offending studies: example-2\."):
        trainer.train()
    # One study's NaN reaches the running statistics where they are taken; no weight changes in any case.
    changed = {n for n, tensor in trainer.model.state_dict().items() if not torch.equal(before[n], tensor)}
    assert not changed or (not freeze_batch_norm and all("running_" in n or "num_batches" in n for n in changed))
    report = json.loads((tmp_path / "training_report.json").read_text())
    assert report["status"] == "stopped" and "example-2" in report["error"]


def test_disk_full_while_saving_keeps_the_last_checkpoint(parts, tmp_path, monkeypatch):
    processor, config = parts
    rows = example_rows(8)
    trainer = contrastive_trainer(
        tmp_path, stage_1_model(config), processor, rows, save_strategy="steps", save_steps=1, max_steps=3
    )
    save = torch.save

    def full_disk(value, path, *args, **kwargs):
        if "scheduler" in str(path) and trainer.state.global_step == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(value, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(CheckpointError, match="no space left to write checkpoint-2.*checkpoint-1.*resume"):
        trainer.train()
    assert sorted(path.name for path in tmp_path.glob("*checkpoint*")) == ["checkpoint-1"]
    assert last_complete_checkpoint(tmp_path).endswith("checkpoint-1")
    monkeypatch.undo()
    again = contrastive_trainer(
        tmp_path, stage_1_model(config), processor, rows, save_strategy="steps", save_steps=1, max_steps=3
    )
    again.train(resume_from_checkpoint=True)
    assert last_complete_checkpoint(tmp_path).endswith("checkpoint-3")


def test_a_disk_that_stays_full_hides_neither_the_error_nor_the_checkpoint(parts, tmp_path, monkeypatch):
    processor, config = parts
    trainer = contrastive_trainer(
        tmp_path, stage_1_model(config), processor, example_rows(8), save_strategy="steps", save_steps=1, max_steps=3
    )
    save, replace = torch.save, os.replace

    def full_disk(value, path, *args, **kwargs):
        if "scheduler" in str(path) and trainer.state.global_step == 2:
            monkeypatch.setattr(os, "replace", no_space)
            monkeypatch.setattr(trainer.model, "save_pretrained", no_space)
            no_space()
        return save(value, path, *args, **kwargs)

    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(CheckpointError, match="no space left to write checkpoint-2"):
        trainer.train()  # the training report cannot be written either
    with pytest.raises(CheckpointError, match="no space left to write the model.*checkpoint-1"):
        trainer.save_model()
    assert os.replace is not replace
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".training_report", "tmp"))]
    assert last_complete_checkpoint(tmp_path).endswith("checkpoint-1")


def test_mismatched_tokenizer_is_refused(parts, tmp_path):
    processor, config = parts
    _, smaller = processor_and_config(tmp_path)
    smaller.text_config.vocab_size = smaller.decoder_config.vocab_size = 260
    with pytest.raises(ValueError, match="tokenizer and model do not belong together"):
        report_trainer(tmp_path, stage_2_model(smaller), processor, example_rows(2))


def test_models_of_the_other_stage_are_refused(parts, tmp_path):
    processor, config = parts
    with pytest.raises(TypeError, match="stage-2 checkpoint"):
        contrastive_trainer(tmp_path, stage_2_model(config), processor, example_rows(2))
    with pytest.raises(TypeError, match="from_pretrained"):
        report_trainer(tmp_path, stage_1_model(config), processor, example_rows(2))


def test_empty_training_set_and_missing_processor(parts, tmp_path):
    processor, config = parts
    with pytest.raises(ValueError, match="training set is empty"):
        report_trainer(tmp_path, stage_2_model(config), processor, []).train()
    arguments = PriorRGReportTrainingArguments(str(tmp_path), use_cpu=True)
    with pytest.raises(ValueError, match="processing_class"):
        PriorRGReportTrainer(stage_2_model(config), arguments, train_dataset=example_rows(2))


def test_unreadable_images_are_counted_and_training_goes_on(parts, tmp_path):
    processor, config = parts
    rows = example_rows(4, image_folder=tmp_path / "images")
    (tmp_path / "images" / "current-3.png").write_bytes(b"broken")
    trainer = report_trainer(
        tmp_path, stage_2_model(config), processor, rows, rows, num_train_epochs=1, per_device_eval_batch_size=3
    )
    with pytest.warns(UserWarning, match="example-3 is left out"):
        trainer.train()
    report = json.loads((tmp_path / "training_report.json").read_text())
    assert list(report["studies_left_out"]) == ["example-3"]
    assert report["last_evaluation"]["eval_loss"] > 0


# --- rows without findings, and runs that go on with other settings


def test_predict_without_findings_writes_reports(tmp_path):
    processor, config = processor_and_config(tmp_path / "processor")
    rows = example_rows(6)
    trainer = report_trainer(tmp_path / "run", stage_2_model(config), processor, rows, predict_with_generate=True)
    expected = trainer.predict(rows).predictions
    for without in (
        [{name: value for name, value in row.items() if name != "findings"} for row in rows],
        [{**row, "findings": None} for row in rows],
        [{**row, "findings": "N/A" if index % 2 else row["findings"]} for index, row in enumerate(rows)],
    ):
        output = trainer.predict(without)
        np.testing.assert_array_equal(output.predictions, expected)
        assert output.label_ids is None and "test_loss" not in output.metrics
    assert trainer.predict(rows).label_ids is not None  # and afterwards as before


def test_predict_without_findings_and_without_reports_says_what_is_missing(tmp_path):
    processor, config = processor_and_config(tmp_path / "processor")
    rows = [{**row, "findings": None} for row in example_rows(4)]
    trainer = report_trainer(
        tmp_path / "run", stage_2_model(config), processor, example_rows(4), predict_with_generate=False
    )
    with pytest.raises(ValueError, match="4 of 4 rows have no findings.*predict_with_generate=True"):
        trainer.predict(rows)
    with pytest.raises(ValueError, match="they have no findings"):
        trainer.evaluate(rows)


def resumed(folder, processor, config, rows, **changes):
    settings = {
        "save_strategy": "steps",
        "save_steps": 2,
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "seed": 3,
        **changes,
    }
    return report_trainer(folder, stage_2_model(config), processor, rows, **settings)


def test_a_run_resumed_with_other_settings_is_refused_or_told(tmp_path, monkeypatch):
    from priorrg_hf.training import resuming

    processor, config = processor_and_config(tmp_path / "processor")
    rows = example_rows(8)
    resumed(tmp_path / "run", processor, config, rows, max_steps=2).train()
    checkpoint = str(tmp_path / "run" / "checkpoint-2")
    for changes, message in (
        ({"per_device_train_batch_size": 4}, "with 2 studies in an update.*this one has 4.*new run"),
        ({"gradient_accumulation_steps": 2}, "with 2 studies in an update.*this one has 4"),
        ({"seed": 4}, "seed of the order"),
    ):
        with pytest.raises(ValueError, match=message):
            resumed(tmp_path / "run", processor, config, rows, **changes).train(resume_from_checkpoint=checkpoint)
    with pytest.raises(ValueError, match="with 8 training examples, this one has 6"):
        resumed(tmp_path / "run", processor, config, rows[:6]).train(resume_from_checkpoint=checkpoint)
    told = []
    monkeypatch.setattr(resuming.logger, "warning", told.append)
    resumed(
        tmp_path / "run", processor, config, rows, per_device_train_batch_size=1, gradient_accumulation_steps=2
    ).train(resume_from_checkpoint=checkpoint)
    assert told == []
    resumed(tmp_path / "run", processor, config, rows, learning_rate=0.5).train(resume_from_checkpoint=checkpoint)
    assert len(told) == 1 and "learning_rate=0.5 has no effect" in told[0]
