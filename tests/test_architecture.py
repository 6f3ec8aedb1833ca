"""Holds decisions about the house that no other tool checks: who imports whom, what no module does."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import resolve_name
from itertools import product
from pathlib import Path

import pytest

import nas

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("nas", "search_spaces") for path in (ROOT / package).rglob("*.py"))

# From the ground up: a room may import from the floors below its own, and from its own floor only as listed.
FLOORS = (
    ("errors", "files", "metric", "reach"),
    ("interval",),
    ("op", "choices"),
    ("chains",),
    ("canonical", "fragments"),
    ("graph",),
    ("window",),
    ("ops",),
    ("net", "stored"),
    ("space", "layers"),
    ("cost", "budget", "pareto", "bundle", "onnx"),
    ("data", "cascade", "runtime"),
    ("simulation",),
    ("latency", "search"),
    ("model",),
    ("supernet", "train", "compress"),
    ("export",),
    ("report", "web"),
    ("cli",),
)
SAME_FLOOR = {("budget", "cost"), ("onnx", "bundle")}
MEASURING, TENSORS = ("latency", "search"), ("model", "supernet", "train", "compress")
APART = set(product(TENSORS, MEASURING))  # two wings: what trains knows nothing of who measures and searches
RUNTIME_IMPORTS = {"numpy", "onnxruntime", "psutil"} | {
    f"nas.{room}" for room in ("budget", "bundle", "errors", "metric", "runtime")
}
TORCH_FREE = {room for floor in FLOORS[: FLOORS.index(MEASURING) + 1] for room in floor}
PICKLES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
BANNED_NAMES = {"base", "common", "core", "helpers", "misc", "utils"}

STORY = {room: height for height, floor in enumerate(FLOORS) for room in floor}


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """The part of nas a dotted name belongs to; empty for nas itself."""
    return name.partition(".")[2].partition(".")[0]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each import, wherever it stands; the name is empty for a plain `import module`."""
    package = module(path) if path.name == "__init__.py" else module(path).rpartition(".")[0]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                inner = source == "nas" and alias.name in STORY  # `from nas import graph` is nas.graph
                yield (f"nas.{alias.name}", "") if inner else (source, alias.name)


def each_file(*packages: str) -> pytest.MarkDecorator:
    files = [path for path in FILES if module(path).startswith(packages)]
    return pytest.mark.parametrize("path", files, ids=module)


@each_file("nas")
def test_imports_go_one_way(path: Path) -> None:
    here = room(module(path))
    if here in ("", "__main__"):  # the front doors
        return
    assert here in STORY, f"nas.{here} must stand on a floor; add it to FLOORS"
    for name, _ in imports(path):
        assert not name.startswith("search_spaces"), "the engine knows no particular network"
        if name.split(".")[0] != "nas" or room(name) == here:
            continue
        there = room(name)
        assert there, "a module of nas imports from the module that owns a name, not from nas"
        assert STORY[there] < STORY[here] or (here, there) in SAME_FLOOR, f"{here} stands below {there}"
        assert (here, there) not in APART, f"{here} must not know {there}"


@each_file("nas")
def test_floors_without_torch(path: Path) -> None:
    here = room(module(path))
    banned = set()
    if here in TORCH_FREE | {"", "__main__"}:
        banned = {"torch"} if here in MEASURING else {"torch", "optuna"}
    assert not banned & {name.split(".")[0] for name, _ in imports(path)}


@each_file("nas.runtime")
def test_runtime_needs_only_what_ships(path: Path) -> None:
    for name, _ in imports(path):
        top = name.split(".")[0]
        part = top if top != "nas" else f"nas.{room(name)}"
        assert top in sys.stdlib_module_names or part in RUNTIME_IMPORTS, f"{name} does not ship to a device"


@each_file("search_spaces")
def test_spaces_use_public_names_only(path: Path) -> None:
    for name, what in imports(path):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names or top in ("nas", "search_spaces"), (
            f"a space does not need {name}"
        )
        if top == "nas" and what:
            assert what in import_module(name).__all__, f"{what} is not a public name of {name}"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "nas":
            assert node.attr in nas.__all__ or node.attr in STORY, f"{node.attr} is not a public name of nas"


@each_file("nas", "search_spaces")
def test_what_no_module_does(path: Path) -> None:
    for node in ast.walk(tree(path)):
        assert not isinstance(node, ast.Global), f"global in line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert module(path).startswith("nas.cli"), f"print in line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
            assert node.attr not in ("save", "load"), f"torch.{node.attr} pickles, in line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False
    assert not PICKLES & {name.split(".")[0] for name, _ in imports(path)}


@each_file("nas", "search_spaces")
def test_sizes_and_names(path: Path) -> None:
    names = module(path).split(".")
    assert not BANNED_NAMES & set(names)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    body = tree(path)
    top_functions = {node.name for node in body.body if isinstance(node, ast.FunctionDef)}
    assert names[-1] not in top_functions, "modules are nouns, functions are verbs"
    for node in ast.walk(body):
        if isinstance(node, ast.FunctionDef):
            start = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
            assert (node.end_lineno or 0) - (start or 0) < 40, f"{node.name} is longer than 40 lines"
            positional = [argument.arg for argument in node.args.posonlyargs + node.args.args]
            assert len(positional) - (positional[:1] in (["self"], ["cls"])) <= 4, (
                f"{node.name} takes too many"
            )


@each_file("nas", "search_spaces")
def test_classes_are_abstract_or_final(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef) and node.name != "NasError":  # the root of its tree
            words = {ast.unparse(part) for part in node.bases + node.decorator_list}
            assert words & {"ABC", "Protocol", "final"}, f"{node.name} must be abstract or final"


@pytest.mark.parametrize("names", ["nas, search_spaces.mobile", "nas.cli, nas.data, nas.runtime"])
def test_importing_is_light(names: str) -> None:
    heavy = {"onnx", "optuna", "pandas", "torch"}
    program = f"import sys, {names}; print(*(sys.modules.keys() & {heavy}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
