"""Settings of the whole test run."""

import os


# Before anything imports a Hugging Face library: no test may reach for the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny models gain nothing from threads, and lose much where tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config):
    # Used by transformers' own suites, see test_transformers_common.py.
    for marker in (
        "accelerate_tests",
        "flash_attn_test",
        "flash_attn_2_test",
        "flash_attn_3_test",
        "flash_attn_4_test",
        "generate",
        "is_expert_parallel_test",
        "is_fsdp_test",
        "is_pipeline_test",
        "is_staging_test",
        "is_tensor_parallel_test",
        "is_training_test",
        "order",
        "slow",
        "torch_compile_test",
        "torch_export_test",
    ):
        config.addinivalue_line("markers", f"{marker}: a test of transformers' own suites")
