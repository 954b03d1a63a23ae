"""The faults that are put into a source: each is another program, in its place, and has a name that lasts."""

import ast

import pytest
from mutants import mutants_of


def faults(source):
    return {(one.operator, one.before, one.after) for one in mutants_of(source.encode())}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("a < b", ("comparison", "a < b", "(a <= b)")),
        ("x is None", ("comparison", "x is None", "(x is not None)")),
        ("a + b", ("arithmetic", "a + b", "(a - b)")),
        ("a ** b", ("arithmetic", "a ** b", "(a * b)")),
        ("a and b", ("and or", "a and b", "(a or b)")),
        ("-a", ("sign", "-a", "a")),
        ("not a", ("sign", "not a", "a")),
        ("f(3)", ("constant", "3", "4")),
        ("f(0.5)", ("constant", "0.5", "1.0")),
        ("f(True)", ("constant", "True", "False")),
        ("y = f(a, b)", ("arguments swapped", "f(a, b)", "f(b, a)")),
        ("y = f(a, k=b)", ("argument left out", "f(a, k=b)", "f(a)")),
        ("y = x.clamp(0)", ("call left out", "x.clamp(0)", "x")),
        ("x.eval()", ("statement left out", "x.eval()", "pass")),
        ("a.b = c", ("statement left out", "a.b = c", "pass")),
        ("a += c", ("statement left out", "a += c", "pass")),
        ("if a:\n    raise ValueError(f'{b + c}')", ("statement left out", "raise ValueError(f'{b + c}')", "pass")),
        ("if a:\n    b()", ("condition", "a", "False")),
        ("y = b if a else c", ("condition", "a", "True")),
        ("y = [b for b in c if a]", ("condition", "a", "True")),
        ("for a in b:\n    continue", ("loop", "continue", "break")),
        ("def f(a=3):\n    return a", ("constant", "3", "4")),
    ],
)
def test_each_kind_of_fault_is_found(source, fault):
    assert fault in faults(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""A text, 3 < 4."""',
        "import a.b",
        "x: int | None",
        "Kind = int | Tensor",
        "def f(a: Literal[3]) -> tuple[int, int]:\n    return a",
        "if TYPE_CHECKING:\n    f(3)",
        "y = f'{a + b:>{3 + c}}'",
        "y = torch.zeros(n)",  # no receiver that could stand for it
        "y = 'text'",
    ],
)
def test_texts_and_types_have_none(source):
    assert not faults(source)


def test_what_makes_a_message_has_none():
    source = "if a:\n    raise ValueError(f(a + 1, b))"
    assert {operator for operator, _, _ in faults(source)} == {"condition", "statement left out"}


def test_a_fault_is_put_in_its_place_in_bytes_behind_other_letters():
    source = 'def f(σ):\n    t = "−∞", σ + 1  # “±”\n    return t, (σ - 2) * 3\n'
    for mutant in mutants_of(source.encode()):
        changed = mutant.applied(source.encode()).decode()
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
        assert changed.startswith('def f(σ):\n    t = "−∞", ')
        assert "# “±”" in changed


def test_a_fault_within_an_expression_keeps_its_order():
    (mutant,) = (one for one in mutants_of(b"y = (a + b) * c") if one.before == "a + b")
    assert ast.unparse(ast.parse(mutant.applied(b"y = (a + b) * c"))) == "y = (a - b) * c"


def test_the_name_of_a_fault_lasts_where_other_parts_change():
    source = "def f(a):\n    return a < 1\n\n\ndef g(a):\n    return (a < 1, a < 1)\n"
    before = {one.key("m.py") for one in mutants_of(source.encode())}
    assert len(before) == len(mutants_of(source.encode()))  # no two are the same
    assert {one.key("m.py") for one in mutants_of(f"import x\n\n{source}\ny = 3\n".encode())} > before
    assert not {one.key("n.py") for one in mutants_of(source.encode())} & before
