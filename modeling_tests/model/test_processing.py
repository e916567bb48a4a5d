"""The processor: exact ids, fixed keys, errors that name the row, and the way back."""

import copy
import io
import json
import pickle
import threading

import numpy as np
import pytest
import torch
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from shared_files import SHARED, needs
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoProcessor, AutoTokenizer, BatchFeature, BitImageProcessorPil, GPT2Tokenizer

from priorrg_hf import PriorRGConfig, PriorRGInputError, PriorRGProcessor
from priorrg_hf.model.processing_priorrg import rad_dino_image_processor, study_id_to_int
from priorrg_hf.model.tokenization_priorrg import ADDED_TOKENS, build_priorrg_tokenizer


VIEWS = {"PA": 0, "AP": 1, "LATERAL": 2, "unk": 3}
ALWAYS = {
    "input_ids",
    "attention_mask",
    "pixel_values",
    "view_position_ids",
    "prior_pixel_values",
    "prior_view_position_ids",
    "prior_mask",
}
SENTENCES = [
    "Heart size is normal. The lungs are clear.",
    "There is a moderate left pleural effusion, unchanged.",
    "No pneumothorax. Mild cardiomegaly is stable.",
    "Lines and tubes are in standard position.",
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(SENTENCES, vocab_size=320, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.save_model(str(folder))
    return build_priorrg_tokenizer(folder)


@pytest.fixture(scope="module")
def processor(tokenizer):
    return PriorRGProcessor(rad_dino_image_processor(28), tokenizer, view_positions=VIEWS)


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 33), dtype=np.uint8))


def real_ids(input_ids, attention_mask):
    return [row[mask.bool()].tolist() for row, mask in zip(input_ids, attention_mask, strict=True)]


# --- text ------------------------------------------------------------------------------------------------------------


@needs("reference/golden.safetensors")
def test_golden_ids(image):
    from safetensors.torch import load_file

    reference = SHARED / "reference"
    golden = load_file(reference / "golden.safetensors")
    meta = json.loads((reference / "meta.json").read_text())
    processor = PriorRGProcessor(
        rad_dino_image_processor(28), AutoTokenizer.from_pretrained(reference / "tokenizer"), meta["view2id"]
    )
    images = [image] * 4
    for name in ("same", "mixed"):
        expected = golden[f"inputs.context_{name}.input_ids"], golden[f"inputs.context_{name}.attention_mask"]
        batch = processor(images=images, text=meta[f"contexts_{name}"])
        assert torch.equal(batch["input_ids"], expected[0])
        assert torch.equal(batch["attention_mask"], expected[1])

        sections = [text.split(" [SEP] [HISTORY] ") for text in meta[f"contexts_{name}"]]
        batch = processor(
            images=images,
            indication=[indication.removeprefix("[INDICATION] ") for indication, _ in sections],
            history=[history for _, history in sections],
        )
        got, wanted = real_ids(batch["input_ids"], batch["attention_mask"]), real_ids(*expected)
        # The recorded bare context has two spaces where the format has one.
        bare = name == "mixed"
        assert got[bare:] == wanted[bare:]
        if bare:
            assert got[0] == processor.tokenizer("[INDICATION] [SEP] [HISTORY] ")["input_ids"]

    lm = golden["inputs.report_lm.input_ids"]
    batch = processor(images=images, reports=meta["reports"])
    mask = golden["inputs.report_lm.attention_mask"]
    assert torch.equal(batch["decoder_input_ids"], lm[:, :-1])
    assert torch.equal(batch["decoder_attention_mask"], mask[:, :-1])
    assert torch.equal(batch["labels"], lm[:, 1:].masked_fill(mask[:, 1:] == 0, -100))

    batch = processor(images=images, reports=meta["reports"], report_task="alignment")
    assert torch.equal(batch["report_input_ids"], golden["inputs.report_align.input_ids"])
    assert torch.equal(batch["report_attention_mask"], golden["inputs.report_align.attention_mask"])


