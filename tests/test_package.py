"""The layout holds: packages listed, imports one way, a light `import bnnhw`."""
import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {"bnnhw": ROOT / "bnnhw", "bnnhw.train": ROOT / "train", "bnnhw.boards": ROOT / "boards"}


def modules():
    """Module name -> file, of the whole package."""
    found = {}
    for package, folder in SOURCES.items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[name] = file
    return found


def imported(name, file):
    """Absolute names of what a module of bnnhw imports, at its top or in its functions."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def under(name, *packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


TORCH_IMPORTERS = [f"bnnhw.importers.{name}" for name in ("torch", "torch_nodes", "torch_signs", "torch_examples", "brevitas")]

# Who may not import what, and except whom.
RULES = [
    ("gateware knows no network", lambda m: under(m, "bnnhw.gateware"),
     lambda i: under(i, "bnnhw") and not under(i, "bnnhw.gateware", "bnnhw.protocol") and i != "bnnhw"),
    ("baked layers know nothing of the rest", lambda m: under(m, "bnnhw.baked"),
     lambda i: under(i, "bnnhw") and not under(i, "bnnhw.baked") and i != "bnnhw"),
    ("ir knows no gateware", lambda m: m in ("bnnhw.ir", "bnnhw.tensors", "bnnhw.operations", "bnnhw.spatial", "bnnhw.artifact"),
     lambda i: under(i, "bnnhw.gateware", "amaranth")),
    ("the golden model shares no code with the gateware", lambda m: m == "bnnhw.reference",
     lambda i: under(i, "bnnhw.gateware", "amaranth", "bnnhw.lower", "bnnhw.stages")),
    ("only train, and the importers of torch's modules, know torch", lambda m: not under(m, "bnnhw.train", *TORCH_IMPORTERS),
     lambda i: under(i, "torch", "brevitas")),
    ("nothing but the command line imports train", lambda m: not under(m, "bnnhw.train"), lambda i: under(i, "bnnhw.train")),
]


@pytest.mark.parametrize("rule, who, forbidden", RULES, ids=[rule[0] for rule in RULES])
def test_imports_point_one_way(rule, who, forbidden):
    wrong = [f"{name} imports {what}" for name, file in modules().items() if who(name)
             for what in imported(name, file) if forbidden(what)]
    assert not wrong
    assert any(who(name) for name in modules()), "the rule speaks of nothing"


def test_the_rules_can_fail(tmp_path):
    file = tmp_path / "popcount.py"
    file.write_text("def f():\n    from .. import ir\n    from ..reference import run\n")
    names = list(imported("bnnhw.gateware.popcount", file))
    assert {"bnnhw.ir", "bnnhw.reference"} <= set(names)
    assert any(RULES[0][2](name) for name in names)


def test_no_cycles_of_imports():
    files = modules()
    graph = {name: {i for i in imported(name, file) if i in files and i != name} for name, file in files.items()}
    graph = {name: {i for i in targets if not name.startswith(i + ".")} for name, targets in graph.items()}
    done = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, [*trail, name])
            done.add(name)
    for name in graph:
        visit(name, [])


def test_packages_are_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    on_disk = {name for name, file in modules().items() if file.name == "__init__.py"}
    assert listed == on_disk


def test_every_dependency_has_its_reason_and_its_pin():
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    pins = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    for requirement in [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]:
        line = next(line for line in text.splitlines() if f'"{requirement}"' in line)
        assert "#" in line.split(f'"{requirement}"')[1], f"{requirement} has no reason"
        name = requirement.split("[")[0].split(">")[0].split("<")[0].split("=")[0].lower()
        assert name in pins, f"{name} has no pin"


def test_light_import():
    code = ("import sys, bnnhw; heavy = {'torch', 'onnx', 'matplotlib', 'serial'} & set(sys.modules); "
            "sys.exit(f'import bnnhw loads {heavy}' if heavy else 0)")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["train", "boards"])
def test_no_stray_import(name):
    """`import train` from the checkout would be another module than `bnnhw.train`."""
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"ImportError: import bnnhw.{name}, not {name}" in done.stderr


def test_files_are_short():
    folders = (*SOURCES.values(), ROOT / "tests", ROOT / "rtl_tests", ROOT / "benchmarks")
    long = {str(file.relative_to(ROOT)): n for folder in folders for file in folder.rglob("*.py")
            if (n := len(file.read_text().splitlines())) > 400}
    assert not long


def test_no_path_of_this_machine():
    """What is committed speaks of no machine."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split():
        data = (ROOT / name).read_bytes()
        assert str(ROOT).encode() not in data, name
        assert str(Path.home()).encode() + b"/" not in data or Path.home() == Path("/"), name
