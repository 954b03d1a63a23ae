"""What a run's settings become where it is resumed."""


def test_a_run_that_started_from_other_weights_is_resumed_without_them(settings):
    run = settings("init_from=model.pt", "init_flags='--image_size 8'")
    resumed = run.resuming("outputs/run")
    assert (resumed.resume, resumed.init_from, resumed.init_flags) == ("outputs/run", None, None)
