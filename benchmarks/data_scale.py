"""How fast a large file is checked and loaded, and in how much memory, beside `load_dataset`.

    python benchmarks/data_scale.py --rows 1000000 --out benchmarks/results/data_scale.json

Every measurement runs in a process of its own (Linux): rows a second over the whole of it, and the
largest resident set. `load_dataset` writes its Arrow copy to an empty cache, as on a first use. The
ratio is ours over theirs in seconds, both from this one run.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

WORDS = (
    "apples river train seven basket teacher morning market blue carries between twelve stones "
    "garden shares letters window counts running bottle evening travels green paints silver gives"
).split()


def rows(count: int, seed: int = 0) -> Iterator[dict[str, object]]:
    """Word problems of about 55 words with an expert, two teachers and an answer."""
    random_ = random.Random(seed)
    for number in range(count):
        story = " ".join(random_.choices(WORDS, k=40))
        left, right = random_.randrange(1000), random_.randrange(1000)
        answer = left + right
        yield {
            "prompt": f"Problem {number}: {story}. What is {left} + {right}?",
            "expert": f"{' '.join(random_.choices(WORDS, k=25))}. So {left} + {right} = {answer}.",
            "teachers": [f"The sum is {answer}.", f"I think it is {answer + 1}."],
            "answer": str(answer),
        }


def generate(folder: Path, count: int) -> dict[str, Path]:
    """The same rows as JSON Lines and as Parquet."""
    import pyarrow
    from pyarrow import parquet

    lines, table = folder / "rows.jsonl", folder / "rows.parquet"
    schema = pyarrow.schema(
        [
            ("prompt", pyarrow.string()),
            ("expert", pyarrow.string()),
            ("teachers", pyarrow.list_(pyarrow.string())),
            ("answer", pyarrow.string()),
        ]
    )
    batch: list[dict[str, object]] = []
    with lines.open("w") as out, parquet.ParquetWriter(table, schema) as writer:
        for row in rows(count):
            out.write(json.dumps(row) + "\n")
            batch.append(row)
            if len(batch) == 10_000:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch = []
        if batch:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
    return {"jsonl": lines, "parquet": table}


CODE = {
    "check": "from gft_lite.data import check_file; n = check_file(path).usable",
    "load": "from gft_lite.data import load_examples; n = len(load_examples(path).examples)",
    "load_dataset": (
        "from datasets import load_dataset; n = len(load_dataset("
        "{'jsonl': 'json', 'parquet': 'parquet'}[path.rsplit('.')[-1]], data_files=path, "
        "split='train', cache_dir=path + '.cache'))"
    ),
}
MEASURE = (
    "import json, re, sys, time; path = sys.argv[1]; begin = time.perf_counter(); "
    "{code}; seconds = time.perf_counter() - begin; "
    "kib = int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); "
    "print(json.dumps([n, seconds, kib / 1024]))"
)


def measure(what: str, path: Path) -> dict[str, float]:
    """Seconds, rows a second and MiB at most, of a fresh process."""
    command = [sys.executable, "-c", MEASURE.format(code=CODE[what]), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, seconds, mebibytes = json.loads(done.stdout.splitlines()[-1])
    return {
        "rows": count,
        "seconds": round(seconds, 2),
        "rows_per_second": round(count / seconds),
        "peak_rss_mib": round(mebibytes),
    }


def main() -> None:
    """Generate, measure, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/data_scale.json"))
    asked = parser.parse_args()
    found: dict[str, object] = {"rows": asked.rows, "python": sys.version.split()[0]}
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        files = generate(Path(folder), asked.rows)
        print(f"generated in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        for kind, path in files.items():
            sizes = {what: measure(what, path) for what in ("check", "load", "load_dataset")}
            plain = sizes["load_dataset"]["seconds"]
            found[kind] = {
                "mebibytes": round(path.stat().st_size / 2**20),
                **sizes,
                "check_over_load_dataset": round(sizes["check"]["seconds"] / plain, 2),
                "load_over_load_dataset": round(sizes["load"]["seconds"] / plain, 2),
            }
            print(kind, json.dumps(found[kind]), file=sys.stderr)
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
