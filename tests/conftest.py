"""Shared parts: the embedded model, small real runs, and no network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Exact numbers are promised on a CPU only. Tests marked `gpu` start processes that see the GPU.
os.environ.setdefault("GFT_LITE_TEST_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import hypothesis
import pytest
from samples import SMALL

from gft_lite.config import LoraConfig, ModelConfig, RunConfig, load_config
from gft_lite.models import Policy, load_policy

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from web_app import App


# Examples of one property in each tier; a test of many cheap examples multiplies them.
hypothesis.settings.register_profile("fast", max_examples=20, deadline=None)
hypothesis.settings.register_profile("full", max_examples=100, deadline=None)
# Modules that need the `dev` extra as soon as they are collected.
NEED_DEV = ["browser/*", "integration/test_notebooks.py"]
NEED_DEV += [f"security/test_{name}.py" for name in ("foreign_pages", "login", "markup")]
collect_ignore_glob: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Tell the tiers apart: the fast one is what pyproject.toml selects."""
    fast = config.getoption("markexpr") in config.getini("addopts")
    hypothesis.settings.load_profile("fast" if fast else "full")
    if find_spec("playwright") is None or find_spec("nbformat") is None:
        if not fast:
            raise pytest.UsageError("the full tier needs more: pip install -e '.[test,dev]'")
        collect_ignore_glob.extend(NEED_DEV)


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
