"""Makes the small weights that the package carries, from phantoms alone, on a CPU.

    python scripts/make_phantom_weights.py images     # films and dense targets of the pre-training patients
    python scripts/make_phantom_weights.py tokenizer  # byte-level BPE of phantom reports and contexts
    python scripts/make_phantom_weights.py decoder    # a language model of phantom reports (GPT-2 shape)
    python scripts/make_phantom_weights.py vision     # the vision encoder (DINOv2 shape)
    priorrg demo -o runs/phantom_demo                 # both stages
    python scripts/make_phantom_weights.py model --work runs/phantom_demo  # its result -> priorrg-phantom-tiny

The stored weights are those of 32,000 films (`images --images 32000`); of `vision --bf16 --epochs 9`, ended in its third epoch, then
`--resume --epochs 7` and `--resume --epochs 3 --learning_rate 6e-4`; and of `decoder --steps 2500 --batch_size 32`.

The vision encoder stands where RAD-DINO stands in the published system. RAD-DINO was pre-trained by self-supervision on
real films; this one is pre-trained *with supervision from the phantoms' known truth* (where each structure lies, how severe each finding is, how
wide the heart is), because that takes minutes instead of days. It has never seen a patient of the demo's cohorts: those have
other seeds. It sees neither reports, nor contexts, nor priors. The decoder stands where DistilGPT2 stands: it has read reports of
patients of its own seed, and knows no image, context or prior.
"""

import argparse
import math
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from priorrg_hf.phantom import make_patient, render_visit, write_texts
from priorrg_hf.phantom.anatomy import Shape
from priorrg_hf.phantom.cohort import LEVEL_CENTRES
from priorrg_hf.phantom.facts import DEVICES, SITES
from priorrg_hf.phantom.rendering import cardiothoracic_ratio


WEIGHTS = Path(__file__).resolve().parents[1] / "src/priorrg_hf/phantom/weights"
IMAGE_SIZE, PATCH_SIZE = 112, 14
GRID = IMAGE_SIZE // PATCH_SIZE
# Far from the seeds that anyone would use for a cohort.
PRETRAINING_SEED, TOKENIZER_SEED, LANGUAGE_SEED = 900_001, 900_002, 900_003
MEAN, STD = 0.5307, 0.2583

# Dense targets: how much of each patch a structure covers. The heart's site is the heart itself.
MAPS = ("lungs", "heart", *(site for site in SITES if site != "cardiomegaly"), *DEVICES)
# Thin things cover little of a patch, and are asked for as loudly as large ones.
THIN = torch.tensor([4.0 if name in DEVICES or name == "atelectasis" else 1.0 for name in MAPS])
# Levels of a site: absent, then the four severities; bounds lie halfway between the levels' centres.
NUM_LEVELS = 1 + len(LEVEL_CENTRES)
LEVEL_BOUNDS = torch.tensor([0.05, *((a + b) / 2 for a, b in zip(LEVEL_CENTRES[:-1], LEVEL_CENTRES[1:], strict=True))])
POSITIONS = [(device, position) for device, positions in DEVICES.items() for position in positions]


# --- images ---------------------------------------------------------------------------------------------------------


def _film_and_targets(index: int):
    """One film a patient: pixels, patch coverage (64, maps), severities (sites), ratio of the heart, devices by position, view."""
    patient = make_patient(PRETRAINING_SEED, index)
    visit = index % len(patient.visits)
    entry = patient.visits[visit]
    film = render_visit(patient, visit, image_size=IMAGE_SIZE, with_coverage=True)
    maps = np.zeros((GRID * GRID, len(MAPS)), np.float16)
    for number, name in enumerate(MAPS):
        if name in film.coverage:
            blocks = film.coverage[name].reshape(GRID, PATCH_SIZE, GRID, PATCH_SIZE).mean(axis=(1, 3))
            maps[:, number] = blocks.reshape(-1)
    severities = np.array([entry.values.get(site, 0.0) for site in SITES], np.float32)
    ratio = cardiothoracic_ratio(entry, Shape.draw(patient.render_stream(None)))
    positions = np.array([entry.devices.get(device) == position for device, position in POSITIONS], np.float32)
    return (
        film.pixels,
        maps,
        np.concatenate([severities, [ratio], positions, [float(entry.view == "AP")]]).astype(np.float32),
    )


def make_images(args) -> None:
    args.work.mkdir(parents=True, exist_ok=True)
    started = time.time()
    for shard, start in enumerate(range(0, args.images, 2000)):
        path = args.work / f"images-{shard:03d}.npz"
        if path.exists():
            continue
        with multiprocessing.Pool(args.processes) as pool:
            items = pool.map(_film_and_targets, range(start, min(start + 2000, args.images)), chunksize=50)
        pixels, maps, values = (np.stack(column) for column in zip(*items, strict=True))
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, pixels=pixels, maps=maps, values=values)
        partial.rename(path)
        print(f"{start + len(items)} films, {time.time() - started:.0f} s", flush=True)


