"""Exports do what the live model does, or are not there."""

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_maker import call, make_adapter, pushed
from safetensors.torch import load_file

from gft_lite.assets import MODEL_DIR, resolve
from gft_lite.config import ModelConfig
from gft_lite.data import load_examples
from gft_lite.export import ParityError, export
from gft_lite.export import write as writing
from gft_lite.export.card import licence_of
from gft_lite.export.job import without_folders
from gft_lite.export.ollama import go_template, modelfile
from gft_lite.export.parity import against, trace
from gft_lite.models import load_policy, load_tokenizer
from gft_lite.models.fingerprint import RECORD, WEIGHTS
from gft_lite.models.validation import read_record
from gft_lite.types import GftError, Message, MissingExtraError, ModelError, RunError

TINY = ModelConfig(name="tiny")
ASKED = [(Message("user", f"What is {i} + 3?"),) for i in range(4)]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("export") / "tuned")


@pytest.fixture(scope="module")
def merged(adapter: Path) -> Path:
    return export(adapter, "merged", adapter.parent / "merged", dtype="float32").out


def live(adapter: Path, **changes: Any) -> Any:
    return load_policy(ModelConfig(name="tiny", adapter=str(adapter), **changes), None)


# --- the arithmetic of a merge ---


def test_merged_weights_are_w_plus_ba_times_scale(adapter: Path, merged: Path) -> None:
    base = load_file(MODEL_DIR / "model.safetensors")
    whole = load_file(merged / "model.safetensors")
    parts = load_file(adapter / WEIGHTS)
    config = json.loads((adapter / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    touched = set()
    for name, a in parts.items():
        if "lora_A" not in name:
            continue
        target = name.removeprefix("base_model.model.").replace("lora_A.weight", "weight")
        wanted = base[target] + parts[name.replace("lora_A", "lora_B")] @ a * scale
        assert torch.allclose(whole[target], wanted, rtol=0, atol=1e-6), target
        touched.add(target)
    assert len(touched) == 4 * 7
    for name in base.keys() - touched:
        assert torch.equal(whole[name], base[name]), name


@pytest.mark.slow
def test_merge_parity_on_fifty_prompts(adapter: Path, merged: Path) -> None:
    rows = load_examples(resolve("embedded:target_test"), limit=50).examples
    asked = [e.prompt for e in rows]
    first = trace(live(adapter), asked, max_new_tokens=32)
    other = load_policy(ModelConfig(name=str(merged)), None)
    found = against(first, other, asked, tolerance=1e-4, max_new_tokens=32)
    assert found.failure is None and found.same_answers == found.prompts == 50
    assert 0 < found.max_logp_difference <= 1e-4


@pytest.mark.slow
def test_a_4bit_policy_and_its_merge_differ_by_the_quantisation(
    adapter: Path, tmp_path: Path
) -> None:
    """docs/evaluate.md has the figures; the merge itself is exact against full precision."""
    four_bit = ModelConfig(name="tiny", load_in_4bit=True)
    done = export(adapter, "merged", tmp_path / "m", model=four_bit, dtype="float32")
    exact, quantised = done.gates["merged model"], done.gates["merged model against 4-bit"]
    assert exact.max_logp_difference <= 1e-4
    assert 1e-4 < quantised.mean_logp_difference < 0.5
    assert "against 4-bit" in (tmp_path / "m" / "README.md").read_text()


# --- the gate ---


def test_the_gate_sees_another_adapter_and_another_template(adapter: Path, tmp_path: Path) -> None:
    first = trace(live(adapter), ASKED, max_new_tokens=8)
    same = against(first, live(adapter), ASKED, tolerance=1e-4, max_new_tokens=8)
    assert same.failure is None and same.max_logp_difference == 0
    other = against(first, pushed(2), ASKED, tolerance=1e-4, max_new_tokens=8)
    assert other.failure is not None and "answer token" in other.failure
    base = tmp_path / "base"
    shutil.copytree(MODEL_DIR, base)
    template = base / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant", "model"))
    renamed = load_policy(ModelConfig(name=str(base)), None)
    read = against(first, renamed, ASKED, tolerance=1e-4, max_new_tokens=8)
    assert read.failure is not None and "read as other tokens" in read.failure


def test_a_flip_that_rounding_does_not_explain_fails(adapter: Path) -> None:
    first = trace(live(adapter), ASKED, max_new_tokens=8)
    base = load_policy(TINY, None)
    loose = against(first, base, ASKED, tolerance=float("inf"), max_new_tokens=8)
    assert loose.failure is None and loose.ties == loose.prompts - loose.same_answers


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_an_export_that_does_something_else_is_not_kept(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    """What the gate is for: here the writer loses the adapter, or damages it."""
    write, copy = writing.write_merged, writing.write_record

    def loses(policy: Any, *rest: Any) -> None:
        for name, p in policy.model.named_parameters():
            if "lora_B" in name:
                p.data.zero_()
        write(policy, *rest)

    def damages(folder: Path, record: Any) -> None:
        shutil.copyfile(make_adapter(tmp_path / "x", 5) / WEIGHTS, folder / WEIGHTS)
        shutil.rmtree(tmp_path / "x")
        copy(folder, record)

    monkeypatch.setattr(writing, "write_merged", loses)
    monkeypatch.setattr(writing, "write_record", damages)
    with pytest.raises(ParityError, match=r"prompt \d+.*Nothing was kept"):
        export(adapter, kind, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# --- what is written ---


@pytest.mark.slow
def test_an_exported_adapter_loads_with_plain_peft(adapter: Path, tmp_path: Path) -> None:
    """By the name in its own config, with its own tokenizer: as TRL, vLLM or verl would."""
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    out = export(adapter, "adapter", tmp_path / "out").out
    model = AutoPeftModelForCausalLM.from_pretrained(str(out))
    tokenizer = AutoTokenizer.from_pretrained(str(out))
    policy = live(adapter)
    text = policy.chat.prompt_text(ASKED[0])
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert tuple(ids[0].tolist()) == policy.chat.prompt_ids(ASKED[0])
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, policy.model(ids).logits, atol=1e-5)
    assert live(out).name == "tiny", "our own loader knows the base by its hash"


@pytest.mark.slow
def test_an_exported_adapter_has_the_layout_vllm_and_verl_ask_for(
    adapter: Path, tmp_path: Path
) -> None:
    """docs/downstream-rl.md lists the requirements."""
    out = export(adapter, "adapter", tmp_path / "out").out
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and config["task_type"] == "CAUSAL_LM"
    assert config["r"] in (1, 8, 16, 32, 64, 128, 256, 320, 512)
    assert config["bias"] == "none" and not config["use_dora"] and not config["modules_to_save"]
    assert isinstance(config["target_modules"], list) and "lm_head" not in config["target_modules"]
    weights = load_file(out / WEIGHTS)
    for name, tensor in weights.items():
        assert name.startswith("base_model.model.model.layers.")
        assert name.endswith((".lora_A.weight", ".lora_B.weight"))
        assert config["r"] in tensor.shape and tensor.dtype == torch.float32
        assert name.split(".")[-3] in config["target_modules"]
    assert (out / "tokenizer.json").is_file() and not list(out.glob("*.bin"))


def test_card_record_and_modelfile(merged: Path) -> None:
    card = (merged / "README.md").read_text()
    assert card.startswith("---\n") and "license: apache-2.0" in card and "| merged model |" in card
    record = json.loads((merged / RECORD).read_text())
    assert record["merged"] == "float32" and record["base"]["name"] == "tiny"
    assert "FROM ." in (merged / "Modelfile").read_text()


def test_no_folder_of_this_machine_is_handed_on() -> None:
    record = {"a": "/home/me/secret/rows.jsonl", "b": ["owner/model", {"c": "text\n/x"}]}
    assert without_folders(record) == {"a": "rows.jsonl", "b": ["owner/model", {"c": "text\n/x"}]}


def test_the_licence_is_read_off_the_base(tmp_path: Path) -> None:
    assert licence_of("x", "tiny", None) == "apache-2.0"
    assert licence_of(str(tmp_path), "m", None) is None
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# x\n")
    assert licence_of(str(tmp_path), "m", None) == "mit"
    (tmp_path / "README.md").write_text("---\n: [\n---\n")
    assert licence_of(str(tmp_path), "m", None) is None


def test_the_ollama_template_renders_what_jinja_renders() -> None:
    tokenizer = load_tokenizer(TINY)
    template = go_template(tokenizer)
    assert template is not None
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    wanted = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    filled = template.replace("{{ if .System }}", "").replace("{{ end }}", "")
    filled = filled.replace("{{ .System }}", "S").replace("{{ .Prompt }}", "U")
    assert filled.replace("{{ .Response }}", "") == wanted
    assert 'PARAMETER stop "<|im_end|>"' in modelfile(tokenizer, ".", (2,))
    tokenizer.chat_template = "{{ 'Default rules. ' }}" + tokenizer.chat_template
    assert go_template(tokenizer) is None
    assert "no exact Go form" in modelfile(tokenizer, ".", (2,))


# --- GGUF: llama.cpp's converters are programs of others; here one that writes its arguments ---

STAND_IN = """import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--outfile") + 1])
if "q8_0" in sys.argv:
    sys.exit("cannot do q8_0 today")
seen = sorted(p.name for p in pathlib.Path(sys.argv[1]).iterdir())
out.write_text(json.dumps([sys.argv[1:], seen]))
"""


@pytest.fixture
def llama_cpp(tmp_path: Path) -> Path:
    folder = tmp_path / "llama.cpp"
    folder.mkdir()
    for name in ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py"):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod((folder / name).stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.mark.slow
def test_gguf_goes_through_the_converters(adapter: Path, llama_cpp: Path, tmp_path: Path) -> None:
    out = export(adapter, "gguf", tmp_path / "g", llama_cpp=llama_cpp).out
    assert {p.name for p in out.iterdir()} == {"model-f16.gguf", "Modelfile", "README.md", RECORD}
    arguments, seen = json.loads((out / "model-f16.gguf").read_text())
    assert arguments[-2:] == ["--outtype", "f16"] and "model.safetensors" in seen
    assert "FROM ./model-f16.gguf" in (out / "Modelfile").read_text()
    lora = export(adapter, "gguf-adapter", tmp_path / "l", llama_cpp=llama_cpp).out
    arguments, seen = json.loads((lora / "adapter-f16.gguf").read_text())
    assert arguments[1:3] == ["--base", str(MODEL_DIR)] and WEIGHTS in seen


@pytest.mark.slow
def test_gguf_says_what_is_missing_or_broke(
    adapter: Path, llama_cpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLAMA_CPP_DIR", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match=r"git clone .*llama\.cpp"):
        export(adapter, "gguf", tmp_path / "g")
    with pytest.raises(ModelError, match=r"there is no convert_hf_to_gguf\.py"):
        export(adapter, "gguf", tmp_path / "g", llama_cpp=tmp_path)
    with pytest.raises(GftError, match="cannot do q8_0 today"):
        export(adapter, "gguf", tmp_path / "g", llama_cpp=llama_cpp, gguf_type="q8_0")
    assert [p.name for p in tmp_path.iterdir()] == ["llama.cpp"]


# --- the command ---


@pytest.mark.slow
def test_the_command_and_its_refusals(
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    assert call(monkeypatch, "export", adapter, "--out", out) == 2
    assert "already holds files; nothing was overwritten" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["out"] and len(list(out.iterdir())) == 1
    assert call(monkeypatch, "export", tmp_path, "--out", tmp_path / "new") == 2
    assert call(monkeypatch, "export", adapter, "--model", "./none", "--out", tmp_path / "n") == 2
    capsys.readouterr()
    assert not (tmp_path / "new").exists() and not (tmp_path / "n").exists()
    assert call(monkeypatch, "export", adapter, "--out", tmp_path / "good", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["parity"]["reloaded adapter"]["failure"] is None
    assert document["pushed_to"] is None
    record = read_record(tmp_path / "good")
    assert record is not None and record["base"]["name"] == "tiny"
    with pytest.raises(RunError, match="already holds"):
        export(adapter, "adapter", tmp_path / "good")


@pytest.mark.slow
def test_push_without_a_connection_keeps_the_export(
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask = ["export", adapter, "--out", tmp_path / "out", "--push", "me/mine"]
    assert call(monkeypatch, *ask) == 2
    assert "--push me/mine" in capsys.readouterr().err
    assert (tmp_path / "out" / WEIGHTS).is_file()
