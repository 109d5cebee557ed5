"""Four programs at once and a queue of runs: no call and no run is lost, and memory stays flat.

    GFT_LITE_LOAD_SECONDS=180 pytest -m slow -s tests/security/test_load.py

spreads the same 150 calls over three minutes and prints the figures.
"""

import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from gradio_client import Client
from web_app import App

CLIENTS, CALLS = 4, 150
SECONDS = float(os.environ.get("GFT_LITE_LOAD_SECONDS", "40"))
MOST_GROWTH_MIB = 25
STARTS, STOP = (0, 4, 8), 9  # which of its calls start a run, and stop the last of them
PATIENCE_SECONDS = 480
RUN = [
    "train.steps=2",
    "train.prompts_per_step=1",
    "group.self=2",
    "group.teacher=0",
    "group.max_new_tokens=16",
    "data.eval_path=null",
    "data.retention_path=null",
]


def calls_of(client: int) -> int:
    return CALLS // CLIENTS + (client < CALLS % CLIENTS)


class Load:
    """What one client did: its runs, and how long its calls took."""

    def __init__(self, app: App, number: int, begin: float) -> None:
        self.client = Client(app.url, verbose=False)
        self.number, self.begin = number, begin
        self.runs: list[str] = []
        self.seconds: list[float] = []

    def call(self, endpoint: str, *arguments: object) -> object:
        before = time.monotonic()
        answer = self.client.predict(*arguments, api_name=endpoint)
        self.seconds.append(time.monotonic() - before)
        return answer

    def work(self) -> None:
        for turn in range(calls_of(self.number)):
            due = self.begin + SECONDS * turn / calls_of(self.number)
            time.sleep(max(0.0, due - time.monotonic()))
            if turn in STARTS:
                self.runs.append(str(self.call("/start_run", "tiny-cpu", RUN)))
            elif turn == STOP:
                assert self.call("/stop_run", self.runs[-1]) == "stopped"
            elif turn % 2:
                shown = self.call("/run", self.runs[turn % len(self.runs)])
                assert shown["name"] == self.runs[turn % len(self.runs)], shown
            else:
                listed = {run["name"] for run in self.call("/runs")}
                assert set(self.runs) <= listed, "a run was lost"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_150_calls_of_four_clients_with_a_queue_of_runs(app: App) -> None:
    process = psutil.Process(app.process.pid)
    loads = [Load(app, number, time.monotonic()) for number in range(CLIENTS)]
    memory: list[float] = []  # MiB, once a second
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SECONDS / 180):
            memory.append(process.memory_info().rss / 2**20)

    sampler = threading.Thread(target=sample)
    sampler.start()
    began = time.monotonic()
    for load in loads:
        load.begin = began
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(Load.work, loads))
    finally:
        ended.set()
        sampler.join()
    took = time.monotonic() - began

    started = [run for load in loads for run in load.runs]
    assert sum(len(load.seconds) for load in loads) == CALLS
    assert len(set(started)) == len(STARTS) * CLIENTS
    stopped = {load.runs[-1] for load in loads}
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        states = {run["name"]: run for run in loads[0].client.predict(api_name="/runs")}
        if not {run["state"] for run in states.values()} & {"queued", "starting", "running"}:
            break
        assert time.monotonic() < until, states
        time.sleep(1)
    assert set(states) == set(started)
    for name, run in states.items():
        wanted = "stopped" if name in stopped else "finished"
        assert (run["state"], run["step"]) == (wanted, 0 if name in stopped else 2), run
    third = len(memory) // 3
    middle, last = statistics.median(memory[third : 2 * third]), statistics.median(memory[-third:])
    seconds = sorted(s for load in loads for s in load.seconds)
    print(
        f"\n{CALLS} calls in {took:.0f} s; median {statistics.median(seconds):.2f} s, slowest "
        f"{seconds[-1]:.2f} s; resident memory of the app: first {memory[0]:.1f} MiB, median of "
        f"the second third {middle:.1f}, of the last third {last:.1f}, most {max(memory):.1f}"
    )
    assert last - middle < MOST_GROWTH_MIB, memory
    assert "Traceback" not in app.log.read_text()
