"""The floors of the library: a module imports only from rows above its own in FLOORS, and F0 to F2 never import torch.

A new module is added to the row it belongs to; one that stands nowhere fails. Imports inside functions and under TYPE_CHECKING count too.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PY = Path(__file__).parents[1] / "py"
LIBRARY = PY / "lorabake"

# Rows from the ground up. Several rows of one floor: the lower ones do not know the upper ones.
FLOORS: tuple[tuple[str, str], ...] = (
    # standard library only: these run before anything is installed
    (
        "F0",
        "switching console closing wording kinds typed_paths pickers tag_words train_words flatten_words lora_words convert_words "
        "extract_words setup_words pe_version dll_needs web_mark policies magick shell_links",
    ),
    ("F0", "errors doctor_table"),
    ("F0", "disks doctor_system"),
    ("F0", "paths hardware asking shortcuts night_times power"),
    ("F0", "path_rules registration when_done"),
    ("F0", "doctor_windows scheduler task_notes toast"),
    ("F0", "venvs torch_builds"),
    ("F0", "installer pythons setup_lock release pins doctor_folder dll_files accelerate_config"),
    ("F0", "dlls kept release_files"),
    ("F0", "release_source release_git offline"),
    ("F0", "releases workshop"),
    ("F0", "offline_make"),
    ("F0", "builder"),
    ("F0", "environment offers"),
    ("F0", "doctor_ask doctor_environment doctor_fixes"),
    ("F0", "doctor dropped"),
    ("F0", "setup_job"),
    # plain facts, pictures, captions, settings; no torch up to F2
    ("F1", "networks pickles captions buckets schedule special_kinds yaml_nodes settings_later damage pixels webp"),
    ("F1", "modelfile images tag_query families.sd1_keys folder_names said"),
    ("F1", "families.lora_names"),
    ("F1", "families.layers families.lora_keys"),
    ("F1", "families.lora_targets"),
    ("F1", "families.lora_places"),
    ("F1", "loads_a1111 loads_comfy loads_diffusers"),
    ("F1", "lora_loading said_tags"),
    ("F1", "tag_edits upscale_layouts caption_checks tag_files tag_labels tag_presets"),
    ("F1", "tag_kinds tag_choice"),
    ("F1", "families.layouts hashes"),
    ("F1", "model_kinds families.anchors"),
    ("F1", "model_facts"),
    ("F1", "families"),
    ("F1", "settings settings_asked"),
    (
        "F2",
        "journal picture_facts locks kohya profile_checks plan_costs plan_prompts scan_layout runlog report_charts sheet prompts",
    ),
    ("F2", "picture_memory picture_checks"),
    ("F2", "profile_names scan plan_fit triggers tagger_input tag_scores thumbs repaint"),
    ("F2", "profile plan_data tag_changes masks"),
    ("F2", "tag_wish"),
    ("F2", "tag_writing set_aside"),
    ("F2", "checks_asked"),
    ("F2", "plan_types model_pair"),
    ("F2", "upscaled"),
    ("F2", "plan_checked"),
    ("F2", "plan_estimate plan_advice metadata lora_metadata"),
    ("F2", "lora_info_text private_words yaml_lines"),
    ("F2", "questions"),
    ("F2", "question_screens drafts answers_file"),
    ("F2", "kohya_metadata"),
    ("F2", "profile_again"),
    ("F2", "plan_settings suggest resize_metadata"),
    ("F2", "plan report_pictures report_run"),
    ("F2", "answer_checks profile_writing"),
    ("F2", "new_answers"),
    ("F2", "plan_text report_sheets"),
    ("F2", "new_profile"),
    ("F2", "interview"),
    ("F2", "report_parts report_settings check_sheet"),
    ("F2", "report"),
    # torch: device and dtype applied, files, ddpm maths
    ("F3", "device weights noise doctor_probe"),
    ("F3", "tensor_files"),
    # families and networks
    ("F4", "upscale_nets networks.lowrank"),
    ("F4", "svd"),
    ("F4", "differences"),
    ("F4", "families.tokenizer networks.lora optimizers attach"),
    ("F4", "families.sd1 networks.locon networks.deltas"),
    ("F4", "lora_weights"),
    ("F5", "lora_file"),
    ("F5", "dataset sampler conversion"),
    ("F5", "lora_dialects extraction"),
    ("F5", "extract_report"),
    ("F5", "convert_plan"),
    ("F5", "cache"),
    # the jobs
    ("F5", "merge_parts"),
    ("F6", "merge_into merge_loras"),
    ("F6", "merge_folder lora_resize"),
    ("F6", "lora_merge lora_info lora_scrub lora_profile"),
    ("F6", "lora_import"),
    ("F6", "trainer runs states stopper upscaler checks tag_models tagger"),
    ("F6", "upscale_try gallery longer tagging review_state"),
    ("F6", "review_api"),
    ("F6", "review"),
    ("F6", "flattener tag_job"),
    ("F6", "redrawing converter extractor"),
    ("F6", "bake"),
    ("F6", "jobs self_test"),
    ("F6", "night_run"),
    ("F6", "nights"),
)
ROW = {name: index for index, (_, names) in enumerate(FLOORS) for name in names.split()}
NO_TORCH = ("F0", "F1", "F2")


def module_name(path: Path) -> str:
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(LIBRARY.rglob("*.py")) if path != LIBRARY / "__init__.py"}


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, full dotted name) of everything that a file imports, `from a import b` as a.b."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def of_ours(dotted: str) -> str | None:
    """The module of lorabake that an imported name belongs to; None for the package itself and for others' packages."""
    if not dotted.startswith("lorabake."):
        return None
    name = dotted.removeprefix("lorabake.")
    while name and name not in ROW and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def test_every_module_has_a_floor():
    homeless = sorted(set(MODULES) - set(ROW))
    assert not homeless, f"add to FLOORS in tests/test_floors.py: {homeless}"


def test_no_module_stands_twice():
    assert len(ROW) == sum(len(names.split()) for _, names in FLOORS)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_rows_above_its_own(name):
    row = ROW[name]
    wrong = []
    for line, dotted in imports(MODULES[name]):
        other = of_ours(dotted)
        if other and other != name and ROW.get(other, len(FLOORS)) >= row:
            wrong.append(
                f"{MODULES[name].name}:{line}: {name} ({FLOORS[row][0]}) imports {other} ({FLOORS[ROW[other]][0] if other in ROW else '?'})"
            )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in MODULES if FLOORS[ROW.get(name, -1)][0] == "F0"])
def test_the_ground_floor_needs_only_the_standard_library(name):
    foreign = [dotted for _, dotted in imports(MODULES[name]) if dotted.split(".")[0] not in {*sys.stdlib_module_names, "lorabake"}]
    assert not foreign


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PY)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_floors_0_to_2_leave_torch_out():
    names = [f"lorabake.{name}" for name in MODULES if FLOORS[ROW.get(name, -1)][0] in NO_TORCH]
    heavy = "{'torch', 'diffusers', 'transformers', 'accelerate', 'numpy'}"
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint(sorted({heavy} & set(sys.modules)))"
    found = in_a_new_process(code)
    assert found in ("[]", "['numpy']"), found


def test_reading_a_profile_needs_neither_torch_nor_numpy():
    code = "import sys\nfrom lorabake import profile\nprint(sorted({'torch', 'numpy'} & set(sys.modules)))"
    assert in_a_new_process(code) == "[]"
