"""Translation of ralr-viz against `nn.Transformer` in the loop that a user would write, on the CPU.

Training. Plain loop: fp32, a DataLoader that pads so many sentences in random order, as many a batch as ralr-viz has on
average. ralr-viz: `train_step` on batches by tokens, made as its own loop makes them, in the faster precision. Both
train a network of the recipe's size with Adam; what counts are target tokens, without padding.

Beam search. Plain: one sentence at a time, the decoder run over the whole hypothesis for each further piece, as
`nn.Transformer` has no cache. ralr-viz: 50 sentences at a time with one. Both in fp32 with the same weights, those of
--ckpt where it is given, else as they begin; how many translations are equal is printed.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timing import make_parser, measure, print_machine, print_table, run, speedup, stopwatch, verdict
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ralr_viz.data import data_root
from ralr_viz.recipe import load_recipe
from ralr_viz.runtime.device import Runtime, configure, resolve_runtime
from ralr_viz.runtime.ranks import ALONE
from ralr_viz.tasks.eval_mode import eval_mode
from ralr_viz.tasks.translation.batches import pad
from ralr_viz.tasks.translation.decode import length_penalty, translate_all
from ralr_viz.tasks.translation.network import Attention, Transformer, layers_of
from ralr_viz.tasks.translation.pieces import BEGIN, END, PAD
from ralr_viz.tasks.translation.recipe import SIZES
from ralr_viz.tasks.translation.task import Translation
from ralr_viz.train.checkpoint import load_checkpoint
from ralr_viz.train.optim import build_optimizer
from ralr_viz.train.step import Totals, train_step

PLAIN, OURS = "nn.Transformer, plain loop, fp32", "ralr-viz"


class Plain(nn.Module):
    """`nn.Transformer` with the embeddings of one of ralr-viz, and the same weights."""

    def __init__(self, ours: Transformer, sizes: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        width, heads, inner, encoder, decoder = sizes
        self.body = nn.Transformer(
            width, heads, encoder, decoder, inner, dropout, norm_first=True, batch_first=True
        )
        self.embedding, self.bias = (
            nn.Embedding(ours.vocabulary, width),
            nn.Parameter(ours.bias.detach().clone()),
        )
        self.embedding.load_state_dict(ours.embedding.state_dict())
        self.dropout = nn.Dropout(dropout)
        for end in ("encoder", "decoder"):
            part = getattr(self.body, end)
            part.norm.load_state_dict(getattr(ours, f"{end}_norm").state_dict())
            for a, b in zip(layers_of(getattr(ours, end)), part.layers, strict=True):
                _copy(a.attention, b.self_attn)
                if a.cross is not None:
                    _copy(a.cross, b.multihead_attn)
                b.linear1.load_state_dict(a.inner.state_dict())
                b.linear2.load_state_dict(a.outer.state_dict())
                for i, norm in enumerate(a.norms, 1):
                    getattr(b, f"norm{i}").load_state_dict(norm.state_dict())

    def embed(self, pieces: Tensor) -> Tensor:
        width = self.embedding.embedding_dim
        place = torch.arange(pieces.shape[1])[:, None] * torch.exp(
            torch.arange(0, width, 2) * (-math.log(10_000.0) / width)
        )
        table = torch.stack([place.sin(), place.cos()], 2).flatten(1)
        return self.dropout(self.embedding(pieces) * math.sqrt(width) + table)

    def decode(self, memory: Tensor, hidden: Tensor, target: Tensor) -> Tensor:
        """Logits (b, T, V)."""
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        states = self.body.decoder(
            self.embed(target), memory, tgt_mask=mask, tgt_is_causal=True, memory_key_padding_mask=hidden
        )
        return states @ self.embedding.weight.T + self.bias

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        hidden = source == PAD
        memory = self.body.encoder(self.embed(source), src_key_padding_mask=hidden)
        return self.decode(memory, hidden, target)


def _copy(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    parts = ours.query, ours.key, ours.value
    theirs.in_proj_weight.data = torch.cat([part.weight for part in parts]).detach().clone()
    biases = [ours.query.bias, torch.zeros_like(ours.query.bias), ours.value.bias]
    theirs.in_proj_bias.data = torch.cat(biases).detach().clone()
    theirs.out_proj.load_state_dict(ours.out.state_dict())


class PlainLoop:
    """What a user writes without ralr-viz."""

    def __init__(self, task: Translation, model: Plain, batch: int) -> None:
        self.task, self.model, self.batch = task, model.train(), batch
        self.optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        self.generator = torch.Generator().manual_seed(0)
        sources, targets = task.encoded.splits["train"]
        pairs = [(sources[i].astype(np.int64), targets[i].astype(np.int64)) for i in task.trained]
        self.pairs = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in pairs]

    def time(self, tokens: int) -> None:
        """Steps until so many target tokens are seen."""
        loader = torch.utils.data.DataLoader(
            self.pairs,
            self.batch,
            shuffle=True,
            collate_fn=_collate,
            generator=self.generator,
        )
        for source, target in loader:
            wanted = target[:, 1:]
            logits = self.model(source, target[:, :-1])
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1),
                wanted.flatten(),
                ignore_index=PAD,
                label_smoothing=self.task.recipe.label_smoothing,
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            tokens -= int((wanted != PAD).sum())
            if tokens <= 0:
                return


def _collate(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    end, begin = torch.tensor([END]), torch.tensor([BEGIN])
    sources = [torch.cat([source, end]) for source, _ in pairs]
    targets = [torch.cat([begin, target, end]) for _, target in pairs]
    return pad_sequence(sources, batch_first=True), pad_sequence(targets, batch_first=True)


class PackageLoop:
    """Steps of ralr-viz, from the pieces in memory to the new weights."""

    def __init__(self, task: Translation, model: Transformer, runtime: Runtime) -> None:
        self.task, self.model, self.runtime, self.epoch = task, model.train(), runtime, 0
        self.optimizer = build_optimizer(task.recipe, task.parameter_groups(model), runtime.device)
        self.feed, self.totals = task.feed(runtime, ALONE), Totals.zero(0, runtime.device)

    def time(self, tokens: int) -> None:
        """The plan of an epoch, and steps until so many target tokens are seen."""
        plan = self.feed.plan(0, self.epoch)
        self.epoch += 1
        for step in range(plan.steps):
            batches = self.feed.load(plan, step, ALONE)
            train_step(self.model, self.optimizer, self.task, batches, self.totals, self.runtime)
            if plan.shown(step + 1) >= tokens:
                return


@torch.no_grad()
def search_plainly(model: Plain, source: list[int], beam: int, alpha: float, extra: int) -> list[int]:
    """Beam search of one sentence without a cache."""
    pieces = torch.tensor([[*source, END]])
    hidden = pieces == PAD
    memory = model.body.encoder(model.embed(pieces))
    live, best = [(0.0, [BEGIN])], (-math.inf, [END])
    ended = 0
    for length in range(1, pieces.shape[1] + extra + 1):
        n = len(live)
        target = torch.tensor([found for _, found in live])
        logits = model.decode(memory.expand(n, -1, -1), hidden.expand(n, -1), target)[:, -1]
        total = torch.tensor([score for score, _ in live])[:, None] + logits.log_softmax(1)
        scores, places = total.flatten().topk(beam)
        found = [
            (score, [*live[place // total.shape[1]][1], place % total.shape[1]])
            for score, place in zip(scores.tolist(), places.tolist(), strict=True)
        ]
        over = [(score / length_penalty(length, alpha), one) for score, one in found if one[-1] == END]
        ended += len(over)
        best = max([best, *over], key=lambda pair: pair[0])
        live = [(score, one) for score, one in found if one[-1] != END]
        if ended >= beam or not live:
            break
    if not ended:
        best = live[0]
    return [piece for piece in best[1][1:] if piece != END]


def compare_training(args: argparse.Namespace, task: Translation, model: Transformer, plain: Plain) -> None:
    """Target tokens a second."""
    runtime = resolve_runtime("cpu", args.precision)
    configure(runtime)
    ours = PackageLoop(task, model, runtime)
    batch = max(1, round(len(task.trained) / (len(ours.feed.ends) - 1)))
    loops = {PLAIN: PlainLoop(task, plain, batch), f"{OURS}, {runtime.precision}": ours}
    for loop in loops.values():
        loop.time(1)
    sides = {name: stopwatch(partial(loop.time, args.tokens)) for name, loop in loops.items()}
    found = measure(sides, args.repeats, args.tokens)
    rows = [(name, *one.show_rate(), f"{speedup(one, found[PLAIN]):.2f}×") for name, one in found.items()]
    print(f"training: {batch} sentences a plain batch, {task.recipe.batch} places one of ralr-viz")
    print_table(("side", "target tokens/s", "min–max", "against plain"), rows)
    print(verdict("training against the plain loop", speedup(found[list(loops)[1]], found[PLAIN]), 1.5))


def compare_search(args: argparse.Namespace, task: Translation, model: Transformer, plain: Plain) -> None:
    """Sentences a second of beam search."""
    sources = task.encoded.splits["test"][0]
    rows = np.linspace(0, len(sources) - 1, args.sentences).astype(int)
    chosen = [sources[i].tolist() for i in rows]
    beam, alpha = task.recipe.beam, task.recipe.length_penalty
    made: dict[str, list[list[int]]] = {}

    def plainly() -> None:
        made[PLAIN] = [search_plainly(plain, one, beam, alpha, args.extra) for one in chosen]

    def ours() -> None:
        made[OURS] = translate_all(model, chosen, pad, beam=beam, alpha=alpha, extra=args.extra)

    with eval_mode(model), eval_mode(plain):
        ours()
        found = measure({PLAIN: stopwatch(plainly), OURS: stopwatch(ours)}, args.repeats, len(chosen))
    equal = sum(a == b for a, b in zip(made[PLAIN], made[OURS], strict=True))
    print(f"beam {beam}: {equal} of {len(chosen)} translations are equal")
    rows_shown = [
        (name, *one.show_rate(), f"{speedup(one, found[PLAIN]):.2f}×") for name, one in found.items()
    ]
    print_table(("side", "sentences/s", "min–max", "against plain"), rows_shown)
    print(verdict("beam search against the plain loop", speedup(found[OURS], found[PLAIN]), 10))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--recipe", default="multi30k-transformer-small")
    parser.add_argument("--ckpt", type=Path, help="run whose weights search; else as they begin")
    parser.add_argument("--tokens", type=int, default=40_000, help="target tokens of a repeat of training")
    parser.add_argument("--sentences", type=int, default=50, help="of a repeat of the search")
    parser.add_argument("--extra", type=int, default=50, help="pieces beyond those of the source")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="auto", help="of ralr-viz in training: auto, bf16 or fp32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    task = Translation(load_recipe(args.recipe), data_root(args.data))
    torch.manual_seed(0)
    model = task.build()
    if args.ckpt is not None:
        model.load_state_dict(
            load_checkpoint(args.ckpt).build(classifier=False, make=task.build).state_dict()
        )
    plain = Plain(model, SIZES[task.recipe.model], task.recipe.dropout)
    print_machine(args.threads)
    compare_search(args, task, model, plain)
    compare_training(args, task, model, plain)


if __name__ == "__main__":
    run(main)
