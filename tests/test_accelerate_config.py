"""accelerate's configuration: written without a question, read by accelerate's own loader, never over a person's own."""

from pathlib import Path

import pytest

from lorabake import accelerate_config, hardware

DATA = Path(__file__).parent / "data" / "nvidia_smi"
NO_CARD = hardware.Seen(())


def seen(file):
    return hardware.Seen(tuple(hardware.parse((DATA / file).read_text(encoding="utf-8"))))


@pytest.mark.parametrize(("found", "precision", "use_cpu"), [(seen("rtx4090.csv"), "bf16", False), (NO_CARD, "no", True)])
def test_accelerates_own_loader_reads_it(tmp_path, found, precision, use_cpu):
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    accelerate_config.write(tmp_path, found)
    config = config_args.load_config_from_file(str(tmp_path / accelerate_config.NAME))
    assert type(config).__name__ == "ClusterConfig"
    assert (config.mixed_precision, config.use_cpu, config.num_processes, config.num_machines) == (precision, use_cpu, 1, 1)
    assert str(config.compute_environment).endswith("LOCAL_MACHINE") and str(config.distributed_type).endswith("NO")
    assert not (config.dynamo_config or config.deepspeed_config or config.fsdp_config)


def test_a_card_without_bf16_gets_fp16():
    (card, *_) = seen("rtx4090.csv").cards
    older = hardware.Seen((hardware.Card(0, "NVIDIA GeForce RTX 2060", 6, 5, (7, 5), card.driver, ""),))
    assert "mixed_precision: 'fp16'" in accelerate_config.text(older)


def test_accelerate_would_be_started_with_it(tmp_path):
    launch = pytest.importorskip("accelerate.commands.launch")
    accelerate_config.write(tmp_path, NO_CARD)
    words = ["--config_file", str(tmp_path / accelerate_config.NAME), "script.py", "--word"]
    args, _, precision_is_ours = launch._validate_launch_command(launch.launch_command_parser().parse_args(words))
    assert args.cpu or args.use_cpu
    assert (args.num_processes, args.mixed_precision, args.training_script_args) == (1, "no", ["--word"]) and precision_is_ours


def test_it_follows_the_card_and_leaves_a_persons_own(tmp_path, capsys):
    path = tmp_path / accelerate_config.NAME
    accelerate_config.write(tmp_path, NO_CARD)
    accelerate_config.write(tmp_path, seen("rtx4090.csv"))
    assert "use_cpu: false" in path.read_text(encoding="utf-8") and capsys.readouterr().err == ""
    mine = path.read_text(encoding="utf-8").replace("num_processes: 1", "num_processes: 2")
    path.write_text(mine, encoding="utf-8")
    accelerate_config.write(tmp_path, NO_CARD)
    assert path.read_text(encoding="utf-8") == mine and "changed by hand" in capsys.readouterr().err


def test_git_ignores_it():
    ignored = (Path(__file__).parents[1] / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f"/{accelerate_config.NAME}" in ignored
