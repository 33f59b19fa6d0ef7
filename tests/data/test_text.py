"""Sentences: tokens, masks and padding as the model takes them, words put together again, everything shown escaped."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto as T
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.data import FileOptions, InputSpec, TextOptions, Words, read_inputs
from onnx_ig.data.sentences import read_sentences
from onnx_ig.errors import InputError, MissingDependencyError, UsageError
from tests.helpers.cli_models import model, node

Array = np.ndarray[Any, Any]
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "film",
    "is",
    "un",
    "##watch",
    "##able",
    "great",
    "<",
    "b",
    ">",
    ".",
]
IDS = {token: index for index, token in enumerate(VOCABULARY)}
I64, F32 = np.dtype("int64"), np.dtype("float32")


def tokenizer(path: Path, **changes: Any) -> Path:
    """A tokenizer of word pieces as BERT's, with changes: no padding token, or no words."""
    vocabulary = {token: index for token, index in IDS.items() if token != changes.get("without")}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", IDS["[CLS]"]), ("[SEP]", IDS["[SEP]"])]
    )
    if "longest" in changes:
        made.enable_truncation(changes["longest"])
    made.save(str(path / "tokenizer.json"))
    return path / "tokenizer.json"


def specs(length: Any = "T") -> list[InputSpec]:
    return [
        InputSpec(name, dtype, ("N", length))
        for name, dtype in (("input_ids", I64), ("attention_mask", F32), ("token_type_ids", I64))
    ]


SENTENCES = "The film is unwatchable.\n\nGreat\n"


def test_tokens_masks_and_padding(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text(SENTENCES)
    files = FileOptions(texts=TextOptions(tokenizer(tmp_path)))
    read = read_inputs([str(tmp_path / "s.txt")], specs(), files=files)
    first = [IDS[t] for t in ["[CLS]", "the", "film", "is", "un", "##watch", "##able", ".", "[SEP]"]]
    second = [IDS["[CLS]"], IDS["great"], IDS["[SEP]"], *[IDS["[PAD]"]] * 6]
    np.testing.assert_array_equal(read["input_ids"].value, [first, second])
    np.testing.assert_array_equal(read["attention_mask"].value, [[1] * 9, [1] * 3 + [0] * 6])
    assert read["attention_mask"].value.dtype == F32
    np.testing.assert_array_equal(read["token_type_ids"].value, np.zeros((2, 9)))
    np.testing.assert_array_equal(read["input_ids"].padding.ids[0], [2, 0, 0, 0, 0, 0, 0, 0, 3])
    whole, short = read["input_ids"].words
    assert whole.words == ("The", "film", "is", "unwatchable", ".") and short.words == ("Great",)
    assert whole.positions == ((1,), (2,), (3,), (4, 5, 6), (7,))
    np.testing.assert_array_equal(whole.sums(np.arange(9)), [1, 2, 3, 15, 7])
    assert read_inputs([str(tmp_path / "s.txt")], specs(12), files=files)["input_ids"].value.shape == (2, 12)


def test_the_tokenizer_says_how_it_pads_and_where_it_cuts(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text(SENTENCES)
    made = Tokenizer.from_file(str(tokenizer(tmp_path)))
    made.enable_padding(direction="left", pad_id=IDS["b"], pad_token="b", pad_type_id=1)
    made.save(str(tmp_path / "tokenizer.json"))
    files = FileOptions(texts=TextOptions(tmp_path))
    inputs = [*specs(), InputSpec("position_ids", I64, ("N", "T"))]
    read = read_inputs([str(tmp_path / "s.txt")], inputs, files=files)
    short = [*[IDS["b"]] * 6, IDS["[CLS]"], IDS["great"], IDS["[SEP]"]]
    np.testing.assert_array_equal(read["input_ids"].value[1], short)
    np.testing.assert_array_equal(read["attention_mask"].value[1], [0] * 6 + [1] * 3)
    np.testing.assert_array_equal(read["token_type_ids"].value[1], [1] * 6 + [0] * 3)
    np.testing.assert_array_equal(read["position_ids"].value, [range(9), [0] * 6 + [0, 1, 2]])
    np.testing.assert_array_equal(read["input_ids"].padding.ids[1], [*[IDS["b"]] * 6, 2, IDS["b"], 3])
    assert read["input_ids"].words[1].positions == ((7,),)
    made.enable_truncation(8)
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="sentence 0 has 9 tokens, the tokenizer is set to cut behind 8"):
        read_inputs([str(tmp_path / "s.txt")], inputs, files=files)


def test_every_kind_of_tokenizer_gives_the_words_of_the_sentence(tmp_path: Path) -> None:
    """Bytes with blanks in the pieces, and a tokenizer that knows no words."""
    sentence = "naïve cafés, twice"
    alphabets = {
        pre_tokenizers.ByteLevel: pre_tokenizers.ByteLevel(add_prefix_space=False).alphabet(),
        None: set(sentence),
    }
    for kind, alphabet in alphabets.items():
        pre = None if kind is None else kind(add_prefix_space=False)
        pieces = {sign: place for place, sign in enumerate(["<pad>", *sorted(alphabet)])}
        made = Tokenizer(models.BPE(pieces, []))
        if pre:
            made.pre_tokenizer = pre
        made.save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "s.txt").write_text(sentence)
        read = read_inputs([str(tmp_path / "s.txt")], specs()[:1], files=FileOptions(texts=TextOptions(tmp_path)))
        (words,) = read["input_ids"].words
        assert " ".join(words.words).replace(" ,", ",") == sentence
        assert (
            sorted(place for places in words.positions for place in places)
            == list(range(len(words.tokens)))[: sum(map(len, words.positions))]
        )


