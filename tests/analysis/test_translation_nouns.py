"""What looks into a pair that translates: ``bleu``, ``attention``, and the nouns that see sentences as images."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import ralr_viz as rv
from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.sentences import open_sentences, predict_sentences
from ralr_viz.analysis.translations import translation_of
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.plots.attention import attention_table, draw_attention
from ralr_viz.plots.style import save_figure
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.tasks.translation.metric import score_translations


@pytest.fixture(scope="module")
def pair(numbers_pair):
    folder, arms = numbers_pair
    return rv.compare([str(arm) for arm in arms], root=folder / "data", limit=60, device="cpu")


@pytest.fixture(scope="module")
def attended(pair):
    return rv.compute_attention(pair, rows="gain", count=2, resamples=50)


def test_bleu_of_all_sentences_is_that_of_the_corpus(pair):
    result = rv.compute_bleu(pair, bins=3, examples=1, resamples=50)
    made = rv.translate(pair)
    whole = result.measures()[0]
    for i in range(2):
        scores = score_translations(made.hypotheses[i], made.references)
        assert whole.values[i] == pytest.approx(scores["13a"], abs=1e-9)
    assert result.signature == score_translations(made.references, made.references)["signatures"]["13a"]
    assert result.lengths.tolist() == [len(line.split()) for line in made.sources]
    assert len(result.cited) <= 2 and set(result.cited) == {
        int(places[0]) for places in (result.fixed(1), result.broken(1)) if len(places)
    }
    for place, texts in zip(result.cited, result.texts, strict=True):
        assert texts == (made.sources[place], made.references[place], *(m[place] for m in made.hypotheses))


def literal_attention(model, source, target):
    """Mean over heads of the last layer's softmax(q kᵀ / √d), by loops."""
    seen = []
    layer = model.decoder[-1]
    handle = layer.cross.query.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(source, target[:, :-1])
    handle.remove()
    memory, _ = model.encode(source)
    query, key = layer.cross.query(seen[0])[0], layer.cross.key(memory)[0]
    heads, width = layer.cross.heads, query.shape[1] // layer.cross.heads
    rows = torch.zeros(len(query), len(key))
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for t in range(len(query)):
            scores = torch.stack([query[t, part] @ key[s, part] for s in range(len(key))]) / width**0.5
            rows[t] += scores.softmax(0) / heads
    return rows


@torch.no_grad()
def test_maps_and_entropies_are_those_of_a_literal_twin(pair, attended):
    task = translation_of(pair)
    sources, targets = task.encoded.splits["test"]
    for i in range(2):
        model = pair.build(i)
        for k, place in enumerate(attended.drawn):
            row = attended.rows[place]
            source = torch.tensor([[*sources[row].tolist(), 3]])
            target = torch.tensor([[2, *targets[row].tolist(), 3]])
            weights = literal_attention(model, source, target).double()
            entropy = -(weights * weights.log()).sum(1).mean()
            assert attended.entropy[i, -1, place] == pytest.approx(float(entropy), abs=1e-5)
            logits = model(source, target[:, :-1])[0].log_softmax(1)
            expected = logits[range(len(logits)), target[0, 1:]].mean()
            assert attended.log_p[i, place] == pytest.approx(float(expected), abs=1e-5)
            words = attended.word_map(i, k)
            assert words.sum(1) == pytest.approx(1, abs=1e-5)
            names = [task.encoded.pieces.id_to_piece(p) for p in [*sources[row].tolist()]] + ["▁"]
            starts = [n for n, name in enumerate(names) if name.startswith("▁")]
            firsts = [task.encoded.pieces.id_to_piece(int(p)).startswith("▁") for p in targets[row]] + [True]
            summed = np.add.reduceat(weights.numpy(), starts, axis=1)
            assert words[0] == pytest.approx(summed[: [*firsts[1:], True].index(True) + 1].mean(0), abs=1e-5)


