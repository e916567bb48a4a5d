"""`python -m priorrg_hf`, the same as `priorrg`; launchers take it: `torchrun --nproc_per_node 8 -m priorrg_hf pretrain ...`."""

from .cli import app


if __name__ == "__main__":
    app()
