from diffusion_lab.errors import did_you_mean, unknown_key


def test_the_nearest_name_is_asked_for_and_a_far_one_is_not():
    assert did_you_mean("cosin", ["linear", "cosine"]) == "; did you mean cosine?"
    assert did_you_mean("x", ["linear", "cosine"]) == ""
    assert unknown_key("a.b.stepz", ["steps", "offset"]) == (
        "there is no key a.b.stepz; did you mean steps? accepted are steps, offset"
    )
    assert unknown_key("a.q", ["steps"]) == "there is no key a.q: accepted are steps"
    assert unknown_key("a.q", []) == "there is no key a.q: accepted are none"
