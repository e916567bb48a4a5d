"""The contrastive loss of a whole pool of studies, and its gradient with respect to cached embeddings.

The second half is GradCache (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021): the pool may
be larger than what fits into memory at once, because the loss needs only the embeddings of all studies together.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from ..model.modeling_priorrg import contrastive_loss
from .distributed import gather_rows, process_rank, world_size


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def pooled_contrastive_loss(
    image_embeds: torch.Tensor, text_embeds: torch.Tensor, logit_scale: torch.Tensor, study_ids: torch.Tensor
) -> torch.Tensor:
    """The symmetric multi-positive loss over the studies of all processes, with gradients to every process.

    Args:
        image_embeds, text_embeds (`torch.Tensor` of shape `(studies, hidden_size)`): L2-normalised, of this process.
        logit_scale (`torch.Tensor` of shape `()`): natural logarithm of the inverse temperature.
        study_ids (`torch.Tensor` of shape `(studies,)`): rows of the same study are positives of each other.
    """
    images, reports, ids = gather_rows(image_embeds), gather_rows(text_embeds), gather_rows(study_ids)
    # In 32 bits also under autocast: the products are scaled by 14 and more before the softmax.
    with torch.autocast(images.device.type, enabled=False):
        logits = at_least_float32(logit_scale).exp() * at_least_float32(images) @ at_least_float32(reports).t()
        return contrastive_loss(logits, ids, ids)


def embedding_gradients(
    image_embeds: torch.Tensor, text_embeds: torch.Tensor, logit_scale: torch.Tensor, study_ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss over the studies of all processes and its gradients for this process's embeddings and the logit scale.

    Returns `(loss, image_gradients, text_gradients, logit_scale_gradient)`. All processes compute the same loss, so nothing has to
    be exchanged in the backward direction.
    """
    counts = gather_rows(torch.tensor([image_embeds.shape[0]], device=image_embeds.device)).tolist()
    start = sum(counts[: process_rank()]) if world_size() > 1 else 0
    own = slice(start, start + image_embeds.shape[0])
    with torch.enable_grad(), torch.autocast(image_embeds.device.type, enabled=False):
        images = gather_rows(at_least_float32(image_embeds.detach())).requires_grad_()
        reports = gather_rows(at_least_float32(text_embeds.detach())).requires_grad_()
        scale = at_least_float32(logit_scale.detach()).requires_grad_()
        ids = gather_rows(study_ids)
        loss = contrastive_loss(scale.exp() * images @ reports.t(), ids, ids)
        image_gradients, text_gradients, scale_gradient = torch.autograd.grad(loss, (images, reports, scale))
    return loss.detach(), image_gradients[own], text_gradients[own], scale_gradient


@contextlib.contextmanager
def without_batch_norm_updates(model: nn.Module) -> Iterator[None]:
    """Within it BatchNorm layers normalise as usual but leave their running statistics alone."""
    layers = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.training and module.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """State of the generators that dropout draws from."""
    state = {"cpu": torch.random.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Puts back what `random_state` returned, so that a second forward pass drops the same units."""
    torch.random.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
