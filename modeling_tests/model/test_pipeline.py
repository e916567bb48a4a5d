"""The report-generation pipeline: input forms, batching, settings, errors."""

import subprocess
import sys

import pytest
import torch
from datasets import Dataset
from hub_helpers import image, inputs_of, studies, tiny_config, tiny_model, tiny_processor, tiny_stage_1
from transformers import pipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import KeyDataset

from priorrg_hf import PriorRGReportGenerationPipeline


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def write(processor):
    return pipeline("report-generation", model=tiny_model(tiny_config(processor.tokenizer)), processor=processor)


@pytest.fixture(scope="module")
def expected(write, processor):
    """What model and processor give for each study by itself."""
    texts = []
    for study in studies():
        ids = write.model.generate(**inputs_of(processor, [study]))
        texts.append(processor.post_process_reports(ids)[0])
    assert len(set(texts)) == len(texts), "the studies of this test must have different reports"
    return texts


def texts(outputs) -> list[str]:
    return [output[0]["generated_text"] for output in outputs]


def test_one_study(write, expected):
    (output,) = write(studies()[1])
    assert output == {"generated_text": expected[1], "study_id": "s1"}


def test_dicom_studies(write, tmp_path):
    dicom = pytest.importorskip("priorrg_hf.model.dicom_priorrg", reason="DICOM needs the extra priorrg-hf[dicom]")
    builders = pytest.importorskip("dicom_builders")
    content, film = builders.file_bytes(builders.build()), tmp_path / "film"
    film.write_bytes(content)
    picture = dicom.read_dicom(content)
    (expected,) = write({"image": picture, "prior_image": picture})
    for current, prior in ((film, content), (str(film), film), (content, {"bytes": content, "path": None})):
        assert write({"image": current, "prior_image": prior}) == [expected]
    film.write_bytes(content[:-3000])
    with pytest.raises(ValueError, match="end early"):
        write({"image": film})


def test_list_of_studies(write, expected):
    assert texts(write(studies())) == expected
    assert texts(write(tuple(studies()))) == expected
    assert write([]) == []


@pytest.mark.parametrize("batch_size", [2, 3, 4])
def test_batches_give_the_same_reports_and_keep_extra_keys_in_order(write, expected, batch_size):
    outputs = write(studies(), batch_size=batch_size)
    assert texts(outputs) == expected
    assert [output[0]["study_id"] for output in outputs] == ["s0", "s1", "s2", "s3"]


def test_generator_is_read_study_by_study(write, expected):
    taken = []

    def rows():
        for study in studies():
            taken.append(study["study_id"])
            yield study

    results = write(rows())
    first = next(iter(results))
    assert first[0]["generated_text"] == expected[0]
    assert len(taken) < 4
    assert texts(write(study for study in studies())) == expected


def test_dataset_and_iterable_dataset(write, expected):
    keys = ("study_id", "image", "prior_image", "indication", "history", "view_position", "prior_view_position")
    rows = [{key: study.get(key) for key in keys} for study in studies()]
    dataset = Dataset.from_list(
        [{**row, "image": _png(row["image"]), "prior_image": _png(row["prior_image"])} for row in rows]
    )
    assert texts(write(dataset, batch_size=2)) == expected
    assert texts(write(dataset.to_iterable_dataset())) == expected


def test_key_dataset_of_images(write):
    rows = [{"picture": study["image"]} for study in studies()]
    assert texts(write(KeyDataset(rows, "picture"))) == texts(write([row["picture"] for row in rows]))


def test_one_image_in_every_form(write, tmp_path):
    picture = image(5)
    picture.save(tmp_path / "current.png")
    wanted = write({"image": picture})
    assert write(picture) == wanted
    assert write(str(tmp_path / "current.png")) == wanted
    assert write(tmp_path / "current.png") == wanted
    assert write({"bytes": (tmp_path / "current.png").read_bytes(), "path": None}) == wanted
    assert write([picture, picture]) == [wanted, wanted]


def test_generation_settings_reach_generate(processor, write):
    study = studies()[1]
    assert len(write(study, num_return_sequences=3)) == 3
    batched = write(studies(), num_return_sequences=2, batch_size=2)
    assert [len(output) for output in batched] == [2] * 4
    assert batched == write(studies(), num_return_sequences=2)
    short = write(study, max_new_tokens=2, return_tensors=True)[0]["generated_token_ids"]
    assert short.shape == (3,)
    assert write(study, generate_kwargs={"max_new_tokens": 2}) == write(study, max_new_tokens=2)
    at_start = pipeline("report-generation", model=write.model, processor=processor, max_new_tokens=2)
    assert at_start(study) == write(study, max_new_tokens=2) != write(study)
    with pytest.raises(ValueError, match="Given twice.*max_new_tokens"):
        write(study, max_new_tokens=2, generate_kwargs={"max_new_tokens": 3})
    with pytest.raises(ValueError, match="max_new_tokenz"):
        write(study, max_new_tokenz=2)


def test_processor_settings_reach_the_processor(write):
    study = {**studies()[1], "history": "a long history " * 20}
    assert write(study, processor_kwargs={"max_context_length": 8}) != write(study)