def load_images(work: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shards = [np.load(path) for path in sorted(work.glob("images-???.npz"))]
    return tuple(
        torch.from_numpy(np.concatenate([shard[name] for shard in shards])) for name in ("pixels", "maps", "values")
    )


# --- tokenizer ------------------------------------------------------------------------------------------------------


def make_tokenizer(args) -> None:
    """A byte-level BPE like GPT-2's, with `<|endoftext|>` and PriorRG's seven tokens in their order."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Tokenizer

    from priorrg_hf.model.tokenization_priorrg import build_priorrg_tokenizer

    texts = []
    for index in range(6000):
        patient = make_patient(TOKENIZER_SEED, index)
        for visit in range(len(patient.visits)):
            texts += [" " + text for text in write_texts(patient, visit).values() if text]
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        texts, vocab_size=args.vocabulary, min_frequency=20, special_tokens=["<|endoftext|>"], show_progress=False
    )
    args.work.mkdir(parents=True, exist_ok=True)
    bpe.save_model(str(args.work))
    tokenizer = GPT2Tokenizer(vocab=str(args.work / "vocab.json"), merges=str(args.work / "merges.txt"))
    tokenizer = build_priorrg_tokenizer(tokenizer)
    tokenizer.save_pretrained(WEIGHTS / "tokenizer")
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts[:3000]]
    print(f"{len(tokenizer)} tokens; texts: mean {np.mean(lengths):.1f}, longest {max(lengths)}")


# --- decoder --------------------------------------------------------------------------------------------------------


def make_decoder(args) -> None:
    """A GPT-2 of the demo's shape that has read phantom reports, each of them once."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from priorrg_hf.phantom import load_phantom_tokenizer
    from priorrg_hf.phantom.demo import MODEL_SHAPE

    torch.manual_seed(0)
    torch.set_num_threads(args.processes)
    tokenizer = load_phantom_tokenizer()
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = GPT2Config(**MODEL_SHAPE["decoder_config"], vocab_size=len(tokenizer), **special)
    model = GPT2LMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    reports = (
        write_texts(patient, visit)["findings"]
        for patient in (make_patient(LANGUAGE_SEED, index) for index in range(90_000))
        for visit in range(len(patient.visits))
    )
    running, started = 0.0, time.time()
    for step in range(args.steps):
        texts = [f"{tokenizer.bos_token} {next(reports)} {tokenizer.eos_token}" for _ in range(args.batch_size)]
        batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=100)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running += loss.item()
        if (step + 1) % 100 == 0:
            print(f"{step + 1} updates: loss {running / 100:.3f}; {time.time() - started:.0f} s", flush=True)
            running = 0.0
    model.to(torch.float16).save_pretrained(WEIGHTS / "decoder")


# --- vision ---------------------------------------------------------------------------------------------------------


class Heads(nn.Module):
    """What the encoder is asked during pre-training; thrown away afterwards.

    Each token is asked about the whole film (severities, devices), as the patch tokens of large self-supervised encoders know of
    the whole image too; a patch token is also asked what lies in its patch. Levels and positions are asked as classes, so that
    each has a direction of its own in the features: of a single number, a report writer reads the middle only.
    """

    def __init__(self, width: int):
        super().__init__()
        self.maps = nn.Linear(width, len(MAPS))
        self.values = nn.Linear(width, len(SITES) + 1)
        self.levels = nn.Linear(width, len(SITES) * NUM_LEVELS)
        self.positions = nn.ModuleList(nn.Linear(width, len(positions) + 1) for positions in DEVICES.values())
        self.view = nn.Linear(width, 1)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor | list[torch.Tensor]]:
        # features: (batch, 1 + patches, width); maps of the patches, everything else of each token
        return {
            "maps": self.maps(features[:, 1:]),
            "values": self.values(features),
            "levels": self.levels(features).unflatten(-1, (len(SITES), NUM_LEVELS)),
            "positions": [head(features) for head in self.positions],
            "view": self.view(features)[..., 0],
        }


def levels_of(severities: torch.Tensor) -> torch.Tensor:
    """Continuous severities to levels 0 (absent) to 4."""
    return torch.bucketize(severities.contiguous(), LEVEL_BOUNDS)