TEXTS = [
    "",
    " ",
    "chest pain",
    " leading and trailing ",
    "two  spaces,\nnew line\n\n and\ttab \n",
    "numbers 1,234 and don't",
    "\u00a0non-breaking\u2003 naïve “quotes” 胸部 🫁",
    "brackets [x] <y> | end",
    "ends in newline\n",
    "\r\n",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("vocabulary", ["trained", pytest.param("gpt2", marks=needs("gpt2_tokenizer"))])
def test_ids_are_those_of_the_joined_text(tokenizer, image, text, vocabulary):
    if vocabulary == "gpt2":
        tokenizer = build_priorrg_tokenizer(SHARED / "gpt2_tokenizer")
    processor = PriorRGProcessor(rad_dino_image_processor(28), tokenizer, view_positions=VIEWS)

    def joined(text):
        return tokenizer(text, truncation=False, padding=False)["input_ids"]

    batch = processor(images=image, indication=text, history=text, padding=False, return_tensors=None)
    assert batch["input_ids"] == [joined(("[INDICATION] " + text).strip() + " [SEP] " + "[HISTORY] " + text)]
    assert joined(processor.format_context(text, text)) == batch["input_ids"][0]
    lm = joined(f"<|endoftext|> {text} <|endoftext|>")
    batch = processor.encode_reports(text)
    assert batch["decoder_input_ids"].tolist() == [lm[:-1]]
    assert batch["labels"].tolist() == [lm[1:]]
    batch = processor.encode_reports(text, report_task="alignment")
    assert batch["report_input_ids"].tolist() == [joined(f"[CLS] [FINDINGS] {text}")]


@pytest.mark.parametrize("token", ["<|endoftext|>", *ADDED_TOKENS])
@pytest.mark.parametrize("pattern", ["{}", "a {} b", "a{}b", "{0}{0}", "({}). ", "\n{}\n", "[{}]"])
def test_special_tokens_in_user_text_stay_text(processor, image, token, pattern):
    text = pattern.format(token)
    tokenizer = processor.tokenizer
    special = set(tokenizer.get_added_vocab().values())
    batch = processor(images=image, indication=text, history=text, reports=text)
    ids = batch["input_ids"][0].tolist()
    template = tokenizer.convert_tokens_to_ids(["[INDICATION]", "[SEP]", "[HISTORY]"])
    assert [i for i in ids if i in special] == template
    assert tokenizer.decode(ids) == processor.format_context(text, text)

    labels = batch["labels"][0].tolist()
    assert [i for i in labels if i in special] == [tokenizer.eos_token_id]
    assert tokenizer.decode(labels[:-1]) == f" {text} "
    assert batch["decoder_input_ids"][0, 0] == tokenizer.bos_token_id

    ids = processor.encode_reports(text, report_task="alignment")["report_input_ids"][0].tolist()
    assert [i for i in ids if i in special] == tokenizer.convert_tokens_to_ids(["[CLS]", "[FINDINGS]"])
    # a whole template written into one section is that section's text
    batch = processor(images=image, text=f"[INDICATION] {text} [SEP] [HISTORY] x")
    assert [i for i in batch["input_ids"][0].tolist() if i in special][:1] == template[:1]
    batch = processor(images=image, text=f"see {text}")
    assert not special & set(batch["input_ids"][0].tolist())


def test_neighbours_of_an_escaped_token_keep_their_ids(processor):
    plain = processor.encode_reports("normal. The lungs are clear.")["labels"][0].tolist()
    mixed = processor.encode_reports("normal.[SEP] The lungs are clear.")["labels"][0].tolist()
    assert mixed[:2] == plain[:2]
    assert mixed[-5:] == plain[-5:]


def test_bare_context(processor, image):
    expected = processor.tokenizer("[INDICATION] [SEP] [HISTORY] ")["input_ids"]
    for kwargs in ({}, {"indication": None, "history": None}, {"indication": [None]}, {"history": [float("nan")]}):
        batch = processor(images=image, **kwargs)
        assert batch["input_ids"].tolist() == [expected]
        assert batch["attention_mask"].tolist() == [[1] * len(expected)]


def test_lengths(processor, image):
    long = "Heart size is normal. " * 200
    batch = processor(images=image, indication=long, reports=long)
    assert batch["input_ids"].shape == (1, 300)
    assert batch["decoder_input_ids"].shape == batch["labels"].shape == (1, 99)
    assert (batch["labels"] != processor.tokenizer.eos_token_id).all()
    batch = processor(images=image, indication=long, reports=long, report_task="alignment")
    assert batch["input_ids"].shape == batch["report_input_ids"].shape == (1, 100)
    # the limit belongs to the task, with reports or without
    assert processor(images=image, indication=long, report_task="alignment")["input_ids"].shape == (1, 100)
    batch = processor(images=image, indication=long, reports=long, max_context_length=40, max_report_length=20)
    assert batch["input_ids"].shape == (1, 40)
    assert batch["labels"].shape == (1, 19)
    assert processor(images=image, indication=long, max_length=50)["input_ids"].shape == (1, 50)
    assert processor(images=image, indication=long, truncation=False)["input_ids"].shape[1] > 300
    with pytest.raises(PriorRGInputError, match="either max_length or max_context_length"):
        processor(images=image, max_length=50, max_context_length=40)


def test_static_shapes(processor, image):
    batch = processor(images=image, indication="cough", reports="clear", padding="max_length")
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (1, 300)
    assert batch["labels"].shape == batch["decoder_input_ids"].shape == (1, 99)
    batch = processor(images=image, indication="cough", pad_to_multiple_of=16)
    assert batch["input_ids"].shape[1] % 16 == 0
    batch = processor(images=image, reports="clear", report_task="alignment", text_kwargs={"padding": "max_length"})
    assert batch["input_ids"].shape == batch["report_input_ids"].shape == (1, 100)


def test_truncation_left_in_a_tokenizer_file_does_not_count(processor, image, tmp_path):
    tokenizer = copy.deepcopy(processor.tokenizer)
    tokenizer("x", truncation=True, max_length=8)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.init_kwargs["max_length"] == 8
    other = PriorRGProcessor(processor.image_processor, loaded, view_positions=VIEWS)
    batch = other(images=image, indication="Heart size is normal. " * 200, padding="max_length")
    assert batch["input_ids"].shape == (1, 300)


def test_decoder_inputs_and_labels(processor, image):
    tokenizer = processor.tokenizer
    batch = processor(images=[image] * 2, reports=["clear", "Heart size is normal."])
    inputs, mask, labels = batch["decoder_input_ids"], batch["decoder_attention_mask"], batch["labels"]
    assert inputs.shape == mask.shape == labels.shape
    for row in range(2):
        length = int((labels[row] != -100).sum())
        assert inputs[row, 0] == tokenizer.bos_token_id
        assert torch.equal(inputs[row, 1:length], labels[row, : length - 1])
        assert labels[row, length - 1] == tokenizer.eos_token_id
        # A row shorter than the longest reads its end token too, with nothing to predict behind it.
        assert inputs[row, length : length + 1].tolist() == [tokenizer.eos_token_id] * (length < inputs.shape[1])
        assert (inputs[row, length + 1 :] == tokenizer.pad_token_id).all()
        assert (labels[row, length:] == -100).all()
        assert mask[row].tolist() == [1] * min(length + 1, inputs.shape[1]) + [0] * max(
            0, inputs.shape[1] - length - 1
        )


def test_sep_is_pad_in_decoder_inputs(processor, monkeypatch):
    # User text never holds the [SEP] id, so let another token play its part.
    ids = processor.encode_reports("Heart size is normal.")["decoder_input_ids"][0].tolist()
    monkeypatch.setattr(processor, "_token_ids", processor._token_ids | {"[SEP]": ids[3]})
    batch = processor.encode_reports("Heart size is normal.")
    pad = processor.pad_token_id
    assert batch["decoder_input_ids"][0].tolist() == [pad if i == ids[3] else i for i in ids]
    assert batch["labels"][0, 2] == ids[3]
    assert (batch["decoder_attention_mask"] == 1).all()


def test_text_is_one_of_two_forms(processor, image):
    with pytest.raises(PriorRGInputError, match="row 0, text: .*either of the two"):
        processor(images=image, text="x", indication="y")


# --- the way back ----------------------------------------------------------------------------------------------------


def test_post_process_reports(processor):
    reports = [*SENTENCES, "dropped: “é\n” kept: ~!"]
    expected = [*SENTENCES, "dropped:  kept: ~!"]
    batch = processor.encode_reports(reports)
    assert processor.post_process_reports(batch["labels"]) == expected
    assert processor.post_process_reports(batch["decoder_input_ids"].numpy()) == expected
    assert processor.post_process_reports(batch["labels"].tolist()) == expected
    assert processor.post_process_reports(list(batch["labels"])) == expected
    assert processor.post_process_reports(batch["labels"][0]) == expected[:1]
    assert processor.post_process_reports(BatchFeature({"sequences": batch["decoder_input_ids"]})) == expected
    assert processor.post_process_reports([]) == []
    assert processor.decode(batch["labels"][0, 1:3]) == processor.tokenizer.decode(batch["labels"][0, 1:3])


# --- keys, rows and images -------------------------------------------------------------------------------------------


def test_always_the_same_keys(processor, image):
    single = processor(images=image)
    batch = processor(
        images=[image, image, image],
        prior_images=[None, image, None],
        indication=["cough", None, ""],
        history=[None, None, "fever"],
        view_positions=["PA", None, "ap"],
        prior_view_positions=[None, "LATERAL", None],
    )
    assert set(single) == set(batch) == ALWAYS == set(processor.model_input_names)
    assert {key: value.dtype for key, value in single.items()} == {key: value.dtype for key, value in batch.items()}
    assert single["pixel_values"].shape == (1, 3, 28, 28)
    assert batch["prior_mask"].tolist() == [False, True, False]
    assert batch["prior_mask"].dtype == torch.bool
    assert batch["view_position_ids"].tolist() == [0, 3, 1]
    assert batch["prior_view_position_ids"].tolist() == [3, 2, 3]
    assert (batch["prior_pixel_values"][[0, 2]] == 0).all()
    assert torch.equal(batch["prior_pixel_values"][1], batch["pixel_values"][1])
    assert batch["pixel_values"].dtype == torch.float32


def test_absent_priors_are_not_processed(processor, image, monkeypatch):
    calls = []
    monkeypatch.setattr(
        type(processor), "_pixel_values", lambda self, image, row, field, _: calls.append(field) or np.ones((3, 2, 2))
    )
    processor(images=[image] * 3, prior_images=[None, image, None])
    assert sorted(calls) == ["images", "images", "images", "prior_images"]


@pytest.mark.parametrize("report_task", ["generation", "alignment"])
def test_everything_but_the_pixels_without_an_image(processor, image, monkeypatch, report_task):
    texts = {
        "indication": ["cough", None],
        "history": [None, "asthma"],
        "view_positions": ["pa", None],
        "prior_view_positions": [None, "AP"],
        "reports": SENTENCES[:2],
        "study_ids": ["a", "b"],
        "report_task": report_task,
    }
    expected = processor(images=[image, image], prior_images=[None, image], **texts)
    monkeypatch.setattr(PriorRGProcessor, "_encode_images", None)
    found = processor.encode_without_images([False, True], **texts)
    assert set(expected) - set(found) == {"pixel_values", "prior_pixel_values"} and set(found) < set(expected)
    for name, value in found.items():
        assert value.dtype == expected[name].dtype and value.equal(expected[name]), name
    with pytest.raises(PriorRGInputError, match="row 0"):
        processor.encode_without_images([False, True], prior_view_positions=["AP", None])
    with pytest.raises(PriorRGInputError, match="batch lengths differ"):
        processor.encode_without_images([False, True], indication=["cough"])


def test_rows_do_not_depend_on_their_batch(processor, image):
    other = Image.fromarray(np.zeros((90, 50, 3), dtype=np.uint8))
    batch = processor(images=[image, other], prior_images=[other, None], indication=["cough", "long " * 20])
    alone = processor(images=image, prior_images=other, indication="cough")
    length = alone["input_ids"].shape[1]
    for key, value in alone.items():
        row = batch[key][:1]
        if key in ("input_ids", "attention_mask"):
            assert (batch["attention_mask"][0, length:] == 0).all()
            row = row[:, :length]
        assert torch.equal(row, value), key


@pytest.mark.parametrize("mode", ["L", "RGB", "gray RGB"])
@pytest.mark.parametrize("size", [(33, 40), (28, 28), (300, 17), (9, 700)])
def test_pixels_equal_the_published_preprocessing(processor, mode, size):
    pixels = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode != "RGB":
        image = image.convert("L")
    if mode == "gray RGB":
        image = image.convert("RGB")

    # by hand: shorter edge to 28 (bicubic), centre crop, mean and standard deviation
    height, width = size
    scale = 28 / min(size)
    resized = image.convert("RGB").resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - 28) // 2, (resized.height - 28) // 2
    cropped = np.asarray(resized.crop((left, top, left + 28, top + 28)), dtype=np.float32)
    expected = ((cropped / 255 - 0.5307) / 0.2583).transpose(2, 0, 1)

    got = processor(images=image)["pixel_values"][0].numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    # and to the last bit what the image processor makes of it by itself
    alone = processor.image_processor(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_array_equal(got, alone)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_coloured_pixel_makes_a_coloured_image(processor, channel):
    pixels = np.full((100, 100, 3), 90, dtype=np.uint8)
    pixels[51, 52, channel] = 255
    got = processor(images=pixels)["pixel_values"][0].numpy()
    alone = processor.image_processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
    np.testing.assert_array_equal(got, alone)
    assert len({channel.tobytes() for channel in got}) == 2


def test_16_bit_image_is_not_white(processor):
    levels = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    deep = processor(images=levels.astype(np.uint16) * 257)["pixel_values"]
    assert torch.equal(deep, processor(images=levels)["pixel_values"])


def test_image_containers(processor, image, tmp_path):
    image.save(tmp_path / "x.png")
    expected = processor(images=[image, image])["pixel_values"]
    array = np.asarray(image)
    for images in (
        [tmp_path / "x.png", str(tmp_path / "x.png")],
        (image, array),
        np.stack([array, array])[:, None],
        np.stack([array, array])[..., None],
        torch.from_numpy(np.stack([array, array]))[:, None],
        [[image], [image]],
        [{"bytes": (tmp_path / "x.png").read_bytes(), "path": None}, {"path": str(tmp_path / "x.png"), "bytes": None}],
    ):
        assert torch.equal(processor(images=images)["pixel_values"], expected)
    assert processor(images=tmp_path / "x.png")["pixel_values"].shape[0] == 1
    assert processor(images=torch.from_numpy(array.copy()))["pixel_values"].shape[0] == 1
    assert processor(images=(tmp_path / "x.png").read_bytes())["pixel_values"].shape[0] == 1


def test_dicom_wherever_an_image_goes(processor, tmp_path):
    dicom = pytest.importorskip("priorrg_hf.model.dicom_priorrg", reason="DICOM needs the extra priorrg-hf[dicom]")
    builders = pytest.importorskip("dicom_builders")
    content, film = builders.file_bytes(builders.build()), tmp_path / "film.dcm"
    film.write_bytes(content)
    expected = processor(images=[dicom.read_dicom(content)], prior_images=[dicom.read_dicom(content)])
    column = Dataset.from_dict(
        {"x": [{"bytes": content, "path": None}]}, features=Features({"x": ImageFeature(decode=False)})
    )
    with open(film, "rb") as file:
        for form in (film, str(film), content, file, io.BytesIO(content), builders.build(), [film], column[0]["x"]):
            for images, priors in (([form], [film]), ([film], [form])):
                if hasattr(form, "seek"):
                    form.seek(0)
                batch = processor(images=images, prior_images=priors)
                assert torch.equal(batch["pixel_values"], expected["pixel_values"])
                assert torch.equal(batch["prior_pixel_values"], expected["prior_pixel_values"])
    for form in (builders.build(), film, content):  # a row by itself
        assert torch.equal(processor(images=form)["pixel_values"], expected["pixel_values"])


def test_return_tensors(processor, image):
    arrays = processor(images=image, reports="clear", study_ids=7, return_tensors="np")
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    tensors = processor(images=image, reports="clear", study_ids=7)
    assert all(torch.equal(torch.from_numpy(arrays[key]), tensors[key]) for key in tensors)


def test_image_arguments(processor, image):
    larger = processor(images=image, size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    assert larger["pixel_values"].shape == larger["prior_pixel_values"].shape == (1, 3, 56, 56)
    plain = processor(images=image, images_kwargs={"do_normalize": False})["pixel_values"]
    assert 0 <= plain.min() <= plain.max() <= 1
    tinted = processor(images=image, image_mean=[0.0, 0.5, 1.0])["pixel_values"]
    assert not torch.equal(tinted[:, 0], tinted[:, 1])
    with pytest.raises(PriorRGInputError, match="row 1, images: .*do_center_crop"):
        processor(images=[image, image.resize((80, 30))], do_center_crop=False)


# --- views and study ids ---------------------------------------------------------------------------------------------


def test_views(processor, image):
    views = ["PA", "pa", " Pa ", "lateral", "unk", "UNK", "", None]
    batch = processor(images=[image] * len(views), view_positions=views)
    assert batch["view_position_ids"].tolist() == [0, 0, 0, 2, 3, 3, 3, 3]
    for view in ("OBLIQUE", 1, True):
        with pytest.raises(
            PriorRGInputError, match=r"row 1, view_positions: .*known are PA, AP, LATERAL, unk"
        ) as caught:
            processor(images=[image] * 2, view_positions=["PA", view])
        assert (caught.value.row, caught.value.field) == (1, "view_positions")


def test_exact_view_names_win(tokenizer, image):
    views = {"ap": 0, "AP": 1, "unk": 2}
    processor = PriorRGProcessor(rad_dino_image_processor(28), tokenizer, view_positions=views)
    assert processor(images=[image] * 2, view_positions=["AP", "ap"])["view_position_ids"].tolist() == [1, 0]
    with pytest.raises(PriorRGInputError, match="unknown"):
        processor(images=image, view_positions="Ap")


def test_study_ids(processor, image):
    batch = processor(images=[image] * 3, study_ids=["p1_s1", "p1_s2", "p1_s1"])
    assert batch["study_ids"].dtype == torch.int64
    assert batch["study_ids"][0] == batch["study_ids"][2] != batch["study_ids"][1]
    # the same on every rank and in every release: a recorded value
    assert study_id_to_int("p1_s1") == 101958819477697446
    assert batch["study_ids"][0] == study_id_to_int("p1_s1") >= 0
    for ids in ([5, -7], torch.tensor([5, -7]), np.array([5, -7])):
        assert processor(images=[image] * 2, study_ids=ids)["study_ids"].tolist() == [5, -7]
    assert processor(images=image, study_ids="a")["study_ids"].shape == (1,)
    assert processor(images=image, study_ids=3)["study_ids"].tolist() == [3]
    for wrong in (2**63, True, 1.5, None):
        with pytest.raises(PriorRGInputError, match="row 1, study_ids: .*string or a 64-bit integer"):
            processor(images=[image] * 2, study_ids=["a", wrong])


# --- bad input -------------------------------------------------------------------------------------------------------


def truncated(path):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    return path


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("missing.png", "does not exist"),
        (truncated, "damaged or cut off"),
        (np.full((8, 8), np.nan), "NaN"),
        (np.zeros((0, 8), np.uint8), "no pixels"),
        (3.5, "float as an image"),
        ([1, 2], "2 images"),
    ],
)
@pytest.mark.parametrize("field", ["images", "prior_images"])
def test_bad_image_names_its_row(processor, image, bad, message, field, tmp_path):
    bad = bad(tmp_path / "cut.png") if callable(bad) else bad
    arguments = {"images": [image] * 3, "prior_images": [image] * 3}
    arguments[field][2] = bad
    with pytest.raises(PriorRGInputError, match=f"row 2, {field}: .*{message}") as caught:
        processor(**arguments)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.row, caught.value.field) == (2, field)