def test_model_in_half_precision(processor, write):
    model = tiny_model(write.model.config).to(torch.bfloat16)
    half = pipeline("report-generation", model=model, processor=processor)
    assert len(half(studies(), batch_size=2)) == 4


@pytest.mark.parametrize("batch_size", [1, 2])
def test_bad_row_is_named(write, tmp_path, batch_size):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    rows = studies()
    rows[2] = {**rows[2], "image": str(broken)}
    with pytest.raises(ValueError, match=r"row 2 \(study_id 's2'\), image: .*broken.png") as caught:
        write(rows, batch_size=batch_size)
    assert (caught.value.row, caught.value.field) == (2, "image")
    rows[2] = {**studies()[2], "view_position": "SIDEWAYS"}
    with pytest.raises(ValueError, match=r"row 2 \(study_id 's2'\), view_position: .*SIDEWAYS.*LATERAL"):
        write(rows, batch_size=batch_size)
    with pytest.raises(ValueError, match=r"study \(study_id 's2'\), prior_view_position: "):
        write({**studies()[2], "prior_view_position": "PA"})


@pytest.mark.parametrize(
    "key, meant",
    [
        ("image_", "image"),
        ("prior_images", "prior_image"),
        ("view_positions", "view_position"),
        ("context", "indication"),
    ],
)
def test_misspelt_key_is_refused(write, key, meant):
    row = {"image": image(0), "study_id": "s9", key: "AP"}
    if meant == "image":
        del row["image"]
    with pytest.raises(ValueError, match=rf"row 0 \(study_id 's9'\): unknown key '{key}'; did you mean '{meant}'"):
        write([row])


def test_a_study_record_is_taken_as_it_is(write, expected):
    rows = studies()
    records = []
    for row in rows:
        record = {
            "study_id": row["study_id"],
            "images": [
                {"image": image(9), "view": "LATERAL", "image_id": None, "laterality": None},
                {"image": row["image"], "view": row.get("view_position"), "image_id": None, "laterality": None},
            ],
            "indication": row.get("indication"),
            "history": row.get("history"),
            "prior": {"image": row["prior_image"], "view": row.get("prior_view_position"), "study_id": "p", "acquired": None, "days_before": 2.0}
            if row.get("prior_image") is not None
            else None,
            "acquired": "2021-03-05",
        }  # fmt: skip
        if row.get("view_position") is None:  # nothing tells which is the frontal one: the first
            record["images"].reverse()
        records.append(record)
    flat = [
        {
            {"view_position": "view", "prior_view_position": "prior_view"}.get(key, key): value
            for key, value in row.items()
        }
        for row in rows
    ]
    plain = [entry[0]["generated_text"] for entry in write(rows)]
    for form in (records, flat):
        assert [entry[0]["generated_text"] for entry in write(form)] == plain
    assert write(records[0])[0]["acquired"] == "2021-03-05"
    for empty in (None, dict.fromkeys(("study_id", "image", "view", "acquired", "days_before"))):
        assert write({**records[0], "prior": empty})[0]["generated_text"] == plain[0]


def test_a_prior_that_only_its_table_can_find_is_refused(write):
    for prior in ("s1", {"study_id": "s1", "image": None}):
        with pytest.raises(ValueError, match=r"study_id 's2'\), prior: it names another study .*load_studies"):
            write({"image": image(0), "study_id": "s2", "prior": prior})
    with pytest.raises(ValueError, match="view_position: 'PA', but view says 'AP'"):
        write({"image": image(0), "view": "AP", "view_position": "PA"})
    with pytest.raises(ValueError, match="images: there is no current image"):
        write({"images": []})


def test_missing_image_is_refused(write):
    with pytest.raises(ValueError, match=r"row 1, image: there is no current image"):
        write([studies()[0], {"indication": "cough"}])


def test_stage_1_model_is_refused(processor):
    with pytest.raises(ValueError, match="PriorRGForContrastivePretraining writes no reports"):
        pipeline("report-generation", model=tiny_stage_1(tiny_config(processor.tokenizer)), processor=processor)


def test_folder_without_code(write, processor, expected, tmp_path):
    write.model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = pipeline("report-generation", model=tmp_path)
    assert type(loaded) is PriorRGReportGenerationPipeline
    assert texts(loaded(studies())) == expected


@pytest.mark.parametrize(
    "first", ["import priorrg_hf", "import transformers.pipelines", "import priorrg_hf.model.pipeline_priorrg"]
)
def test_task_is_known_silently_in_any_import_order(first):
    script = (
        f"{first}\nimport priorrg_hf\nfrom transformers.pipelines import PIPELINE_REGISTRY as registry\n"
        "impl = registry.check_task('report-generation')[1]['impl']\n"
        "from priorrg_hf import PriorRGReportGenerationPipeline as ours\nassert impl is ours, impl\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_registration_is_idempotent(caplog):
    from priorrg_hf.model.pipeline_priorrg import register_report_generation_pipeline

    before = PIPELINE_REGISTRY.check_task("report-generation")[1]
    register_report_generation_pipeline()
    assert PIPELINE_REGISTRY.check_task("report-generation")[1] is before
    assert not caplog.records


def _png(picture) -> dict | None:
    import io

    if picture is None:
        return None
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}
