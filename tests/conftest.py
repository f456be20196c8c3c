"""Fixtures for every test: hypothesis profiles, and torch on one thread so that timings and seeds are steady."""

import os

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)

settings.register_profile(
    "hone", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("thorough", parent=settings.get_profile("hone"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "hone"))