@pytest.mark.parametrize(
    ("arguments", "message", "row"),
    [
        ({"images": "iii", "indication": ["a", "b"]}, "batch lengths differ: images 3, indication 2", None),
        ({"images": "iii", "view_positions": "PA"}, "batch lengths differ: images 3, view_positions 1", None),
        ({"images": "i", "reports": ["a", "b"]}, "batch lengths differ: images 1, reports 2", None),
        ({"images": ""}, "batch is empty", None),
        ({"indication": "cough"}, "there are no images", None),
        ({"images": "in"}, "row 1, images: there is no current image", 1),
        (
            {"images": "ii", "prior_images": "in", "prior_view_positions": ["PA", "AP"]},
            "row 1.*'AP'.*no prior image",
            1,
        ),
        ({"images": "i", "prior_view_positions": "AP"}, "row 0, prior_view_positions: .*no prior image", 0),
        ({"images": "ii", "history": ["x", 5]}, "row 1, history: a int is no text", 1),
        ({"images": "ii", "reports": ["x", None]}, "row 1, reports: there is no report", 1),
        ({"images": "i", "max_context_length": 0}, "max_context_length must be an integer of at least 2", None),
        ({"images": "i", "max_report_length": 1}, "max_report_length must be an integer of at least 2", None),
        ({"images": "i", "report_task": "stage1"}, "'generation' or 'alignment'", None),
    ],
)
def test_bad_arguments(processor, image, arguments, message, row):
    for name in ("images", "prior_images"):
        if name in arguments:
            arguments = arguments | {name: [image if code == "i" else None for code in arguments[name]]}
    with pytest.raises(PriorRGInputError, match=message) as caught:
        processor(**arguments)
    assert caught.value.row == row


