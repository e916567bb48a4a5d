"""Two gloo processes equal one process: contrastive loss and gradients, reports, BatchNorm over processes, cached negatives."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_run import shares, update
from training_helpers import largest_difference


HERE = Path(__file__).parents[1]

# BatchNorm either keeps its statistics, or takes them over all processes. (Each process by itself, the default, is what one big batch
# can't reproduce.)
FIXED, SYNCHRONISED = {"freeze_batch_norm": True}, {"sync_batch_norm": True}
CASES = [
    {"stage": 1, "case": "all priors", "arguments": FIXED},
    {"stage": 1, "case": "unequal priors", "arguments": SYNCHRONISED},
    {"stage": 1, "case": "no prior in one process", "arguments": SYNCHRONISED},
    {"stage": 1, "case": "no prior in one process", "arguments": FIXED},
    {"stage": 1, "case": "no prior anywhere", "arguments": SYNCHRONISED},
    {"stage": 1, "case": "unequal batches", "arguments": SYNCHRONISED},
    {
        "stage": 1,
        "case": "unequal priors",
        "batches": [[0, 2], [2, 3]],
        "arguments": {**FIXED, "gradient_cache": True, "gradient_accumulation_steps": 2},
    },
    {"stage": 2, "case": "unequal priors", "arguments": SYNCHRONISED},
    {"stage": 2, "case": "no prior in one process", "arguments": SYNCHRONISED},
    {
        "stage": 2,
        "case": "no prior in one process",
        "batches": [[0, 2], [2, 3]],
        "arguments": {**FIXED, "gradient_accumulation_steps": 2},
    },
]


def launch(folder: Path, script: str, *arguments: str, processes: int = 2, timeout: float = 240) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []
    for rank in range(processes):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
        }
        log = (folder / f"log{rank}.txt").open("w")
        command = [sys.executable, str(HERE / script), *arguments]
        running.append(subprocess.Popen(command, cwd=HERE, env=environment, stdout=log, stderr=subprocess.STDOUT))
    try:
        codes = [process.wait(timeout=timeout) for process in running]
    finally:
        for process in running:
            process.kill()
    logs = "\n".join((folder / f"log{rank}.txt").read_text()[-2500:] for rank in range(processes))
    assert codes == [0] * processes, logs


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    launch(folder, "distributed_run.py", str(folder), json.dumps(CASES))
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize(
    "index", range(len(CASES)), ids=[f"{c['stage']}-{c['case']}-{list(c['arguments'])}" for c in CASES]
)
def test_two_processes_equal_one(results, index, tmp_path):
    case = CASES[index]
    arguments = {
        k: v for k, v in case["arguments"].items() if k not in ("gradient_cache", "gradient_accumulation_steps")
    }
    loss, gradients, statistics = update(
        tmp_path, case["stage"], [[row for rows in shares(case["case"]) for row in rows]], **arguments
    )
    for rank in range(2):
        found_loss, found, found_statistics = results[rank]["updates"][index]
        assert largest_difference(gradients, found) < 1e-7
        for name, tensor in statistics.items():
            assert torch.allclose(tensor, found_statistics[name], atol=1e-6), name
    losses = [results[rank]["updates"][index][0] for rank in range(2)]
    if case["stage"] == 1:
        assert losses == pytest.approx([loss, loss], abs=1e-6)
    else:  # each process logs its share, scaled so that their mean is the loss
        assert sum(losses) / 2 == pytest.approx(loss, abs=1e-6)


def test_whole_runs_with_evaluation_and_checkpoints(results):
    """Batches without any prior in one process or in both: nothing hangs, and the processes stay in step."""
    for stage in (0, 1):
        first, second = (results[rank]["runs"][stage] for rank in range(2))
        assert first == second and first["steps"] == 4
        assert min(first["shares"]) == 0.0 and Path(first["best"], "model.safetensors").is_file()