def test_gain_and_loss_choose_the_ends_and_random_depends_on_the_seed_alone(pair, attended):
    gain = attended.log_p[1] - attended.log_p[0]
    assert list(attended.drawn) == np.argsort(-gain, kind="stable")[:2].tolist()
    worst = rv.compute_attention(pair, rows="loss", count=1)
    assert gain[worst.drawn[0]] == gain.min() and "loses the most" in worst.selection
    a, b, c = (rv.compute_attention(pair, count=5, seed=seed).drawn for seed in (0, 0, 1))
    assert a == b != c
    one = rv.compare([pair.networks[0].source], root=pair.task.root, limit=5)
    with pytest.raises(InputError, match="pass --ckpt twice"):
        rv.compute_attention(one, rows="gain")
    with pytest.raises(UnknownNameError):
        rv.compute_attention(pair, rows="best")
    with pytest.raises(InputError, match="`layer` = 2 is none of the decoder's 1"):
        rv.compute_attention(pair, layer=2)


def test_attention_leaves_networks_and_forward_pass_as_they_were(numbers_pair):
    folder, arms = numbers_pair
    model = rv.load_checkpoint(str(arms[0])).build(
        classifier=False, make=translation_of(rv.compare([str(arms[0])], root=folder / "data")).build
    )
    model.train()
    compared = rv.compare({"a": model, "b": str(arms[1])}, root=folder / "data", limit=4)
    rv.compute_attention(compared)
    assert model.training and not any(m._forward_hooks for m in model.modules())


def test_attention_is_saved_described_and_drawn_the_same_twice(attended, tmp_path):
    save_result(attended, tmp_path / "attention")
    assert load_result(tmp_path / "attention") == attended
    assert len(attended.describe()) == 3 and "chosen by outcome" in attended.remarks()[0]
    for folder in ("first", "second"):
        save_figure(draw_attention(attended), tmp_path / folder / "x", attention_table(attended), {})
    assert (tmp_path / "first" / "x.png").read_bytes() == (tmp_path / "second" / "x.png").read_bytes()


def test_the_commands_take_the_runs_and_refuse_others_in_one_line(numbers_pair, tmp_path):
    # the commands themselves are made from the table; what they open is tried in test_translate_command
    images = torch.zeros(2, 8, 8, 3, dtype=torch.uint8).numpy()
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    other = rv.compare({"a": network}, images=images, mean=(0.5,) * 3, std=(0.5,) * 3)
    for compute in (rv.compute_bleu, rv.compute_attention):
        with pytest.raises(InputError, match="`a` does not translate"):
            compute(other)


@torch.no_grad()
def test_sentence_states_are_means_over_pieces_whatever_the_padding(pair):
    sentences = open_sentences(pair)
    network = sentences.build(pair, 0)
    model = pair.build(0)
    together = sentences.load(0, 20)[0]
    with capture(network, [*network.layers("states"), *network.layers("inner")]) as calls:
        network(together)
    found = {call.name: call.outputs[0] for call in calls}
    assert list(found) == ["encoder.0.inner", "encoder.0.states", "decoder.0.inner", "decoder.0.states"]
    for row in (0, 7, 19):
        source, target = sentences.load(row, row + 1)[0][0, :, 0]
        source, target = source[source != 0][None], target[target != 0][None]
        x = model.embed(source)
        layer = model.encoder[0]
        x = layer.attend(x)
        inner = torch.relu(layer.inner(layer.open(x, 1)))[0].mean(0)
        states = layer.feed_forward(x)[0].mean(0)
        torch.testing.assert_close(found["encoder.0.inner"][row], inner, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found["encoder.0.states"][row], states, atol=1e-5, rtol=1e-4)
        kept = []
        model(source, target[:, :-1], kept)
        torch.testing.assert_close(found["decoder.0.states"][row], kept[1][0].mean(0), atol=1e-5, rtol=1e-4)


