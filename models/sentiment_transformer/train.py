"""Trains the text network and writes its files here: ``python models/sentiment_transformer/train.py SDIST``.

SDIST is what ``pip download --no-deps --no-binary :all: vaderSentiment==3.2.1`` brings: it holds sentences with
the mean of several people's ratings from −4 to 4, and single words rated likewise.
"""

from __future__ import annotations

import io
import json
import random
import re
import sys
import tarfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script sees its own folder, not the root

from models.sentiment_transformer.model import LONGEST, WORDS, sentiment_transformer
from models.training import accuracy, check, fit, make_repeatable, save

HERE = Path(__file__).resolve().parent
STEM = HERE / "sentiment_transformer"
_SOURCES = ("movieReviewSnippets", "amazonReviewSnippets", "tweets", "nytEditorialSnippets")
_SURE = 0.8  # a mean rating nearer to zero is neither praise nor blame
_HELD_OUT, _SHOWN = 1500, 200


def main() -> None:
    make_repeatable(seed=0)
    sentences, words = read(Path(sys.argv[1]))
    random.Random(0).shuffle(sentences)
    held_out, training = sentences[:_HELD_OUT], sentences[_HELD_OUT:]
    tokenizer = trained_tokenizer([text for text, _ in training])
    ids, labels = encoded(tokenizer, training)
    test_ids, test_labels = encoded(tokenizer, held_out)

    network = sentiment_transformer()
    fit(network, ids, labels, epochs=12, batch=64, learning_rate=4e-3, weight_decay=0.1)
    tokenizer.no_padding()
    tokenizer.save(str(HERE / "tokenizer.json"), pretty=False)
    save(
        network, (test_ids[:2], (test_ids[:2] != 0).long()), STEM,
        input_names=["input_ids", "attention_mask"], axes=("batch", "tokens"),
    )  # fmt: skip
    error = check(network, (test_ids, (test_ids != 0).long()), STEM.with_suffix(".onnx"))
    (HERE / "names.json").write_text(json.dumps({"classes": ["blame", "praise"]}) + "\n")
    write_examples([one for one in held_out[:_SHOWN] if len(tokenizer.encode(one[0])) < LONGEST], words)

    praised = test_labels.float().mean().item()
    found = accuracy(network, test_ids, test_labels)
    print(f"test accuracy   {found:.2%} of {_HELD_OUT} (the frequent class: {max(praised, 1 - praised):.2%})")
    print(f"onnxruntime     logits within {error:.1e} of torch's, relative to the largest")


def read(sdist: Path) -> tuple[list[tuple[str, int]], dict[str, float]]:
    """Sentences with their class (1 for praise), and words with their rating."""
    with tarfile.open(sdist) as outer:
        (inner,) = (member for member in outer if member.name.endswith("hutto_ICWSM_2014.tar.gz"))
        content = outer.extractfile(inner)
        assert content is not None
        with tarfile.open(fileobj=io.BytesIO(content.read())) as archive:
            files = {Path(m.name).name: _text(archive, m) for m in archive if m.isfile() and m.name.endswith(".txt")}
    sentences = []
    for source in _SOURCES:
        for line in files[f"{source}_GroundTruth.txt"].splitlines():
            _, rating, text = line.split("\t", 2)
            if abs(float(rating)) >= _SURE:
                sentences.append((text.strip(), int(float(rating) > 0)))
    rated = (line.split("\t")[:2] for line in files["vader_sentiment_lexicon.txt"].splitlines() if line)
    return sentences, {word: float(rating) for word, rating in rated if word.isalpha()}


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    stream = archive.extractfile(member)
    assert stream is not None
    return stream.read().decode("utf-8", errors="replace")


def trained_tokenizer(texts: list[str]) -> Tokenizer:
    """Word pieces in lower case, between [CLS] and [SEP]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=special, show_progress=False)
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=LONGEST)
    tokenizer.enable_truncation(LONGEST)
    return tokenizer


def encoded(tokenizer: Tokenizer, sentences: list[tuple[str, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = [one.ids for one in tokenizer.encode_batch([text for text, _ in sentences])]
    return torch.tensor(ids), torch.tensor([label for _, label in sentences])


def write_examples(sentences: list[tuple[str, int]], ratings: dict[str, float]) -> None:
    """``sentences.jsonl``: text, class, and the words in it that people rated without seeing it."""
    lines = []
    for text, label in sentences:
        rated = {word: ratings[word] for word in re.findall(r"\w+", text.lower()) if word in ratings}
        lines.append(json.dumps({"text": text, "class": label, "rated": rated}, ensure_ascii=False))
    (HERE / "sentences.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
