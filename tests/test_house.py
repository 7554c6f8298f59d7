"""House rules that a machine can check: sizes, broad excepts, names, encodings, a test file for each module. (design: Style, Layout)"""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PY = ROOT / "py"
LIBRARY = PY / "lorabake"
FILES = sorted(PY.rglob("*.py"))
SCRIPTS = sorted(PY.glob("*.py"))

MOST_LINES, MOST_SCRIPT_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 400, 60, 60, 5
LONGER_FUNCTIONS = {"lorabake/trainer.py:train": 120}  # the one loop that is read from top to bottom
MORE_PARAMETERS = {"lorabake/schedule.py:factor": 6}  # the name of a schedule, the step, and the four numbers of its formula
BROAD = {"Exception", "BaseException"}
BROAD_ALLOWED = {"lorabake/errors.py:run"}

# Modules without a test file of their own name, and where they are tested.
TESTED_IN = {
    "answers_file": "test_new_profile",
    "conversion": "test_converter",
    "convert_plan": "test_converter",
    "convert_words": "test_converter",
    "folder_names": "test_scan",
    "anchors": "test_model_pair",
    "extraction": "test_extractor",
    "kohya": "test_profile",
    "layers": "test_lora_names",
    "lora_keys": "test_lora_names",
    "lora_metadata": "test_model_kinds",
    "lora_words": "test_lora_merge",
    "kohya_metadata": "test_lora_profile",
    "layouts": "test_families",
    "locon": "test_networks",
    "loads_a1111": "test_lora_loading",
    "loads_comfy": "test_lora_loading",
    "loads_diffusers": "test_lora_loading",
    "lora": "test_networks",
    "resize_metadata": "test_lora_resize",
    "lora_places": "test_lora_loading",
    "lora_info_text": "test_lora_info",
    "model_facts": "test_lora_info",
    "modelfile": "test_families",
    "pickles": "test_families",
    "plan_advice": "test_plan",
    "plan_costs": "test_plan",
    "plan_data": "test_plan",
    "plan_estimate": "test_plan",
    "plan_fit": "test_plan",
    "plan_prompts": "test_plan",
    "plan_settings": "test_plan",
    "plan_types": "test_plan",
    "pythons": "test_builder",
    "report_charts": "test_report",
    "report_parts": "test_report",
    "report_pictures": "test_report",
    "report_run": "test_report",
    "report_settings": "test_report",
    "report_sheets": "test_report",
    "private_words": "test_lora_scrub",
    "profile_again": "test_lora_profile",
    "said_tags": "test_said",
    "yaml_lines": "test_lora_profile",
    "venvs": "test_builder",
    "setup_lock": "test_kept",
    "offline_make": "test_offline",
    "workshop": "test_builder",
    "switching": "test_releases",
    "shell_links": "test_shortcuts",
    "profile_checks": "test_profile",
    "profile_names": "test_profile",
    "scan_layout": "test_scan",
    "sd1_keys": "test_sd1",
    "settings_later": "test_settings",
    "special_kinds": "test_kinds",
    "tokenizer": "test_sd1",
    "wording": "test_plan",
    "review_api": "test_review",
    "review_state": "test_review",
    "tag_changes": "test_tag_job",
    "tag_files": "test_tag_job",
    "tag_words": "test_tag_job",
    "yaml_nodes": "test_profile",
}


def name_of(path: Path) -> str:
    return path.relative_to(PY).as_posix()


def functions(path: Path) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(f"{name_of(path)}:{node.name}", node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=[name_of(path) for path in paths])


@each(FILES)
def test_files_are_short(path):
    most = MOST_SCRIPT_LINES if path in SCRIPTS else MOST_LINES
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= most, f"{lines} lines, {most} at most: divide it"


@each(FILES)
def test_functions_are_short_and_take_few_things(path):
    found = []
    for name, node in functions(path):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > LONGER_FUNCTIONS.get(name, MOST_FUNCTION_LINES):
            found.append(f"{name} line {node.lineno}: {lines} lines")
        arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
        if len(arguments) > MORE_PARAMETERS.get(name, MOST_PARAMETERS) and node.name != "__init__":
            found.append(f"{name} line {node.lineno}: {len(arguments)} parameters")
    assert not found, "\n".join(found)


@each(FILES)
def test_nothing_is_caught_blindly(path):
    allowed = {node for name, function in functions(path) if name in BROAD_ALLOWED for node in ast.walk(function)}
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in kinds):
            found.append(node.lineno)
    lines = {node.lineno for node in allowed if isinstance(node, ast.ExceptHandler)}
    assert not [line for line in found if line not in lines], "only errors.run catches everything"


@each(FILES)
def test_text_files_are_opened_with_their_encoding(path):
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        method = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        owner = node.func.value.id if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) else ""
        if opens_text(method, owner, node) and not any(word.arg == "encoding" for word in node.keywords):
            found.append(f"{name_of(path)}:{node.lineno}")
    assert not found, f"encoding= is missing: {found}"


# Functions of these that are called open, read_text or write_text are not the built-in ones, or know their encoding.
OTHER_OPENERS = {
    "Image",
    "archive",
    "zipfile",
    "zipped",
    "tarfile",
    "gzip",
    "os",
    "webbrowser",
    *(path.stem for path in LIBRARY.rglob("*.py")),
}


def opens_text(method: str, owner: str, node: ast.Call) -> bool:
    if owner in OTHER_OPENERS:
        return False
    if method in ("read_text", "write_text"):
        return isinstance(node.func, ast.Attribute)
    if method != "open":
        return False
    mode = node.args[0] if isinstance(node.func, ast.Attribute) and node.args else node.args[1] if len(node.args) > 1 else None
    text = mode.value if isinstance(mode, ast.Constant) and isinstance(mode.value, str) else "r"
    return "b" not in text


@each(FILES)
def test_children_are_started_and_never_forked(path):
    """Windows cannot fork, and a forked copy of a process with threads or CUDA hangs elsewhere."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = getattr(node, "module", "") or ""
        if any(name.split(".")[0] == "multiprocessing" for name in (*names, module)) or "ProcessPoolExecutor" in names:
            found.append(f"line {node.lineno}: multiprocessing")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr.startswith("fork"):
            found.append(f"line {node.lineno}: os.{node.attr}")
    assert not found


@each(FILES)
def test_modules_say_what_they_are(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "a docstring: what it is, what it is not"


def test_the_script_folder_is_no_package():
    assert not (PY / "__init__.py").exists()


def test_no_name_hides_a_standard_module():
    names = {path.stem if path.suffix == ".py" else path.name for path in PY.iterdir()}
    assert not names & sys.stdlib_module_names


def test_there_is_no_drawer_for_everything():
    assert not [name_of(path) for path in FILES if path.stem in ("utils", "util", "helpers", "common", "misc")]


MODULES = [path for path in FILES if path.is_relative_to(LIBRARY) and path != LIBRARY / "__init__.py"]


@each(MODULES)
def test_each_module_has_a_test_file(path):
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    name = parts[-2] if parts[-1] == "__init__" else parts[-1]
    test = TESTED_IN.get(name, f"test_{name}")
    assert (ROOT / "tests" / f"{test}.py").exists(), f"write tests/test_{name}.py, or name the test file that covers it in TESTED_IN"


def test_the_list_of_modules_tested_elsewhere_is_true():
    assert set(TESTED_IN) <= {path.stem for path in MODULES}
    for name in TESTED_IN:
        assert not (ROOT / "tests" / f"test_{name}.py").exists(), f"{name} has a test file of its own now"
