"""What holds for every command: names, letters, places, errors, modes, dry runs. Taken from the table of options, not by hand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from priorrg_hf.cli import app, data, evaluation, generation, training
from priorrg_hf.cli.grammar import exit_code_of, refuse_unused
from priorrg_hf.phantom import write_phantom_cohort


ROOT = get_command(app)
COMMANDS = {name: command for name, command in ROOT.commands.items() if name != "data"}
COMMANDS |= {f"data {name}": command for name, command in ROOT.commands["data"].commands.items()}
MODES = {**training.MODES, **generation.MODES, **evaluation.MODES}
# Options that mean another thing in one command than in the others would be a fault; these differ in words only.
LONG = {
    "pretrain",
    "finetune",
    "precompute",
    "generate",
    "evaluate",
    "sweep",
    "ablate",
    "retrieve",
    "demo",
    "data check",
    "data convert",
}


def run(*arguments, **options):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def options_of(command):
    return [parameter for parameter in command.params if parameter.param_type_name == "option"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantom_cohort(folder, 40, 0, 56, laterals=False)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_whole_at_80_columns(name):
    result = run(*name.split(), "--help", env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert result.exit_code == 0 and "…" not in result.output
    for option in options_of(COMMANDS[name]):
        assert max(option.opts, key=len) in result.output


def test_one_name_one_letter_one_parameter():
    letters, names = {}, {}
    for command in COMMANDS.values():
        for option in options_of(command):
            long = [text for text in option.opts if text.startswith("--")]
            short = [text for text in option.opts if not text.startswith("--")]
            assert len(long) == 1 and not option.secondary_opts, f"{option.opts}: one spelling, and no --no- twin"
            letters.setdefault(long[0], set()).add(tuple(short))
            for letter in short:
                names.setdefault(letter, set()).add(long[0])
    assert {name: found for name, found in letters.items() if len(found) > 1} == {}
    assert {letter: found for letter, found in names.items() if len(found) > 1} == {}


def test_places():
    """The model is the first argument, studies are --data, results go to --output; nothing else is positional."""
    for name, command in COMMANDS.items():
        arguments = [parameter.name for parameter in command.params if parameter.param_type_name == "argument"]
        assert arguments in ([], ["model"], ["model", "repo_id"], ["checkpoint"], ["text"]), name
        names = {parameter.name for parameter in command.params}
        if name in LONG:
            assert {"dry_run", "quiet", "log_file", "json_output", "output"} <= names, name
        if "data" in names:
            assert {"format", "column", "image_root", "reports", "revision", "all_items"} <= names, name


@pytest.mark.parametrize("name", MODES)
def test_every_option_is_used_by_a_mode_and_refused_by_those_that_do_not_use_it(name):
    command = COMMANDS[name]
    parent = ROOT.make_context("priorrg", [name], resilient_parsing=True)
    for parameter in command.params:
        assert any(parameter.name not in mode.unused for mode in MODES[name]), parameter.name
        if parameter.param_type_name == "argument" or parameter.name == "help":
            continue
        value = (
            []
            if parameter.is_flag
            else ["a=b" if parameter.multiple else {"confidence": "0.9"}.get(parameter.name, "2")]
        )
        context = command.make_context(name, ["phantom", max(parameter.opts, key=len), *value], parent=parent)
        for mode in MODES[name]:
            if parameter.name in mode.unused:
                with pytest.raises(Exception, match=re.escape(f"is not used with {mode.name}")) as error:
                    refuse_unused(context, mode)
                assert mode.unused[parameter.name] in str(error.value.message)
            else:
                refuse_unused(context, mode)
    for mode in MODES[name]:
        assert set(mode.unused) <= {parameter.name for parameter in command.params}, (
            "the table names what is not there"
        )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("generate", "phantom", "--image", "a.png", "--limit", "2"), "--limit is not used with --image"),
        (
            ("generate", "phantom", "-d", "x.csv", "-o", "y", "--indication", "z"),
            "--indication is not used with --data",
        ),
        (("pretrain", "some/folder", "--tokenizer", "x"), "a trained model brings its tokenizer"),
        (("finetune", "some/folder", "--vision", "x"), "a trained model brings its vision encoder"),
        (("precompute", "some/folder", "-d", "x", "-o", "y", "--image-size", "56"), "brings its image size"),
        (("retrieve", "m", "-d", "x", "--classes", "a"), "--classes is not used with all studies"),
        (("evaluate", __file__, "--device", "cpu"), "--device is not used with a file of reports"),
        (("evaluate", "phantom", "-d", "x", "--processor", "y"), "a model brings its own"),
    ],
)
def test_each_command_with_modes_asks_the_table(call, said):
    result = run(*call)
    assert result.exit_code == 2 and said in result.output


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("generat",), "Did you mean 'generate'"),
        (("convert", "a.ckpt"), "convert-checkpoint"),
        (("evaluate", "phantom", "-d", "x", "--splitt", "test"), "Did you mean --split?"),
        (("pretrain", "tiny", "--gradient-acumulation-steps", "4"), "Did you mean --gradient-accumulation-steps?"),
        (("pretrain", "tiny", "--learning_rate"), "requires an argument"),
        (("pretrain", "tiny", "-d", "x", "-o", "y", "--weight-decay", "much"), "invalid float value"),
        (("finetune", "--column", "findings"), "FIELD=COLUMN"),
        (("data", "check", "-d", "x.csv", "--column", "=A"), "FIELD=COLUMN"),
        (("data", "check", "-d", "x.csv", "-c", "findings=A", "-c", "findings=B"), "twice"),
        (("data", "check", "x.csv"), "--data/-d"),
        (("data", "check", "-d", "no/such/table.csv"), "Expected one of"),
        (("generate", "phantom", "--image", "x.png", "--device", "cuda:99"), "cuda"),
        (("generate", "phantom", "--image", "x.png", "--device", "warp"), "warp"),
        (("data", "convert", "-d", "x.csv"), "--output"),
        (("generate", "phantom"), "--image"),
        (("generate", "no/such/model", "--image", "x.png"), "no/such/model"),
        (("generate", "phantom", "--image", "no/such/image.png"), "no/such/image.png"),
        (("generate", "phantom", "--image", "x.png", "--dtype", "float33"), "float33"),
        (("evaluate", "no_such.csv"), "there is no file"),
        (("sweep", "phantom", "-d", "x.csv", "--only", "weather"), "prior-gap"),
        (("ablate", "--seeds", "0,one"), "--seeds"),
        (("ablate", "--plan", __file__), "is not JSON"),
        (("push", "no/such/model", "me/x"), "no/such/model"),
        (("push", "phantom", "me/x", "--visibility", "some"), "private or public"),
        (("card", "phantom", "--evaluation", __file__), "no valid JSON"),
        (("export", "phantom"), "--output"),
        (("convert-checkpoint", __file__), "--output, --tokenizer, --view-positions"),
        (("phantom",), "--output"),
        (("phantom", "-o", "x", "--num-studies", "3"), "16"),
        (("pretrain", "tiny", "--config", "no_such"), "pretrain_8gpu"),
        (("pretrain", "tiny", "-d", "no_such.csv", "-o", "y"), "no_such.csv"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(call, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*call)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("error: ") == 1 and "Traceback" not in result.output
    assert said in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir()), "a call that fails leaves nothing behind"


def test_misspelt_columns_fields_and_views_are_answered_with_the_nearest(tmp_path):
    (tmp_path / "a.csv").write_text("study_id,patient_id,image,REPORT_TEXT\ns1,p1,a.png,Clear.\n")
    for column, meant in (("findings=REPORT_TXT", "'REPORT_TEXT'"), ("finding=REPORT_TEXT", "'findings'")):
        result = run("data", "check", "-d", tmp_path / "a.csv", "-c", column)
        assert result.exit_code == 2 and f"did you mean {meant}" in result.stderr
    Image.new("L", (64, 64)).save(tmp_path / "a.png")
    result = run("generate", "phantom", "--image", tmp_path / "a.png", "--view-position", "LATREAL", "--device", "cpu")
    assert result.exit_code == 2 and "Did you mean 'LATERAL'?" in result.stderr


def test_a_failed_run_is_1_and_a_wrong_call_is_2(monkeypatch):
    assert [exit_code_of(error) for error in (ValueError(), ImportError(), FileNotFoundError(2, "x"), KeyError())] == [
        2,
        2,
        2,
        1,
    ]
    assert [exit_code_of(error) for error in (OSError(28, "full"), FloatingPointError(), RuntimeError())] == [1, 1, 1]
    monkeypatch.setattr("priorrg_hf.cli.info.information", lambda: {}["odd"])
    result = run("info")
    assert result.exit_code == 1 and "unexpected KeyError" in result.stderr and "Traceback" not in result.output
    assert isinstance(run("info", env={"PRIORRG_TRACEBACK": "1"}).exception, KeyError)


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_every_trainer_field_is_taken_with_dashes_and_with_underscores(stage):
    fields = training.argument_fields(stage)
    assert len(fields) > 100
    command, parent = COMMANDS[stage], ROOT.make_context("priorrg", [stage], resilient_parsing=True)
    declared = {name for option in options_of(command) for name in option.opts}
    for field, action in fields.items():
        for name in (f"--{field}", "--" + field.replace("_", "-")):
            value = [] if action.nargs == "?" else ["1"]
            context = command.make_context(stage, ["tiny", name, *value, "--quiet"], parent=parent)
            assert context.params["model"] == "tiny" and context.params["quiet"]
            if name.replace("_", "-") not in declared:
                assert context.meta[training.TRAINER_ARGUMENTS] == [f"--{field}", *value]


def test_a_switch_of_the_trainer_leaves_the_model_alone():
    parent = ROOT.make_context("priorrg", ["pretrain"], resilient_parsing=True)
    for arguments in (["--bf16", "tiny"], ["--bf16", "true", "tiny"], ["--bf16=true", "tiny"]):
        context = COMMANDS["pretrain"].make_context("pretrain", arguments, parent=parent)
        assert context.params["model"] == "tiny"


def test_dry_runs_write_nothing_and_tell_what_would_happen(cohort, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = ("-d", cohort)
    quick = ("--max-length", 8, "--num-beams", 1, "--device", "cpu")
    training_options = (
        "--tokenizer",
        "phantom",
        "--image-size",
        56,
        "--use-cpu",
        "--batch-size",
        4,
        "--num-train-epochs",
        2,
    )
    calls = {
        ("pretrain", "tiny", *source, "-o", "out", *training_options): {"train_studies", "updates", "seconds", "writes"},
        ("finetune", "tiny", *source, "-o", "out", *training_options): {"train_studies", "updates", "seconds", "writes"},
        ("precompute", "tiny", *source, "-o", "out", "--tokenizer", "phantom", "--image-size", 56): {"images", "seconds", "writes"},
        ("generate", "phantom", *source, "-s", "all", "-o", "out", *quick): {"studies", "seconds", "writes"},
        ("evaluate", "phantom", *source, "-s", "all", "-o", "out", *quick): {"studies", "seconds", "writes"},
        ("sweep", "phantom", *source, "-s", "all", "-o", "out", "--only", "prior", *quick): {"studies", "settings", "seconds"},
        ("ablate", "--only", "full", "-o", "out"): {"trainings", "variants", "seeds", "writes"},
        ("data", "check", *source): {"studies", "format"},
        ("data", "convert", *source, "-o", "out"): {"studies", "format", "writes"},
        ("demo", "-o", "out"): {"num_studies", "seconds", "writes"},
        ("phantom", "-o", "out"): {"studies", "writes"},
        ("push", "phantom", "me/x"): {"files", "writes"},
        ("export", "phantom", "-o", "out"): {"writes"},
    }  # fmt: skip
    for call, facts in calls.items():
        result = run(*call, "--dry-run", "--json", "--quiet")
        assert result.exit_code == 0, (call, result.output)
        plan = json.loads(result.stdout)
        assert plan["dry_run"] and facts <= set(plan), (call, plan)
        assert not list(tmp_path.iterdir()), call
        assert result.stderr == "", call
    words = run("generate", "phantom", *source, "-s", "all", "-o", "out", *quick, "--dry-run").stdout
    assert words.startswith("Dry run: nothing was written.") and "takes about" in words


def test_quiet_is_silent_and_the_log_file_is_not(cohort, tmp_path):
    options = (
        "--tokenizer",
        "phantom",
        "--image-size",
        56,
        "--use-cpu",
        "--batch-size",
        4,
        "--max-steps",
        2,
        "--logging-steps",
        1,
    )
    log = tmp_path / "logs" / "run.log"
    result = run(
        "pretrain", "tiny", "-d", cohort, "-o", tmp_path / "out", *options, "--quiet", "--json", "--log-file", log
    )
    assert result.exit_code == 0, result.output
    assert result.stderr == "" and json.loads(result.stdout)["steps"] == 2
    entries = [json.loads(line.split(": ", 1)[1]) for line in log.read_text().splitlines() if '"loss"' in line]
    assert [entry["step"] for entry in entries] == [1, 2]


def test_training_shows_one_line_and_no_dictionaries(cohort, tmp_path):
    command = [
        sys.executable, "-m", "priorrg_hf", "pretrain", "tiny", "-d", str(cohort), "-o", str(tmp_path / "out"), "--tokenizer", "phantom",
        "--image-size", "56", "--use-cpu", "--batch-size", "4", "--max-steps", "3", "--logging-steps", "1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "{" not in done.stdout + done.stderr
    assert "training: 24/24 studies" in done.stderr and "loss" in done.stderr and "studies/s" in done.stderr


def test_shell_completion():
    def complete(*words):
        environment = {
            **os.environ, "_PRIORRG_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1),
        }  # fmt: skip
        script = Path(sys.executable).parent / "priorrg"
        return subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60).stdout.split()

    assert complete("priorrg", "gen") == ["generate"]
    assert "--data" in complete("priorrg", "generate", "phantom", "--da")
    assert complete("priorrg", "generate", "phantom", "--dtype", "bf") == ["bfloat16"] or complete(
        "priorrg", "generate", "phantom", "--dtype", "bfl"
    ) == ["bfloat16"]
    assert complete("priorrg", "sweep", "phantom", "--only", "prior-g") == ["prior-gap"]


def test_info_holds_what_a_bug_report_needs():
    facts = json.loads(run("info", "--json").stdout)
    assert {"priorrg_hf", "python", "platform", "packages", "extras", "devices"} <= set(facts)
    assert facts["packages"]["torch"] and set(facts["extras"]) >= {
        "train",
        "metrics",
        "dicom",
        "peft",
        "export",
        "app",
    }
    shown = run("info").stdout
    assert "extra dicom" in shown and "CUDA" in shown


def test_data_group_is_the_same_kind_of_group():
    assert type(get_command(data.data_app)) is type(ROOT)


def test_the_makefile_calls_commands_as_they_are(tmp_path):
    """`make demo` is the first command that anybody types."""
    lines = (Path(__file__).resolve().parents[2] / "Makefile").read_text(encoding="utf-8").splitlines()
    calls = [line.split("priorrg ", 1)[1].split() for line in lines if "/priorrg " in line]
    assert ["demo", "--output", "demo_output"] in calls
    for call in calls:
        assert run(*call, "--dry-run").exit_code == 0
