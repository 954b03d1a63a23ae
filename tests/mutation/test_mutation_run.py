"""Which tests a fault is tried with, which faults are a sample, and what the page says of them."""

from pathlib import Path

from areas import AREAS, ROOT, SOURCES, Area
from mutants import mutants_of
from report import page
from run import Record, sample

SOURCE = b"LIMIT = 3\n\n\ndef f(a):\n    return a + LIMIT\n"
FILE = "src/diffusion_lab/objectives/p2.py"
SECONDS = {
    "tests/objectives/test_p2.py::slow": 5.0, "tests/objectives/test_p2.py::quick": 0.1, "tests/a.py::b": 0.01,
    "tests/a.py::c": 0.02,
}  # fmt: skip
DEFAULT = "tests/config/test_defaults.py::test_p2"
TESTS = Record(
    SECONDS | {DEFAULT: 0.01},
    {FILE: {0: frozenset(SECONDS), 1: frozenset(), 5: frozenset(SECONDS) - {"tests/a.py::b"}}},
    {FILE: frozenset({1, 4})},
)


def fault(line):
    return next(one for one in mutants_of(SOURCE) if one.line == line)


def test_a_fault_is_tried_with_the_tests_of_its_line_the_mirrored_ones_first_and_quick_ones_before_slow_ones():
    assert TESTS.against(FILE, fault(5)) == [
        "tests/objectives/test_p2.py::quick", "tests/objectives/test_p2.py::slow", "tests/a.py::c",
    ]  # fmt: skip


def test_a_fault_in_what_is_executed_at_import_is_tried_with_all_tests_of_the_file_and_with_those_of_defaults():
    assert set(TESTS.against(FILE, fault(1))) == {*SECONDS, DEFAULT}
    assert DEFAULT not in TESTS.against(FILE, fault(5))


def test_a_fault_in_a_line_that_none_is_seen_to_execute_is_tried_with_all_tests_of_the_file():
    tests = Record(SECONDS, {FILE: {0: frozenset(SECONDS), 4: frozenset({"tests/a.py::b"})}}, {})
    assert set(tests.against(FILE, fault(5))) == set(SECONDS)


def test_nothing_is_tried_with_a_fault_in_a_file_that_no_test_touches():
    assert TESTS.against("src/diffusion_lab/other.py", fault(5)) == []


def project(folder, source):
    place = folder / SOURCES / "part"
    place.mkdir(parents=True, exist_ok=True)
    (place / "one.py").write_bytes(source)
    return folder


def test_a_sample_stays_the_same_where_other_lines_change(tmp_path):
    area = Area(("part",), ())
    source = "".join(f"def f{n}(a):\n    return a + {n}, a < {n}\n\n\n" for n in range(30))
    keys = [{mutant.key(file) for file, mutant in sample(area, project(tmp_path, text.encode()), 20, 0)}
            for text in (source, f"import x\n\n{source}", source.replace("a + 7,", "a * 7,"))]  # fmt: skip
    assert len(keys[0]) == 20
    assert keys[1] == keys[0]
    assert len(keys[2] & keys[0]) >= 16
    other = {mutant.key(file) for file, mutant in sample(area, project(tmp_path, source.encode()), 20, 1)}
    assert other != keys[0]


def test_every_area_has_at_least_two_hundred_faults_and_tests_that_are_there():
    for area in AREAS.values():
        assert len(sample(area, ROOT, 200, 0)) == 200
        assert all((ROOT / "tests" / name).exists() for name in area.tests)


def test_the_page_counts_what_was_caught_and_says_why_others_live():
    row = {"area": "training", "file": "src/diffusion_lab/training/ema.py", "line": 3, "operator": "sign", "after": "a"}
    rows = [
        row | {"key": "1", "before": "-a", "result": "caught"},
        row | {"key": "2", "before": "a | b" * 30, "result": "survived"},
    ]
    text = page(rows, {"2": "It changes nothing."})
    assert "| training | 2 | 1 | 50% |" in text
    (survivor,) = [line for line in text.splitlines() if "ema.py" in line]
    assert survivor.startswith(r"| `training/ema.py:3` | sign: `a \| ba \| b")
    assert survivor.endswith("…` → `a` | It changes nothing. |")


def test_the_root_is_the_project():
    assert (ROOT / "pyproject.toml").is_file()
    assert Path(__file__).is_relative_to(ROOT)
