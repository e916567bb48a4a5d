"""Makes the small weights that the package carries, from phantoms alone, on a CPU.

    python scripts/make_phantom_weights.py images     # films and dense targets of the pre-training patients
    python scripts/make_phantom_weights.py tokenizer  # byte-level BPE of phantom reports and contexts
    python scripts/make_phantom_weights.py vision     # the vision encoder (DINOv2 shape)
    python scripts/make_phantom_weights.py model      # both stages with `priorrg demo`'s recipe -> priorrg-phantom-tiny

The vision encoder stands where RAD-DINO stands in the published system. RAD-DINO was pre-trained by self-supervision on
real films; this one is pre-trained *with supervision from the phantoms' known truth* (where each structure lies, how severe each finding is, how
wide the heart is), because that takes minutes instead of days. It has never seen a patient of the demo's cohorts: those have
other seeds. It sees neither reports, nor contexts, nor priors.
"""

import argparse
import math
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from priorrg_hf.data.phantom import make_patient, render_visit, write_texts
from priorrg_hf.data.phantom.anatomy import Shape
from priorrg_hf.data.phantom.facts import DEVICES, SITES
from priorrg_hf.data.phantom.rendering import cardiothoracic_ratio


WEIGHTS = Path(__file__).resolve().parents[1] / "src/priorrg_hf/data/phantom/weights"
IMAGE_SIZE, PATCH_SIZE = 112, 14
GRID = IMAGE_SIZE // PATCH_SIZE
# Far from the seeds that anyone would use for a cohort.
PRETRAINING_SEED, TOKENIZER_SEED = 900_001, 900_002
MEAN, STD = 0.5307, 0.2583

# Dense targets: how much of each patch a structure covers. The heart's site is the heart itself.
MAPS = ("lungs", "heart", *(site for site in SITES if site != "cardiomegaly"), *DEVICES)
# Thin things cover little of a patch, and are asked for as loudly as large ones.
THIN = torch.tensor([4.0 if name in DEVICES or name == "atelectasis" else 1.0 for name in MAPS])
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

    from priorrg_hf.processing_priorrg import build_priorrg_tokenizer

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


# --- vision ---------------------------------------------------------------------------------------------------------