def positions_of(flags: torch.Tensor) -> list[torch.Tensor]:
    """A flag for each device and position, to the position's number of each device; 0 without the device."""
    parts = flags.split([len(positions) for positions in DEVICES.values()], dim=-1)
    return [((1 + torch.arange(part.shape[-1])) * part).sum(-1).long() for part in parts]


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(batch, height, width) in [0, 1] with another brightness, contrast and noise. Nothing that moves the targets."""
    batch = len(pixels)
    gain = 1 + 0.12 * (2 * torch.rand(batch, 1, 1, generator=generator) - 1)
    offset = 0.06 * (2 * torch.rand(batch, 1, 1, generator=generator) - 1)
    noise = torch.randn(pixels.shape, generator=generator) * 0.03 * torch.rand(batch, 1, 1, generator=generator)
    return pixels * gain + offset + noise


def model_inputs(pixels: torch.Tensor) -> torch.Tensor:
    return ((pixels - MEAN) / STD)[:, None].expand(-1, 3, -1, -1)


def losses(heads: Heads, features: torch.Tensor, maps: torch.Tensor, values: torch.Tensor) -> dict[str, torch.Tensor]:
    """Each question's loss, weighed: their sum is what training lowers."""
    said = heads(features.float())
    tokens, sites = features.shape[1], len(SITES)
    maps = (maps * THIN).clamp(max=1.0)
    # Patches that a structure touches weigh more than the many that it does not.
    weight = 1 + 4 * (maps > 0.02).float()
    levels = levels_of(values[:, :sites])[:, None].expand(-1, tokens, -1)
    positions = positions_of(values[:, sites + 1 : -1])
    ratio = 8 * (values[:, sites] - 0.5)
    cross_entropy = nn.functional.cross_entropy
    return {
        "maps": 8 * (weight * (said["maps"] - maps).square()).mean(),
        "values": 2 * nn.functional.smooth_l1_loss(said["values"][..., :sites], values[:, None, :sites].expand(-1, tokens, -1), beta=0.1),
        "ratio": 0.5 * (said["values"][..., sites] - ratio[:, None]).square().mean(),
        "levels": 2 * cross_entropy(said["levels"].flatten(0, 2), levels.flatten()),
        "positions": sum(
            cross_entropy(logits.flatten(0, 1), truth[:, None].expand(-1, tokens).flatten())
            for logits, truth in zip(said["positions"], positions, strict=True)
        ),
        "view": 0.2 * nn.functional.binary_cross_entropy_with_logits(said["view"], values[:, None, -1].expand(-1, tokens)),
    }  # fmt: skip


