"""Who may import whom: the arrows between the parts of the package, read from the import statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import aecodec

PACKAGE = Path(aecodec.__file__).parent
BENCH = PACKAGE.parent / "bench"

#: The pipeline is one layer of several modules.
CODEC = {
    "arguments",
    "codec",
    "files",
    "filter_fitting",
    "inspection",
    "levels",
    "partial",
    "post_filter",
    "quantisation",
    "refinement",
    "residuals",
    "sections",
    "targets",
    "verification",
    "windows",
}
#: Part -> the parts that it may import. ``__init__`` hands on names, and may see what is public.
ALLOWED = {
    "errors": set(),
    "_version": set(),
    "container": {"errors"},
    "streams": {"errors"},
    "image": {"errors", "streams"},
    "entropy": {"errors"},
    "models": {"errors", "entropy"},
    "runtime": {"errors", "models", "networks"},
    "networks": {"errors"},
    "training": {
        "errors",
        "networks",
        "entropy",
        "models",
        "container",
        "image",
        "runtime",
        "codec",
        "__init__",
    },
    "codec": {"errors", "streams", "container", "image", "entropy", "models", "runtime"},
    "pillow": {"errors", "streams", "codec", "container", "image", "__init__"},
    "cli": {
        "errors",
        "streams",
        "codec",
        "container",
        "image",
        "models",
        "runtime",
        "training",
        "_version",
        "__init__",
    },
    "__init__": {"errors", "codec", "container", "image", "_version"},
    "__main__": {"cli"},
}
#: Package from elsewhere -> the modules that may import it (a folder stands for all modules in it).
OWNERS = {
    "constriction": {"entropy/coder.py"},
    "onnxruntime": {"runtime/onnx.py"},
    "onnx": {"training", "runtime/onnx.py"},
    "keras": {"networks", "training", "runtime/keras.py"},
    "tensorflow": {"networks", "training", "runtime/keras.py"},
    "jax": {"networks", "training", "runtime/keras.py"},
    "click": {"cli", "training"},
    "torch": set(),
}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def imported(path: Path, *, running: bool = False) -> Iterator[str]:
    """The names that a module imports; with ``running`` not those that are for type checkers alone."""
    for node in walk(ast.parse(path.read_text(encoding="utf-8")), running):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def walk(node: ast.AST, running: bool) -> Iterator[ast.AST]:
    if running and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from walk(child, running)


def part_of(path: Path) -> str:
    inside = path.relative_to(PACKAGE).parts
    return layer(inside[0].removesuffix(".py"))


def layer(name: str) -> str:
    return "codec" if name in CODEC else name


def part_of_name(name: str) -> str:
    """The part that an absolute name inside of aecodec belongs to."""
    inner = name.split(".")[1:]
    known = inner and ((PACKAGE / inner[0]).is_dir() or (PACKAGE / f"{inner[0]}.py").is_file())
    return layer(inner[0]) if known else "__init__"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_downwards(path: Path) -> None:
    part = part_of(path)
    parts = {part_of_name(name) for name in imported(path) if name.split(".")[0] == "aecodec"}
    assert parts <= ALLOWED[part] | {part}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_packages_are_imported_by_their_owners_alone(path: Path) -> None:
    inside = path.relative_to(PACKAGE)
    for name in imported(path):
        owners = OWNERS.get(name.split(".")[0])
        if owners is not None:
            assert {inside.as_posix(), inside.parts[0]} & owners, f"{inside} imports {name}"


def test_runtimes_know_models_for_typing_only() -> None:
    for path in (PACKAGE / "runtime").glob("*.py"):
        assert not [name for name in imported(path, running=True) if name.startswith("aecodec.models")]


def test_nothing_imports_bench_tests_or_what_stands_above_it() -> None:
    for path in modules():
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & {"bench", "tests"}, path


def test_bench_uses_the_public_interface_alone() -> None:
    for path in BENCH.rglob("*.py"):
        for name in imported(path):
            inner = name.split(".")[1:]
            if name.split(".")[0] == "aecodec" and inner:
                assert inner[0] in aecodec.__all__, f"{path} imports {name}"


def test_the_container_needs_the_standard_library_alone() -> None:
    import sys

    roots = {name.split(".")[0] for name in imported(PACKAGE / "container.py")}
    assert roots - {"aecodec", "__future__"} <= sys.stdlib_module_names