class Heads(nn.Module):
    """What the encoder is asked during pre-training; thrown away afterwards.

    Each token is asked about the whole film (severities, devices), as the patch tokens of large self-supervised encoders know of
    the whole image too; a patch token is also asked what lies in its patch.
    """

    def __init__(self, width: int):
        super().__init__()
        self.maps = nn.Linear(width, len(MAPS))
        self.values = nn.Linear(width, len(SITES) + 1)
        self.flags = nn.Linear(width, len(POSITIONS) + 1)

    def forward(self, features: torch.Tensor):
        # (batch, patches, maps), (batch, tokens, values), (batch, tokens, flags)
        return self.maps(features[:, 1:]), self.values(features), self.flags(features)


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(batch, height, width) in [0, 1] with another brightness, contrast and noise. Nothing that moves the targets."""
    batch = len(pixels)
    gain = 1 + 0.12 * (2 * torch.rand(batch, 1, 1, generator=generator) - 1)
    offset = 0.06 * (2 * torch.rand(batch, 1, 1, generator=generator) - 1)
    noise = torch.randn(pixels.shape, generator=generator) * 0.03 * torch.rand(batch, 1, 1, generator=generator)
    return pixels * gain + offset + noise


def model_inputs(pixels: torch.Tensor) -> torch.Tensor:
    return ((pixels - MEAN) / STD)[:, None].expand(-1, 3, -1, -1)


def losses(heads: Heads, features: torch.Tensor, maps: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    said_maps, said_values, said_flags = heads(features.float())
    sites = len(SITES)
    maps = (maps * THIN).clamp(max=1.0)
    # Patches that a structure touches weigh more than the many that it does not.
    weight = 1 + 4 * (maps > 0.02).float()
    dense = (weight * (said_maps - maps).square()).mean()
    values = values[:, None].expand(-1, said_values.shape[1], -1)
    severity = nn.functional.smooth_l1_loss(said_values[..., :sites], values[..., :sites], beta=0.1)
    ratio = (said_values[..., sites] - 8 * (values[..., sites] - 0.5)).square().mean()
    flags = nn.functional.binary_cross_entropy_with_logits(said_flags, values[..., sites + 1 :])
    return dense, severity, ratio, flags


def make_vision(args) -> None:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    torch.set_num_threads(args.processes)
    generator = torch.Generator().manual_seed(0)
    config = Dinov2Config(
        image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, hidden_size=96, num_hidden_layers=4, num_attention_heads=3,
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
        running = torch.zeros(4)
        for number in range(steps_per_epoch):
            batch = order[number * args.batch_size : (number + 1) * args.batch_size]
            rate = args.learning_rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * step / total))
            for group in optimizer.param_groups:
                group["lr"] = rate
            images = augment(pixels[batch].float() / 255, generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                features = model(model_inputs(images)).last_hidden_state
            parts = losses(heads, features, maps[batch].float(), values[batch])
            loss = 8 * parts[0] + 4 * parts[1] + parts[2] + 4 * parts[3]
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            running += torch.tensor([float(part.detach()) for part in parts])
            step += 1
            if args.max_seconds and time.time() - started > args.max_seconds:
                break
        means = ", ".join(f"{value:.4f}" for value in (running / (number + 1)).tolist())
        print(f"epoch {epoch + 1}: dense, severity, ratio, devices {means}; {time.time() - started:.0f} s", flush=True)
        save_vision(args, model, heads)
    report(model, heads, pixels[:held_out], maps[:held_out], values[:held_out])


def save_vision(args, model, heads) -> None:
    """In 16 bits: half the size, and more exact than the training."""
    torch.save(heads.state_dict(), args.work / "heads.pt")
    copy = type(model)(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.float16).save_pretrained(WEIGHTS / "vision")


@torch.no_grad()
def report(model, heads, pixels, maps, values) -> None:
    """Held-out films: error of the severity, and how well a threshold on it tells presence."""
    model.eval()
    features = torch.cat([model(model_inputs(part.float() / 255)).last_hidden_state for part in pixels.split(100)])
    _, said, flags = heads(features)
    said, flags = said.mean(dim=1), flags.mean(dim=1)
    for number, site in enumerate(SITES):
        truth, guess = values[:, number], said[:, number]
        present, called = truth > 0.05, guess > 0.06
        f1 = 2 * (present & called).sum() / (present.sum() + called.sum()).clamp(min=1)
        error = (truth - guess)[present].abs().mean()
        print(f"{site:22s} presence F1 {float(f1):.3f}, mean error of the severity {float(error):.3f}")
    print(f"heart ratio: mean error {float((said[:, len(SITES)] / 8 + 0.5 - values[:, len(SITES)]).abs().mean()):.4f}")
    truth = values[:, len(SITES) + 1 :] > 0.5
    called = flags > 0
    for number, name in enumerate([*POSITIONS, "AP"]):
        both = (truth & called)[:, number].sum()
        f1 = 2 * both / (truth[:, number].sum() + called[:, number].sum()).clamp(min=1)
        print(f"{name}: F1 {float(f1):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["images", "tokenizer", "vision"])
    parser.add_argument(
        "--work", type=Path, default=Path("runs/phantom_weights"), help="folder for intermediate files"
    )
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--max_seconds", type=int, default=0, help="end each epoch's remainder after this time")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--resume", action="store_true", help="go on from the stored encoder")
    args = parser.parse_args()
    {"images": make_images, "tokenizer": make_tokenizer, "vision": make_vision}[args.part](args)


if __name__ == "__main__":
    main()