def make_vision(args) -> None:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    torch.set_num_threads(args.processes)
    generator = torch.Generator().manual_seed(0)
    config = Dinov2Config(
        image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
        mlp_ratio=4, layerscale_value=1.0,
    )  # fmt: skip
    model = Dinov2Model(config)
    if args.resume:
        model = Dinov2Model.from_pretrained(WEIGHTS / "vision", dtype=torch.float32)
    heads = Heads(config.hidden_size)
    if args.resume and (args.work / "heads.pt").exists():
        heads.load_state_dict(torch.load(args.work / "heads.pt", weights_only=True))
    pixels, maps, values = load_images(args.work)
    held_out = 500
    rows = torch.arange(held_out, len(pixels))
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=args.learning_rate, weight_decay=0.02, betas=(0.9, 0.98))
    steps_per_epoch = len(rows) // args.batch_size
    total = steps_per_epoch * args.epochs
    step, started = 0, time.time()
    model.train()
    for epoch in range(args.epochs):
        order = rows[torch.randperm(len(rows), generator=generator)]
        running: dict[str, float] = {}
        for number in range(steps_per_epoch):
            batch = order[number * args.batch_size : (number + 1) * args.batch_size]
            rate = args.learning_rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * step / total))
            for group in optimizer.param_groups:
                group["lr"] = rate
            images = augment(pixels[batch].float() / 255, generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                features = model(model_inputs(images)).last_hidden_state
            parts = losses(heads, features, maps[batch].float(), values[batch])
            optimizer.zero_grad()
            sum(parts.values()).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            running = {name: running.get(name, 0.0) + part.item() for name, part in parts.items()}
            step += 1
            if args.max_seconds and time.time() - started > args.max_seconds:
                break
        means = ", ".join(f"{name} {value / (number + 1):.4f}" for name, value in running.items())
        print(f"epoch {epoch + 1}: {means}; {time.time() - started:.0f} s", flush=True)
        save_vision(args, model, heads)
    report(model, heads, pixels[:held_out], values[:held_out])


def save_vision(args, model, heads) -> None:
    """In 16 bits: half the size, and more exact than the training."""
    torch.save(heads.state_dict(), args.work / "heads.pt")
    copy = type(model)(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.float16).save_pretrained(WEIGHTS / "vision")


@torch.no_grad()
def report(model, heads, pixels, values) -> None:
    """Held-out films: how often levels and positions are told right, averaged over the tokens."""
    model.eval()
    features = torch.cat([model(model_inputs(part.float() / 255)).last_hidden_state for part in pixels.split(100)])
    said, sites = heads(features), len(SITES)
    called, truth = said["levels"].mean(dim=1).argmax(dim=-1), levels_of(values[:, :sites])
    for number, site in enumerate(SITES):
        _print_scores(site, called[:, number], truth[:, number])
    positions = positions_of(values[:, sites + 1 : -1])
    for device, logits, place in zip(DEVICES, said["positions"], positions, strict=True):
        _print_scores(device, logits.mean(dim=1).argmax(dim=-1), place)
    ratio = said["values"][..., sites].mean(dim=1) / 8 + 0.5
    print(f"heart ratio: mean error {float((ratio - values[:, sites]).abs().mean()):.4f}")


def _print_scores(name: str, called: torch.Tensor, truth: torch.Tensor) -> None:
    present = truth > 0
    f1 = 2 * (present & (called > 0)).sum() / (present.sum() + (called > 0).sum()).clamp(min=1)
    right = (called == truth)[present].float().mean()
    print(f"{name:22s} presence F1 {float(f1):.3f}, right level or position where present {float(right):.3f}")


# --- model ----------------------------------------------------------------------------------------------------------


def make_model(args) -> None:
    """The report generator of a finished demo in 16 bits, with its processor and a card that holds the demo's own scores."""
    import json

    from priorrg_hf import PriorRGForReportGeneration, PriorRGProcessor
    from priorrg_hf.publishing.model_card import render_model_card

    result = json.loads((args.work / "scores.json").read_text(encoding="utf-8"))
    settings, targets = result["settings"], result["targets"]
    folder = WEIGHTS / "priorrg-phantom-tiny"
    model = PriorRGForReportGeneration.from_pretrained(args.work / "stage2", dtype=torch.float16)
    for part in (model.config, model.config.vision_config, model.config.text_config, model.config.decoder_config):
        part._name_or_path = ""  # where the parts lay on this machine concerns nobody
    model.save_pretrained(folder)
    # Stored in 16 bits, computed in 32: that is what a CPU is fast and exact in.
    model.config.dtype = "float32"
    model.config.save_pretrained(folder)
    PriorRGProcessor.from_pretrained(args.work / "stage2").save_pretrained(folder)
    shown = ("presence_f1", "device_f1", "severity_accuracy", "change_accuracy", "cause_accuracy", "comparison_without_prior_rate", "bleu_4")  # fmt: skip
    metrics = {
        f"{name} ({condition})": round(scores[name], 4)
        for condition, scores in result["scores"].items()
        for name in shown
        if scores.get(name) is not None
    }
    card = render_model_card(
        model.config,
        evaluation={
            "metrics": metrics,
            "dataset": f"phantom cohort of priorrg_hf (synthetic drawings), seed {settings['seed']}",
            "split": "test",
            "num_examples": int(result["scores"]["all inputs"]["reports"]),
            "protocol": "Facts counted against the drawings' known truth; greedy search. Says nothing about patients.",
        },
        model_name="priorrg-phantom-tiny",
        license="apache-2.0",
        base_models=(),
        training_data=(
            "Synthetic drawings only: the training split of "
            f"`make_phantom_cohort({settings['num_studies']}, seed={settings['seed']})` as `priorrg demo` makes it. No patient data. The model "
            "knows drawings and nothing of real films; it exists so that examples, notebooks and tests run offline with trained weights."
        ),
        training=(
            f"`priorrg demo` with its defaults: {settings['stage_1_epochs']:g} epoch of stage 1, {settings['stage_2_epochs']:g} of stage 2, "
            f"{settings['batch_size']} studies an update, on two processor cores. What the demo is held to: "
            + "; ".join(f"{name} {target['value']:.3f} ({target['bound']})" for name, target in targets.items())
            + "."
        ),
        with_code=False,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"{sum(path.stat().st_size for path in folder.iterdir()) / 2**20:.1f} MiB in {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["images", "tokenizer", "decoder", "vision", "model"])
    parser.add_argument(
        "--work", type=Path, default=Path("runs/phantom_weights"), help="folder for intermediate files"
    )
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=2000, help="updates of the decoder")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--max_seconds", type=int, default=0, help="end each epoch's remainder after this time")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--resume", action="store_true", help="go on from the stored encoder")
    args = parser.parse_args()
    {
        "images": make_images,
        "tokenizer": make_tokenizer,
        "decoder": make_decoder,
        "vision": make_vision,
        "model": make_model,
    }[args.part](args)


if __name__ == "__main__":
    main()
