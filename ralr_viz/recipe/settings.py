"""The settings of a training: what each is, and what it is where a recipe does not say."""

from __future__ import annotations

from dataclasses import dataclass

from ralr_viz.results.tasks import CLASSIFICATION

_LAST_EVALUATED = 5  # epochs, whose median is reported


def to_epoch(value: int | float, epochs: int) -> int:
    """Epochs as they are, or a share of the training in epochs, at least 1."""
    return value if isinstance(value, int) else max(1, round(value * epochs))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The fields of a recipe, and the epochs that they name.

    Epochs in ``milestones`` and ``keep`` are integers (after so many epochs) or fractions of ``epochs``
    (``0.5`` is half of the training), so that ``--set epochs=30`` scales the schedule with it.

    A task may have more; see `ralr_viz.results.tasks`.

    Attributes:
        dataset: Name of an ingested dataset.
        model: Architecture, as the task knows it, or ``package.module:factory`` of your own.
        epochs: Number of passes over the training samples.
        batch: Samples per step.
        lr: Base learning rate η₀, the highest that the schedule asks for.
        task: What is trained for: a name of `ralr_viz.results.tasks`, or ``package.module:Class`` of your own.
        optimizer: ``sgd``, ``adam``, ``adagrad``, or ``package.module:Class``, such as ``torch.optim:AdamW``, which is
            given those of ``lr``, ``momentum``, ``nesterov`` and ``weight_decay`` that it takes.
        momentum, nesterov, weight_decay: Of the optimizer; weight decay is the coupled L2 kind, on all
            parameters, so an amplified learning rate amplifies it too.
        schedule: ``multistep`` (× ``gamma`` after each of ``milestones``), ``cosine`` to 0, ``constant``,
            ``sgdr``, ``cyclical``, ``onecycle`` or ``inverse_sqrt``. All but the last step once an epoch, and of the cyclical ones only the
            learning rate cycles: the momentum stays.
        restart_epochs, restart_factor: ``sgdr`` falls along a cosine from ``lr`` to 0 within
            ``restart_epochs`` (epochs, or a fraction of the training) and starts again; each period is
            ``restart_factor`` times as long as the one before.
        cycle, lr_floor: ``cyclical`` rises from ``lr · lr_floor`` to ``lr`` and falls back on straight lines
            within ``cycle`` (epochs, or a fraction), whose last epoch has ``lr · lr_floor``. ``onecycle`` is torch's: from ``lr``/25 up to ``lr`` for
            0.3 of the training, then down along a cosine to 4·10⁻⁶ ``lr``.
        warmup_steps: Steps in which the rate rises on a straight line to that of ``schedule``; ``inverse_sqrt`` then falls
            with the inverse root of the steps. Such a rate moves each step; factors are still an epoch's, and LRs in
            records are means over the epoch's steps.
        low, high, probability, draw: RALR's [low, high], p_r and how the factor is drawn (paper section 4.2).
        interval: Epochs per draw (the paper: 1).
        amplify_from: Share of the training in [0, 1) that is not amplified at its beginning (the paper: 0), by
            ``ralr``, ``scaled`` or ``matched``. All later factors are those of a training with 0.
        noise_pct, noise_range: The method ``noise`` multiplies by 1 + a standard normal number that is drawn
            within ± ``noise_pct``, in the epochs between two fractions of the training.
        validation: Share of the training samples held out (of images with classes stratified); 0 trains on all, as
            the paper does.
        subset: Number of training samples to keep, likewise, before holding out; 0 keeps all.
        split_seed: Seed of both selections; the same for all training seeds, so that they are comparable.
        drop_last: Leave out the last, smaller batch of an epoch.
        clip_norm: Largest norm of a step's gradient, which is scaled down to it; 0 for no bound.
        precision: ``auto``, ``fp32``, ``bf16`` (autocast) or ``fp16`` (the same, with the loss scaled).
        auto_precision: What ``auto`` takes where the device has it, as the published runs did; empty for what is faster.
        threads: CPU threads of torch, on which the last bits of a training depend; 0 leaves them to the caller.
        keep: Epochs whose checkpoint is kept; ``keep_every`` keeps each n-th.
        keep_optimizer: Whether the states of a finished training keep the optimizer's, from which `fork` goes on; without
            it they have half the size, or a third.
        train_sample: Size of the fixed training sample on which ``train_loss_eval`` is measured.
        examples: Of which samples loss and correctness are kept each by each, epoch by epoch: ``train`` (as the steps
            saw them), ``val``, ``test`` (as they are evaluated), or several with commas; empty for none.
        evaluate_every: Epochs between two evaluations; the last five epochs are always evaluated.
        evaluate_test: When the test samples are looked at: after each ``epoch``, or once at the ``end``.
        evaluate_unused: Whether the training samples that ``subset`` leaves out are: ``never``, or once at the
            ``end``. What is scored at the end is scored in fp32 and stands in ``result.json`` under ``final``.
    """

    dataset: str
    model: str
    epochs: int
    batch: int
    lr: float
    task: str = CLASSIFICATION
    optimizer: str = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "multistep"
    milestones: tuple[int | float, ...] = ()
    gamma: float = 0.1
    restart_epochs: int | float = 0.25
    restart_factor: int = 1
    cycle: int | float = 0.25
    lr_floor: float = 0.25
    warmup_steps: int = 0
    low: float = 1.0
    high: float = 3.0
    probability: float = 0.5
    draw: str = "uniform"
    interval: int = 1
    amplify_from: float = 0.0
    noise_pct: float = 0.67
    noise_range: tuple[int | float, ...] = (0.0, 1.0)
    validation: float = 0.0
    subset: int = 0
    split_seed: int = 0
    drop_last: bool = False
    clip_norm: float = 0.0
    precision: str = "auto"
    auto_precision: str = ""
    threads: int = 0
    keep: tuple[int | float, ...] = ()
    keep_every: int = 0
    keep_optimizer: bool = True
    train_sample: int = 2000
    examples: str = ""
    evaluate_every: int = 1
    evaluate_test: str = "epoch"
    evaluate_unused: str = "never"
    name: str = ""
    description: str = ""

    @property
    def milestone_epochs(self) -> tuple[int, ...]:
        """Epochs after which the base learning rate falls."""
        return tuple(to_epoch(m, self.epochs) for m in self.milestones)

    @property
    def first_amplified(self) -> int:
        """After how many epochs amplification begins."""
        return round(self.amplify_from * self.epochs)

    @property
    def noise_epochs(self) -> tuple[int, int]:
        """After how many epochs the method ``noise`` begins and ends."""
        first, last = (round(share * self.epochs) for share in self.noise_range)
        return first, last

    @property
    def kept_epochs(self) -> frozenset[int]:
        """Epochs whose checkpoint is kept; 2/3 of the training and its end are what Figure 2 compares."""
        every = range(self.keep_every, self.epochs + 1, self.keep_every) if self.keep_every else ()
        return frozenset(to_epoch(k, self.epochs) for k in self.keep) | frozenset(every)

    @property
    def averaged_epochs(self) -> tuple[int, ...]:
        """Kept epochs whose mean weights are scored at the end too, beside the last; none unless a task has a setting."""
        return ()

    @property
    def scored_by(self) -> str:
        """Which of several scores of the end a table reads: a key of ``final.test`` in ``result.json``; empty for the one."""
        return ""

    @property
    def moves_each_step(self) -> bool:
        """Whether the base learning rate changes within an epoch."""
        return self.warmup_steps > 0

    def evaluates(self, epoch: int) -> bool:
        """Whether the network is evaluated after so many epochs."""
        return epoch % self.evaluate_every == 0 or epoch > self.epochs - _LAST_EVALUATED
