"""What a fork's figure says below its panels."""

from __future__ import annotations

from ralr_viz.results.fork import ForkResult

MOST_DECAYS = 3
"""Decays of the base LR that are marked one by one; a schedule that changes every epoch has none to mark."""


def fork_note(result: ForkResult) -> str:
    """What the numbers are of, and what may not be concluded from them."""
    k, last = result.amplified_epochs, len(result.base_lr)
    what = "images" if result.samples_name == "images" else "samples"
    counts = ", ".join(f"{n:,} {name}" for name, n in result.images.items())
    then = f"{last - k} at factor 1; epochs and Σ LR count from this fork"
    if result.anneal:
        then = f"all annealed for {' and '.join(map(str, result.anneal))}; epochs count from this fork"
    parts = [
        f"{result.run}: {k} epoch{'s' * (k > 1)} at the scheduled LR times each factor (shaded), then "
        f"{then}. {result.dataset} {what}: {counts}; eval mode, no augmentation."
    ]
    parts.append(_describe_schedule(result))
    if result.states > 1:
        parts.append(
            f"{result.states} training seeds, each the mean of {result.repeats} data order{'s' * (result.repeats > 1)} "
            "(fine lines: branches; wide: mean); intervals: paired 95 % t over the seeds."
        )
    elif result.repeats > 1:
        parts.append(
            f"{result.repeats} repeats (fine lines; wide: mean): 0 in the run's own data order, the others in "
            "their own, shared by the factors; intervals: paired 95 % t over the repeats."
        )
    else:
        parts.append("One data order, the run's own: no interval, since nothing is repeated.")
    parts.append(f"Replay of the run's own factors: {result.reproduction} ({result.reproduction_note}).")
    parts.extend(result.notes)
    if result.anneal:
        return " ".join([*parts, *_describe_ends(result)])
    reached = ", ".join(f"{result.epochs_at_sum_lr(f):.3g} (×{f:g})" for f in result.factors)
    parts.append(
        f"Dashed: the largest Σ LR that all factors reach, {result.common_sum_lr[-1]:.3g}, after {reached} epochs, "
        "linearly interpolated between epochs; dots: end of the amplified epochs. At equal Σ LR a larger factor "
        f"has seen fewer {result.samples_name}, and more of them at the large LR: larger steps cannot be told from fewer "
        "steps, since a factor-1 branch trained on until its Σ LR is as large would have had more epochs."
    )
    parts.extend(result.probe)
    parts.append(_describe_reach(result))
    return " ".join(parts)


def _describe_ends(result: ForkResult) -> list[str]:
    ends = ["Δ: at the end, minus factor 1."]
    if result.child_barrier is not None:
        ends.append(
            "Child barrier: between the annealed ends of a factor and of factor 1 in one data order; × 1: of factor 1 in two "
            "orders, the basin that SGD's noise keeps."
            + " Two orders make one such pair, whose interval has no meaning."
            * (result.states == 1 and result.repeats == 2)
        )
    return [*ends, *result.probe, _describe_reach(result)]


def _describe_reach(result: ForkResult) -> str:
    if result.states > 1:
        return "One epoch of these trainings: nothing is said of other epochs."
    return "One checkpoint of one training: nothing is said of other seeds or other epochs."


def _describe_schedule(result: ForkResult) -> str:
    base = result.base_lr
    if not result.decays:
        return f"Base LR {base[0]:.3g} throughout."
    if len(result.decays) > MOST_DECAYS:
        return f"The base LR changes every few epochs, from {base[0]:.3g} to {base[-1]:.3g}."
    steps = ", ".join(f"to {base[d]:.3g} after {d}" for d in result.decays)
    return f"Base LR {base[0]:.3g}, decayed {steps} epoch{'s' * (result.decays[-1] > 1)} (dotted)."
