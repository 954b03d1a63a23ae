"""Who may import whom, read from the source."""

import ast
import functools
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import diffusion_lab

SOURCE = Path(diffusion_lab.__file__).parent
MATHS = {"schedules", "processes", "parameterizations", "objectives", "sampling", "likelihood", "codecs"}
BESIDE = {"networks", "data", "metrics", "figures"}
LAYERS = [
    "machine|schedules",
    "vocabulary",
    "codecs",
    "processes",
    "parameterizations",
    "objectives|sampling",
    "likelihood",
    "training",
    "config",
    "run_folder",
    "exchange",
    "catalogue|runs",
    "reproduction",
    "sweeps",
    "search",
    "commands",
    "walkthrough",
]


@functools.cache
def imports(path):
    """Dotted names that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files(package):
    found = sorted((SOURCE / package).rglob("*.py"))
    assert found, f"there is no package {package}"
    return found


def lab_packages(path):
    """The packages and modules directly under diffusion_lab that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("diffusion_lab.")}


def used_by(package):
    return {used: path.name for path in files(package) for used in lab_packages(path)}


def upward():
    ranks = {package: rank for rank, layer in enumerate(LAYERS) for package in layer.split("|")}
    return [(low, high) for low in ranks for high in ranks if ranks[low] < ranks[high]]


@pytest.mark.parametrize(("package", "above"), upward())
def test_no_layer_imports_one_above_it(package, above):
    assert above not in used_by(package)


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if "|" in layer])
def test_packages_of_one_layer_do_not_import_each_other(layer):
    one, other = layer.split("|")
    assert other not in used_by(one)
    assert one not in used_by(other)


def test_every_package_has_a_layer_or_stands_beside_them():
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert packages == {package for layer in LAYERS for package in layer.split("|")} | BESIDE


def test_file_names_are_unique():
    rivals = Path(__file__).parent / "rivals" / "src"  # tests/test_rivals.py puts these beside them
    files = {path.relative_to(top) for top in (SOURCE, rivals) for path in top.rglob("*.py")}
    names = Counter(path.name for path in files if path.name not in ("__init__.py", "base.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_imports_itself_by_way_of_others():
    graph = {}
    for path in SOURCE.rglob("*.py"):
        module = ".".join(("diffusion_lab", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        graph[module] = imports(path)
    modules = {
        name: {module_of(used, graph) for used in used_names} - {None, name} for name, used_names in graph.items()
    }
    sorter = TopologicalSorter(modules)
    sorter.prepare()  # raises CycleError, which names the circle


def test_imports_inside_functions_are_found(tmp_path):
    """The tests of this file rely on it."""
    file = tmp_path / "late.py"
    file.write_text("def f():\n  from diffusion_lab.config.tree import options\n  if options:\n    import torch.nn\n")
    assert imports(file) == {"diffusion_lab.config.tree.options", "torch.nn"}


def module_of(name, graph):
    """The module of the lab that a dotted name lies in: `diffusion_lab.noise.Noise` in `diffusion_lab.noise`."""
    while name and name not in graph:
        name = name.rpartition(".")[0]
    return name or None


@pytest.mark.parametrize("package", sorted(BESIDE))
def test_networks_data_metrics_and_figures_know_nothing_of_diffusion_or_of_runs(package):
    assert not used_by(package).keys() & (MATHS | {"training", "runs", "config"})


@pytest.mark.parametrize("package", sorted(MATHS))
def test_the_mathematics_knows_neither_networks_nor_data_nor_configs(package):
    others = {"networks", "data", "config", "training", "runs", "metrics"}
    if package != "codecs":  # which say what data looks like
        others |= {"figures"}
    assert not used_by(package).keys() & others


def test_schedules_import_nothing_else_of_the_lab():
    assert used_by("schedules").keys() <= {"schedules"}


def test_codecs_import_little_else_of_the_lab():
    assert used_by("codecs").keys() <= {"codecs", "distributions", "errors", "figures", "machine", "vocabulary"}


def test_noise_distributions_and_errors_import_no_package_of_the_lab():
    for name in ("noise.py", "errors.py"):
        assert not lab_packages(SOURCE / name)
    assert lab_packages(SOURCE / "distributions.py") == {"errors", "noise"}
    assert used_by("vocabulary").keys() == {"vocabulary"}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_imports_diffusers_but_the_export_to_it(path):
    if path.name == "export_diffusers.py":  # only once it is asked for
        assert not any("diffusers" in ast.unparse(node) for node in ast.parse(path.read_text()).body if is_import(node))
    else:
        assert "diffusers" not in {name.split(".")[0] for name in imports(path)}


def is_import(node):
    return isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and "diffusion_lab" not in node.module)


def test_only_the_training_module_the_bound_and_the_builder_take_the_parts_together():
    takers = {
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if "objectives" in lab_packages(path)
    }
    assert {taker for taker in takers if not taker.startswith("objectives/")} <= {
        "training/module.py",
        "likelihood/bound_forms.py",
        "config/build.py",
    }


def test_the_command_line_imports_no_torch_by_its_source():
    assert {name.split(".")[0] for name in imports(SOURCE / "config" / "cli.py")}.isdisjoint(
        {"torch", "pytorch_lightning", "lightning", "torchvision", "numpy", "matplotlib"}
    )


def test_the_command_line_imports_no_torch_in_a_new_process():
    heavy = "{'torch', 'pytorch_lightning', 'hydra'}"
    code = f"import sys, diffusion_lab.config.cli; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "\n"
