"""Look into a built wheel for what an installed gft-lite needs: `check_wheel.py WHEEL`."""

from __future__ import annotations

import sys
import zipfile

NEEDED = (
    "gft_lite/py.typed",
    "gft_lite/presets/tiny-cpu.yaml",
    "gft_lite/presets/cards/8gb.yaml",
    "gft_lite/presets/models/qwen2.5-1.5b.yaml",
    "gft_lite/assets/tiny_base/model.safetensors",
    "gft_lite/assets/tiny_base/tokenizer.json",
    "gft_lite/assets/target_train.jsonl",
    "gft_lite/cli/__init__.py",
    "gft_lite/report/report.css",
    "gft_lite/report/templates/page.html",
)


def main(path: str) -> int:
    names = set(zipfile.ZipFile(path).namelist())
    missing = [name for name in NEEDED if name not in names]
    for name in missing:
        print(f"wheel: {name} is missing", file=sys.stderr)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
