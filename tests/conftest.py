"""For every test: hypothesis profiles, torch on one thread for steady timings and seeds, interrupts that work."""

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.published import KNOWN, make_instructed

torch.set_num_threads(1)
# A shell's background job ignores interrupts, and so would every program that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "hone", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("thorough", parent=settings.get_profile("hone"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "hone"))


@pytest.fixture(scope="session")
def instructed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published checkpoint in two files that follows the instructions of ``tests.published.KNOWN``."""
    return make_instructed(tmp_path_factory.mktemp("instructed"), KNOWN, parts=2)
