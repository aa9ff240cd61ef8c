"""``ralr-viz translate`` on the runs of a small pair."""

from __future__ import annotations

import json

import pytest
import torch

import ralr_viz as rv
from ralr_viz.errors import InputError
from ralr_viz.recipe import load_recipe
from ralr_viz.tasks.translation.task import Translation


def words_of(numbers_pair):
    folder, arms = numbers_pair
    return [*(word for arm in arms for word in ("--ckpt", arm)), "--data", folder / "data", "--device", "cpu"]


def test_translate_prints_source_reference_and_both_translations_with_marks(numbers_pair, cli):
    done = cli("translate", *words_of(numbers_pair), "--limit", "3").succeeded()
    blocks = [block.split("\n") for block in done.out.strip().split("\n\n")]
    assert [[line.split("  ")[0].strip() for line in block] for block in blocks] == [
        ["source", "reference", "baseline", "RALR"]
    ] * 3
    found = json.loads(cli("translate", *words_of(numbers_pair), "--limit", "3", "--json").succeeded().out)
    for block, one in zip(blocks, found, strict=True):
        made = list(one["translations"].values())
        assert (made[0] != made[1]) == ("[" in block[2] + block[3])
        assert block[0].endswith(one["source"]) and block[1].endswith(one["reference"])
    differing = sum(len(set(one["translations"].values())) > 1 for one in found)
    assert f"{differing} of 3 translations differ" in done.err


def test_translate_takes_sentences_and_files(numbers_pair, cli, tmp_path):
    sentences = ["two hundred and five", "seven"]
    text = tmp_path / "some.en"
    text.write_text("\n".join(sentences) + "\n")
    (tmp_path / "some.de").write_text("205\n7\n")
    given = [word for sentence in sentences for word in ("--text", sentence)]
    first = cli("translate", *words_of(numbers_pair), *given, "--json").succeeded()
    reference = ("--reference", tmp_path / "some.de")
    second = cli("translate", *words_of(numbers_pair), "--file", text, *reference, "--json").succeeded()
    made = [json.loads(done.out) for done in (first, second)]
    first_made, second_made = ([one["translations"] for one in found] for found in made)
    assert first_made == second_made
    assert made[0][0]["reference"] is None and made[1][0]["reference"] == "205"
    shown = cli("translate", *words_of(numbers_pair), "--text", "seven").succeeded().out
    assert "reference" not in shown and shown.startswith("source    seven\n")


@pytest.mark.parametrize(
    ("content", "reference", "message"),
    [
        (b"one\n\ntwo\n", None, "`the text` is empty in line 2"),
        (b"one\nt\xffwo\n", None, "`some.en` is not UTF-8 in line 2"),
        (b"", None, "`the text` has no lines"),
        (b"one\ntwo\n", "1\n", "`the text` has 2 lines, `the reference` 1"),
    ],
)
def test_translate_refuses_bad_lines_in_one_line(numbers_pair, cli, tmp_path, content, reference, message):
    (tmp_path / "some.en").write_bytes(content)
    more = []
    if reference is not None:
        (tmp_path / "some.de").write_text(reference)
        more = ["--reference", tmp_path / "some.de"]
    cli("translate", *words_of(numbers_pair), "--file", tmp_path / "some.en", *more).failed(2, message)


def test_translate_refuses_options_that_do_not_go_together(numbers_pair, cli, tmp_path):
    words = words_of(numbers_pair)
    cli("translate", *words, "--text", "a", "--file", tmp_path / "x").failed(2, "not by both")
    cli("translate", *words, "--reference", tmp_path / "x").failed(2, "belongs to the lines of a --file")
    cli("translate", *words, "--file", tmp_path / "none").failed(2, "none` cannot be read")


def test_translate_refuses_a_vocabulary_that_does_not_fit(numbers_pair):
    folder, arms = numbers_pair
    task = Translation(load_recipe("numbers-transformer-tiny", ["vocabulary=80"]), folder / "data")
    with pytest.raises(InputError, match="the network has 80 pieces, text `numbers` has 96"):
        rv.translate(rv.compare({"a": str(arms[0]), "b": task.build()}, root=folder / "data"), ["one"])


def test_translate_refuses_networks_that_do_not_translate():
    images = torch.zeros(2, 8, 8, 3, dtype=torch.uint8).numpy()
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    pair = rv.compare({"a": network}, images=images, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(InputError, match="`a` does not translate"):
        rv.translate(pair, ["one"])


def test_translate_is_the_translation_of_each_sentence_alone(numbers_pair):
    folder, arms = numbers_pair
    pair = rv.compare([str(arms[0])], root=folder / "data", limit=5)
    together = rv.translate(pair)
    alone = [rv.translate(pair, [line]).hypotheses[0][0] for line in together.sources]
    assert list(together.hypotheses[0]) == alone and together.rows.tolist() == [0, 40, 80, 120, 160]
