"""The specification of a search."""

from dataclasses import replace

from diffusion_lab.search.search_objectives import Objective
from searches import small_spec


def test_a_spec_survives_the_way_to_a_worker(tmp_path):
    spec = replace(small_spec(tmp_path), objectives=[Objective("seconds", "maximize"), Objective("val/loss")])
    assert type(spec).from_json(spec.as_json()) == spec