def test_empty_image_list_of_a_text_gives_zeros(processor, image):
    # transformers' convention for texts without an image; a study table says None, which is an error
    batch = processor(images=[[], [image]], text=["a", "b"])
    assert (batch["pixel_values"][0] == 0).all()
    assert torch.equal(batch["pixel_values"][1], processor(images=image)["pixel_values"][0])
    with pytest.raises(PriorRGInputError, match="no image at all"):
        processor(images=[[]], text=["a"])
    with pytest.raises(PriorRGInputError, match="row 0, images: there are 0 images"):
        processor(images=[[], [image]], indication=["a", "b"])


def test_text_mistakes_show_before_any_image_is_opened(processor, monkeypatch):
    monkeypatch.setattr(type(processor), "_pixel_values", lambda *_: pytest.fail("opened an image"))
    with pytest.raises(PriorRGInputError, match="unknown"):
        processor(images=["a.png", "b.png"], view_positions=["PA", "x"])


@pytest.mark.parametrize(("name", "hint"), [("prior_image", "prior_images"), ("view_position", "view_positions")])
def test_misspelt_argument_is_an_error(processor, image, name, hint):
    with pytest.raises(TypeError, match=f"unknown argument '{name}'; did you mean '{hint}'"):
        processor(images=image, **{name: image})


