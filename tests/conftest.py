"""Shared parts: the embedded model, small real runs, and no network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Exact numbers are promised on a CPU only. Tests marked `gpu` start processes that see the GPU.
os.environ.setdefault("GFT_LITE_TEST_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from samples import SMALL

from gft_lite.config import LoraConfig, ModelConfig, RunConfig, load_config
from gft_lite.models import Policy, load_policy

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from web_app import App


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=("hf", "unsloth"),
        default="hf",
        help="of the protocol's tests; Unsloth patches transformers, so never both in one process",
    )


@pytest.fixture(scope="session")
def tiny(request: pytest.FixtureRequest) -> ModelConfig:
    """The embedded model on the backend under test."""
    return ModelConfig(name="tiny", backend=request.config.getoption("--backend"))


@pytest.fixture
def policy(tiny: ModelConfig) -> Policy:
    """The embedded model with a fresh adapter."""
    return load_policy(tiny, LoraConfig(), seed=0)


@pytest.fixture
def small_config() -> Callable[..., RunConfig]:
    """A run of a few steps on the embedded data; more `--set` strings change it."""

    def make(*overrides: str) -> RunConfig:
        return load_config(preset="tiny-cpu", overrides=[*SMALL, *overrides])

    return make


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[App]":
    """The web app on an empty workspace."""
    from web_app import App

    app = App(tmp_path_factory.mktemp("app") / "ws")
    yield app
    app.end()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A headless browser."""
    from web_app import chromium

    with chromium() as browser:
        yield browser