# the file's name and content, the inputs, options, the error and words of its message
REFUSED: dict[str, tuple[str, str, list[InputSpec], dict[str, Any], type[Exception], str]] = {
    "no tokenizer": ("s.txt", "a", specs(), {"tokenizer": None}, UsageError, "--tokenizer tokenizer.json"),
    "no such tokenizer": ("s.txt", "a", specs(), {"tokenizer": Path("none.json")}, UsageError, "no such file"),
    "another file": ("s.txt", "a", specs(), {"tokenizer": Path("s.txt")}, InputError, "not a tokenizer.json"),
    "nothing": ("s.txt", "\n\n", specs(), {}, InputError, "holds no sentence"),
    "too long": ("s.txt", "the film is great", specs(4), {}, InputError, "sentence 0 has 6 tokens"),
    "no text in a line": (
        "s.jsonl", '{"text": "a"}\n\n{"txt": "a"}', specs(), {}, InputError,
        "row 1, line 3 of the file, has no text under 'text', which has 'txt'; name the key with --text-key; mend it",
    ),
    "another encoding": ("s.txt", "a\ncaf\udce9", specs(), {}, InputError, "row 1, line 2 of the file, is not UTF-8"),
    "half a character": ("s.jsonl", '{"text": "a \\ud800"}', specs(), {}, InputError, "line 1 of the file, holds half"),
    "no JSON": ("s.jsonl", "{", specs(), {}, InputError, "row 0, line 1 of the file, is not JSON"),
    "inputs that tell nothing": (
        "s.txt", "a", [InputSpec(n, I64, ("N", "T")) for n in ("a", "b")], {}, InputError,
        "cannot be told from their names",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_why(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, content, wanted, options, error, words = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(content, "utf-8", "surrogateescape")
    files = FileOptions(texts=TextOptions(**{"tokenizer": tokenizer(tmp_path), **options}))
    with pytest.raises(error) as raised:
        read_inputs([name], wanted, files=files)
    assert words in str(raised.value)


def test_a_tokenizer_without_padding_and_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.txt").write_text("great")
    files = FileOptions(texts=TextOptions(tokenizer(tmp_path, without="[PAD]")))
    with pytest.raises(InputError, match="names no padding token"):
        read_inputs([str(tmp_path / "s.txt")], specs(), files=files)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError, match=r"onnx-ig\[text\]"):
        read_inputs([str(tmp_path / "s.txt")], specs(), files=files)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that sums what each token says, and sentences that would be mark-up or steer a terminal."""
    monkeypatch.chdir(tmp_path)
    table = np.random.default_rng(0).standard_normal((len(VOCABULARY), 4)).astype(np.float32)
    weights = {"table": table, "w": np.float32([[1, -1], [0.5, 0], [0, 0.5], [-1, 1]]), "axes": np.array([1])}
    nodes = [
        node("Gather", "table input_ids", "embedded"),
        node("Unsqueeze", "attention_mask last", "column"),
        node("Cast", "column", "kept", to=T.FLOAT),
        node("Mul", "embedded kept", "masked"),
        node("Tanh", "masked", "bent"),
        node("ReduceSum", "bent axes", "summed", keepdims=0),
        node("MatMul", "summed w", "logits"),
    ]
    tokens = {"input_ids": (T.INT64, ["N", "T"]), "attention_mask": (T.INT64, ["N", "T"])}
    made = model(nodes, tokens, {"logits": (T.FLOAT, ["N", 2])}, {**weights, "last": np.array([2])})
    onnx.save(made, "text.onnx")
    tokenizer(tmp_path)
    Path("s.txt").write_text("the film is unwatchable\n<b>great</b> \x1b[31m\n")
    return tmp_path


def run(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


@pytest.mark.parametrize("exported", [False, True])
def test_sentences_are_explained_word_by_word(work: Path, exported: bool) -> None:
    source = "text.onnx"
    if exported:
        done = run("export text.onnx -o ig.onnx --input input_ids --at embedded --baseline input --n-steps 10")
        assert done.exit_code == 0, done.stderr
        source = "ig.onnx"
    done = run(f"attribute {source} -i s.txt --tokenizer tokenizer.json --target 1 --n-steps 10 -o out")
    assert done.exit_code == 0, done.stderr
    files = FileOptions(texts=TextOptions(Path("tokenizer.json")))
    read = read_inputs(["s.txt"], [InputSpec(n, I64, ("N", "T")) for n in ("input_ids", "attention_mask")], files=files)
    ids, mask = read["input_ids"], read["attention_mask"].value
    expected = onnx_ig.IntegratedGradients("text.onnx", at="embedded").attribute(
        {"input_ids": ids.value}, {"input_ids": ids.padding.ids}, target=1, n_steps=10,
        additional_forward_args={"attention_mask": mask},
    )  # fmt: skip
    np.testing.assert_allclose(np.load("out/attributions.npz")["attribution_embedded"], expected, rtol=1e-5, atol=1e-7)
    first, second = json.loads(Path("out/report.json").read_text())["examples"]
    assert [word for word, _ in first["words"]] == ["the", "film", "is", "unwatchable"]
    by_token = expected.sum(axis=-1)
    sums = [by_token[0, 1], by_token[0, 2], by_token[0, 3], by_token[0, 4:7].sum()]
    np.testing.assert_allclose([value for _, value in first["words"]], sums, rtol=1e-4)
    assert [word for word, _ in second["words"]][:4] == ["<", "b", ">", "great"]
    page = Path("out/report.html").read_text()
    assert "unwatchable</span>" in page and "<b>" not in page and "&lt;</span>" in page
    assert "\x1b" not in done.stdout and "unwatchable" in done.stdout
    largest = max(first["words"], key=lambda word: abs(word[1]))
    assert f"{largest[0]} {largest[1]:+.4g}" in done.stdout  # the word's sum, not an element of its vectors
    assert "baseline: input_ids has '[PAD]' for each word" in done.stderr


@pytest.mark.parametrize("size", ["", "--rows-per-file 2"])
@pytest.mark.parametrize("suffix", ["jsonl", "txt"])
def test_lines_that_cannot_be_read_are_left_out_and_listed(work: Path, suffix: str, size: str) -> None:
    """With what goes by the same rows; empty lines are no rows."""
    good = ["the film is great", "great", "unwatchable film"]
    asked = f"--tokenizer {tokenizer(work, longest=9)} --on-error skip --n-steps 5 --target"
    long, latin = "great " * 8, b"caf\xe9"
    if suffix == "txt":
        lines, out = [good[0].encode(), b"", latin, good[1].encode(), long.encode(), b"  ", good[2].encode()], [1, 3]
    else:
        objects = [json.dumps({"text": text}).encode() for text in (*good, long)]
        bad = [b"{", b'{"txt": "a"}', b'{"text": 3}', b'["a"]', b'{"text": "' + latin + b'"}']
        lines, out = [objects[0], b"", *bad, objects[1], objects[3], objects[2]], [1, 2, 3, 4, 5, 7]
    Path(f"bad.{suffix}").write_bytes(b"\n".join(lines))
    Path("good.txt").write_text("\n".join(good))
    kept = [row for row in range(3 + len(out)) if row not in out]
    np.save("targets.npy", np.isin(np.arange(3 + len(out)), [kept[1]]).astype(int))
    np.save("own.npy", np.array([0, 1, 0]))
    done = run(f"attribute text.onnx -i bad.{suffix} {asked} @targets.npy {size} -o out")
    assert done.exit_code == 0, done.stderr
    listed = ", ".join(map(str, out[:5])) + (" and 1 more" if len(out) > 5 else "")
    assert f"bad.{suffix}: {len(out)} of {3 + len(out)} rows were left out, without a value or broken: {listed}" in (
        done.stderr
    )
    report = json.loads(Path("out/report.json").read_text())
    assert report["left_out"] == out and [one["name"] for one in report["examples"]] == [f"row {n}" for n in kept]
    assert run(f"attribute text.onnx -i good.txt {asked} @own.npy -o clean").exit_code == 0
    clean = json.loads(Path("clean/report.json").read_text())["examples"]
    assert [one["target"] for one in report["examples"]] == [one["target"] for one in clean] == [0, 1, 0]
    for one, other in zip(report["examples"], clean, strict=True):
        (words, sums), (others, expected) = zip(*one["words"], strict=True), zip(*other["words"], strict=True)
        assert words == others
        np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-7)
    refused = run(f"attribute text.onnx -i bad.{suffix} {asked.replace('skip', 'stop')} 0 {size} -o none")
    assert refused.exit_code == 4 and "row 1, line 3 of the file" in refused.stderr
    Path(f"none.{suffix}").write_bytes(lines[2])
    none = run(f"attribute text.onnx -i none.{suffix} {asked} 0 -o none")
    assert none.exit_code == 4 and "row 0, line 1 of the file" in none.stderr and not Path("none").exists()


# options beside the sentences, and the exit
WITHOUT_PADDING: dict[str, tuple[str, int]] = {
    "no path": ("--algorithm input-x-gradient", 0),
    "a baseline of the user's": ("--baseline 3", 0),
    "a mask of the user's": ("--extra attention_mask=mask.npy", 2),
}


@pytest.mark.parametrize("case", WITHOUT_PADDING)
def test_padding_is_told_only_where_it_is_the_baseline(work: Path, case: str) -> None:
    options, code = WITHOUT_PADDING[case]
    np.save("mask.npy", np.ones((2, 8), np.int64))
    steps = "" if "algorithm" in options else "--n-steps 5"
    done = run(f"attribute text.onnx -i s.txt --tokenizer tokenizer.json --target 1 {steps} {options} -o out")
    assert done.exit_code == code, done.stderr
    assert "[PAD]" not in done.stderr
    assert ("'attention_mask' is given twice" in done.stderr) == (code != 0)


def test_a_baked_baseline_is_not_said_to_be_padding(work: Path) -> None:
    done = run("export text.onnx -o ig.onnx --input input_ids --at embedded --target 1 --n-steps 5")
    assert done.exit_code == 0, done.stderr
    done = run("attribute ig.onnx -i s.txt --tokenizer tokenizer.json -o out")
    assert done.exit_code == 0 and "sentence(s)" in done.stderr and "[PAD]" not in done.stderr, done.stderr


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_only_a_line_feed_ends_a_sentence(tmp_path: Path, suffix: str) -> None:
    sentences = ["the\u2028film\x0cis\x85great", "great"]
    lines = [json.dumps({"text": s}, ensure_ascii=False) if suffix == "jsonl" else s for s in sentences]
    (tmp_path / f"s.{suffix}").write_bytes("\r\n".join([*lines, ""]).encode())
    assert read_sentences(tmp_path / f"s.{suffix}", TextOptions()) == sentences


def test_words_of_special_and_padding_tokens_count_nowhere() -> None:
    text = Words(("a",), ((1,),), ("[CLS]", "a", "[SEP]", "[PAD]"))
    np.testing.assert_array_equal(text.sums(np.array([8.0, 1, 4, 2])), [1])