def test_unsupported_text_arguments(processor, image):
    for kwargs in ({"padding_side": "left"}, {"return_offsets_mapping": True}, {"stride": 3}):
        with pytest.raises(TypeError, match="does not support"):
            processor(images=image, **kwargs)
    with pytest.raises(ValueError, match="passed two times"):
        processor(images=image, padding="max_length", text_kwargs={"padding": True})


def test_call_kwargs_are_not_remembered(processor, image):
    text_kwargs = {"padding": "max_length"}
    processor(images=image, text_kwargs=text_kwargs, common_kwargs={"return_tensors": "np"})
    assert text_kwargs == {"padding": "max_length"}
    after = processor(images=image)
    assert after["input_ids"].shape[1] < 100
    assert isinstance(after["input_ids"], torch.Tensor)


def test_error_survives_worker_processes():
    error = pickle.loads(pickle.dumps(PriorRGInputError("why", row=3, field="images")))
    assert (str(error), error.row, error.field) == ("why", 3, "images")
    # torch builds the error of a worker anew, from its message alone
    assert PriorRGInputError("why").row is None


# --- construction, saving, loading -----------------------------------------------------------------------------------


def test_tokenizer_ids(tokenizer, tmp_path):
    first = tokenizer.vocab_size
    assert tokenizer.convert_tokens_to_ids(list(ADDED_TOKENS)) == list(range(first, first + 7))
    assert (tokenizer.pad_token, tokenizer.sep_token, tokenizer.cls_token) == ("[PAD]", "[SEP]", "[CLS]")
    assert tokenizer.bos_token == tokenizer.eos_token == "<|endoftext|>"
    special = set(tokenizer.all_special_tokens)
    assert special == {"[PAD]", "[SEP]", "[CLS]", "<|endoftext|>"}
    # adding them again changes nothing, and the source stays as it was
    assert len(build_priorrg_tokenizer(tokenizer)) == len(tokenizer) == first + 7
    tokenizer.save_pretrained(tmp_path)
    assert build_priorrg_tokenizer(tmp_path).get_vocab() == tokenizer.get_vocab()


