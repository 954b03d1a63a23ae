"""Messages that are hidden, and similar ones that still appear."""

import logging
import warnings

import pytest

from diffusion_lab.machine.library_warnings import silence_library_warnings


@pytest.mark.parametrize(
    ("logger", "silenced", "heard"),
    [
        ("torch.utils.cpp_extension", "No CUDA runtime is found, using CUDA_HOME='/usr/local'", "g++ is missing"),
        ("pytorch_lightning.loggers.mlflow", "Experiment with name x not found. Creating it.", "no server"),
        ("mlflow.store.db.utils", "Creating initial MLflow database tables...", "the disk is full"),
        ("mlflow.store.db.utils", "Updating database tables", "the disk is full"),
    ],
)
def test_a_remark_is_silenced_by_its_words_and_not_by_who_says_it(caplog, logger, silenced, heard):
    silence_library_warnings()
    silence_library_warnings()  # as in each job of a sweep
    for text in (silenced, heard):
        logging.getLogger(logger).warning(text)
    assert caplog.messages == [heard]
    assert len(logging.getLogger(logger).filters) == 1


def test_lightning_s_information_is_hidden_and_its_warnings_are_not(caplog):
    silence_library_warnings()
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    logger.info("GPU available: False, used: False")
    logger.warning("something is wrong")
    assert caplog.messages == ["something is wrong"]


def test_warnings_are_silenced_by_their_words():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        silence_library_warnings()
        warnings.warn("The 'train_dataloader' does not have many workers which may be a bottleneck.", stacklevel=1)
        warnings.warn("The number of batches is smaller than the logging interval", stacklevel=1)
        warnings.warn("the loss is odd", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["the loss is odd"]
