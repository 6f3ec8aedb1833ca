"""Holds that what a module says is public exists, is sorted, and is all that nas offers."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import nas

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("nas", "search_spaces")
    for path in (ROOT / package).rglob("*.py")
    if path.stem != "__main__"
    and len(ast.parse(path.read_text(encoding="utf-8")).body) > 1  # not only a docstring
)


def isort_key(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then functions: the order that ruff writes."""
    return not name.isupper(), not name[0].isupper(), name


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_sorted(name: str) -> None:
    module = importlib.import_module(name)
    names = module.__all__
    assert list(names) == sorted(set(names), key=isort_key)
    for public in names:
        assert not public.startswith("_")
        value = getattr(module, public)
        is_module = f"{name}.{public}" in MODULES
        assert is_module == isinstance(value, ModuleType), f"{name}.{public} hides the module of its name"


def test_nas_offers_exactly_what_it_reexports() -> None:
    tree = ast.parse(Path(nas.__file__).read_text(encoding="utf-8"))
    aliases = [alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert {alias.asname for alias in aliases if alias.asname == alias.name} == set(nas.__all__)