@needs("gpt2_tokenizer")
def test_gpt2_tokenizer_ids():
    source = SHARED / "gpt2_tokenizer"
    for tokenizer in (build_priorrg_tokenizer(source), build_priorrg_tokenizer(source / "vocab.json")):
        assert tokenizer.convert_tokens_to_ids(list(ADDED_TOKENS)) == list(range(50257, 50264))
        assert len(tokenizer) == 50264
        assert tokenizer.bos_token_id == tokenizer.eos_token_id == 50256
        assert tokenizer("Heart size")["input_ids"] == [28541, 2546]


@needs("reference/tokenizer")
def test_published_tokenizer_is_accepted_and_rebuilt():
    published = AutoTokenizer.from_pretrained(SHARED / "reference" / "tokenizer")
    rebuilt = build_priorrg_tokenizer(SHARED / "reference" / "tokenizer" / "vocab.json")
    assert rebuilt.get_vocab() == published.get_vocab() == build_priorrg_tokenizer(published).get_vocab()
    for index, token in published.added_tokens_decoder.items():
        other = rebuilt.added_tokens_decoder[index]
        # `normalized` differs for <|endoftext|>, without effect: there is no normalizer
        for name in ("content", "special", "lstrip", "rstrip", "single_word"):
            assert getattr(token, name) == getattr(other, name), name