def test_similarity_and_activations_look_at_sentences(pair, numbers_pair):
    folder, arms = numbers_pair
    result = rv.compute_similarity(pair, minibatch=20)
    assert result.layers == ("encoder.0.states", "decoder.0.states") and result.samples_name == "sentences"
    assert (result.num_batches, result.num_images) == (3, 60) and (
        (result.cka > 0.1) & (result.cka < 1)
    ).all()
    same = rv.compare({"a": str(arms[0]), "b": str(arms[0])}, root=folder / "data", limit=20)
    assert rv.compute_similarity(same, minibatch=10).cka[0].diagonal() == pytest.approx(1)
    moved = rv.compute_activations(pair)
    assert moved.layers == (("encoder.0.inner", "decoder.0.inner"),) and moved.num_images == 60
    assert (
        "images" not in " ".join(moved.notes)
        and "60 test sentences" in moved.selection
        and moved.dead_channels.max() < 128
    )
    one = rv.compute_activations(pair, image=3, layers=["decoder.0.states"])
    assert one.num_images == 1 and one.shapes == (((64,),),)
    with pytest.raises(InputError, match="`--image 60` is not there"):
        rv.compute_activations(pair, image=60)


def test_embedding_maps_encoder_states_by_length(pair):
    result = rv.compute_embedding(pair, resamples=10)
    lengths = [len(line.split()) for line in rv.translate(pair, beam=1).sources]
    assert result.class_names[0].endswith(" words") and len(result.labels) == 60
    order = np.argsort(lengths, kind="stable")
    assert (np.diff(result.labels[order]) >= 0).all() and len(set(result.labels.tolist())) > 1
    assert any("which no network predicts" in note for note in result.notes)
    assert "images" not in " ".join(result.describe())
    task = translation_of(pair)
    source = torch.tensor([[*task.encoded.splits["test"][0][0].tolist(), 3]])
    with torch.no_grad():
        expected = pair.build(0).encode(source)[0][0].mean(0)
    (first, _) = predict_sentences(pair)
    assert first.features[0] == pytest.approx(expected.numpy(), abs=1e-5)


def test_what_looks_at_sentences_refuses_other_tasks_in_one_line():
    task = rv.task([torch.randn(4, 3)], lambda model, batch: model(batch).sum(), name="mine")
    pair = rv.compare({"a": torch.nn.Linear(3, 1), "b": torch.nn.Linear(3, 1)}, task=task)
    for compute in (rv.compute_similarity, rv.compute_activations, rv.compute_embedding):
        with pytest.raises(InputError, match="`mine` has no images"):
            compute(pair)


def test_further_test_text_is_a_split_of_finished_networks_alone(numbers_pair, tmp_path):
    folder, arms = numbers_pair
    shutil.copytree(folder / "data" / "numbers", tmp_path / "numbers")
    about = json.loads((tmp_path / "numbers" / "text.json").read_text())
    (tmp_path / "numbers" / "text.json").write_text(json.dumps(about | {"more": {"test_2017_flickr": 2}}))
    (tmp_path / "numbers" / f"test_2017_flickr.{about['languages'][0]}").write_text(
        "seven\ntwo hundred and five\n"
    )
    (tmp_path / "numbers" / f"test_2017_flickr.{about['languages'][1]}").write_text("7\n2 0 5\n")
    pair = rv.compare([str(arms[0])], root=tmp_path, split="test_2017_flickr")
    found = rv.translate(pair)
    assert found.sources == ("seven", "two hundred and five") and found.references == ("7", "2 0 5")
    assert rv.compute_bleu(pair, resamples=10).split == "test_2017_flickr"
    assert rv.compute_attention(pair, resamples=10).log_p.shape == (1, 2)
    assert "test_2017_flickr" not in translation_of(pair).watched()
    with pytest.raises(
        InputError, match="has no `test_2018` text: choose train or val or test or test_2017_flickr"
    ):
        rv.compare([str(arms[0])], root=tmp_path, split="test_2018")
