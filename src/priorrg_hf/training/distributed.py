"""Collectives that keep gradients, for losses over the batch of all processes.

Only public `torch.distributed` calls that every backend (gloo, nccl) has; without a process group everything is the identity.
"""

import torch
import torch.distributed as dist
from torch import nn


def world_size() -> int:
    """Number of processes of the default group, 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Rank in the default group, 0 without one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_processes(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Sum of a tensor over all processes, without gradients; every process must call it."""
    if world_size() == 1:
        return tensor
    total = tensor.to(device, copy=True)
    dist.all_reduce(total)
    return total.to(tensor.device)


def _gather_rows(rows: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Rows of all processes, in rank order, and how many came from each. Processes may hold different numbers of rows."""
    count = torch.tensor([rows.shape[0]], device=rows.device)
    received = [torch.empty_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(received, count)
    counts = [int(value) for value in torch.cat(received)]
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: rows.shape[0]] = rows
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([part[:n] for part, n in zip(gathered, counts, strict=True)]), counts


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows):
        gathered, counts = _gather_rows(rows)
        start = sum(counts[: dist.get_rank()])
        ctx.own = slice(start, start + rows.shape[0])
        return gathered

    @staticmethod
    def backward(ctx, gradient):
        # Each process computed its own loss from all rows, so a row's gradient is the sum over the processes.
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[ctx.own]


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Concatenates the rows (first dimension) of all processes in rank order, with gradients to every process.

    The backward pass sums the gradients of all processes. When each of them computes the same loss over all rows and
    DistributedDataParallel averages the parameter gradients, the result is exactly the gradient of one process with the whole batch.

    Args:
        rows (`torch.Tensor` of shape `(rows, ...)`): the number of rows may differ between processes.

    Returns:
        `torch.Tensor` of shape `(rows of all processes, ...)`.
    """
    if world_size() == 1:
        return rows
    if rows.requires_grad:
        return _GatherRows.apply(rows)
    return _gather_rows(rows)[0]


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        total = tensor.contiguous().clone()
        if world_size() > 1:
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous().clone()
        if world_size() > 1:
            dist.all_reduce(gradient)
        return gradient


class SynchronizedBatchNorm(nn.modules.batchnorm._NormBase):
    """BatchNorm over dimension 1 whose training statistics are those of all processes, on CPU and GPU alike.

    `torch.nn.SyncBatchNorm` does the same on GPUs only; having one implementation everywhere lets the equality with one process be
    tested without a GPU. Processes may hold different numbers of rows, none at all included, as long as all of them make the call.
    """

    accepts_empty_batches = True

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        self._check_input_dim(input)
        if not self.training or (world_size() == 1 and input.numel()):
            return nn.functional.batch_norm(
                input,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self._update_factor() if self.training else 0.0,
                self.eps,
            )
        channels = input.shape[1]
        shape = (1, channels) + (1,) * (input.dim() - 2)
        values = (input if input.dtype == torch.float64 else input.float()).transpose(0, 1).reshape(channels, -1)
        count = values.new_full((1,), values.shape[1])
        # Two sums instead of a sum of squares: the variance around the common mean loses no digits.
        totals = _SumOverProcesses.apply(torch.cat([values.sum(dim=1), count]))
        total = totals[-1].detach().clamp(min=1)
        mean = totals[:-1] / total
        variance = _SumOverProcesses.apply((values - mean[:, None]).square().sum(dim=1)) / total
        if self.running_mean is not None and self.running_var is not None and totals[-1] > 0:
            with torch.no_grad():
                factor = self._update_factor()
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
                unbiased = variance * (total / (total - 1).clamp(min=1))
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), factor)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        output = (input - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)

    def _update_factor(self) -> float:
        if self.num_batches_tracked is None:  # without running statistics
            return 0.0
        self.num_batches_tracked.add_(1)
        return self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """Replaces, in place, each trained BatchNorm of `model` by one over all processes. Parameters and buffers are kept."""
    for name, child in model.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and any(p.requires_grad for p in child.parameters()):
            synchronized = SynchronizedBatchNorm(
                child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
            )
            synchronized.weight, synchronized.bias = child.weight, child.bias
            for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(synchronized, buffer, getattr(child, buffer))
            synchronized.train(child.training)
            setattr(model, name, synchronized)
        else:
            synchronize_batch_norm(child)
    return model