def test_tokenizers_that_do_not_fit(tokenizer):
    plain = GPT2Tokenizer(vocab={"a": 0, "<|endoftext|>": 1}, merges=[])
    with pytest.raises(ValueError, match=r"no \[PAD\].*build_priorrg_tokenizer"):
        PriorRGProcessor(rad_dino_image_processor(28), plain)
    plain.add_tokens(["[HISTORY]"])
    with pytest.raises(ValueError, match="instead of"):
        build_priorrg_tokenizer(plain)
    with pytest.raises(ValueError, match="must be '<|endoftext|>'"):
        build_priorrg_tokenizer(GPT2Tokenizer(vocab={"a": 0, "<|endoftext|>": 1}, merges=[], eos_token="a"))
    with pytest.raises(TypeError):
        PriorRGProcessor(tokenizer, rad_dino_image_processor(28))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"view_positions": {"PA": 0}}, "must hold 'unk'"),
        ({"view_positions": {"PA": 0, "unk": 0}}, "distinct integers"),
        ({"view_positions": {"PA": -1, "unk": 0}}, "distinct integers"),
        ({"max_report_length": 0}, "max_report_length must be"),
        ({"max_context_length": 1.5}, "max_context_length must be"),
        ({"max_alignment_context_length": True}, "max_alignment_context_length must be"),
    ],
)
def test_constructor_arguments(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        PriorRGProcessor(rad_dino_image_processor(28), tokenizer, **arguments)


def test_save_and_load(tokenizer, image, tmp_path):
    processor = PriorRGProcessor(
        rad_dino_image_processor(28),
        tokenizer,
        view_positions=VIEWS,
        max_report_length=20,
        max_context_length=30,
        max_alignment_context_length=25,
    )
    processor.save_pretrained(tmp_path)
    PriorRGConfig(view_positions=VIEWS).save_pretrained(tmp_path)
    expected = processor(images=image, indication="long " * 50, reports="long " * 50, view_positions="AP")
    for loaded in (PriorRGProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert type(loaded) is PriorRGProcessor
        assert loaded.to_dict() == processor.to_dict()
        assert loaded.view_positions == VIEWS
        assert isinstance(loaded.image_processor, BitImageProcessorPil)
        batch = loaded(images=image, indication="long " * 50, reports="long " * 50, view_positions="AP")
        assert all(torch.equal(batch[key], expected[key]) for key in expected)
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    assert (saved["max_report_length"], saved["max_context_length"], saved["max_alignment_context_length"]) == (
        20,
        30,
        25,
    )
    assert PriorRGProcessor.from_pretrained(tmp_path, max_report_length=50).max_report_length == 50


def test_torchvision_image_processor_is_replaced(tokenizer):
    # torchvision need not be installed for this: a class of its name and content
    source = rad_dino_image_processor(28)
    fake = type("BitImageProcessor", (BitImageProcessorPil,), {"backend": "torchvision"})(**source.to_dict())
    pinned = PriorRGProcessor(fake, tokenizer).image_processor
    assert type(pinned) is BitImageProcessorPil
    assert pinned.to_dict() == source.to_dict()


def test_threads_and_workers_share_a_processor(processor, image):
    expected = processor(images=image, indication="Heart size is normal.")["input_ids"]
    results = []

    def work():
        for _ in range(20):
            results.append(processor(images=image, indication="Heart size is normal.")["input_ids"])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80 and all(torch.equal(ids, expected) for ids in results)

    copied = pickle.loads(pickle.dumps(processor))
    assert torch.equal(copied(images=image, indication="Heart size is normal.")["input_ids"], expected)


def test_calls_leave_the_tokenizer_as_it_is(processor, image):
    backend = processor.tokenizer.backend_tokenizer
    before = backend.to_str()
    processor(images=image, indication="a " * 500, reports="b " * 500)
    assert backend.to_str() == before


# --- what must not be accepted silently


@pytest.mark.parametrize("shape", [(2, 1, 1, 24, 20), (1, 1, 3, 24, 20), (2, 2, 1, 1, 24, 20)])
@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_arrays_of_five_and_more_dimensions_are_refused(processor, shape, make):
    with pytest.raises(PriorRGInputError, match="no batch of images"):
        processor(images=make(shape))
    with pytest.raises(PriorRGInputError, match="is no image|no batch of images"):
        processor(images=[make(shape)])
    with pytest.raises(PriorRGInputError, match="is no image|no batch of images"):
        processor(images=[np.zeros((24, 20), np.uint8)] * shape[0], prior_images=make(shape))


@pytest.mark.parametrize("field", ["text", "indication", "history", "reports"])
def test_half_characters_are_a_clear_error(processor, image, field):
    with pytest.raises(PriorRGInputError, match=f"row 1, {field}: .*lone surrogate") as caught:
        processor(images=[image] * 2, **{field: ["fine", "no \udce9 good"]})
    assert caught.value.row == 1 and caught.value.field == field
    processor(images=image, **{field: "whole 😀 é"})


def test_views_in_other_spellings_of_the_table(tokenizer, image):
    processor = PriorRGProcessor(
        rad_dino_image_processor(28), tokenizer, view_positions={"AP_SUPINE": 0, "XTABLE LATERAL": 1, "unk": 2}
    )
    batch = processor(
        images=[image] * 4, view_positions=["AP SUPINE", "ap_supine", "xtable_lateral", "XTABLE  LATERAL"]
    )
    assert batch["view_position_ids"].tolist() == [0, 0, 1, 1]
