"""The settings of a training: what each is, and what it is where a recipe does not say."""

from __future__ import annotations

from dataclasses import dataclass


def to_epoch(value: int | float, epochs: int) -> int:
    """Epochs as they are, or a share of the training in epochs, at least 1."""
    return value if isinstance(value, int) else max(1, round(value * epochs))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The fields of a recipe, and the epochs that they name.

    Epochs in ``milestones`` and ``keep`` are integers (after so many epochs) or fractions of ``epochs``
    (``0.5`` is half of the training), so that ``--set epochs=30`` scales the schedule with it.

    Attributes:
        dataset: Name of an ingested dataset.
        model: Architecture, as `ralr_viz.models.build_model` takes it.
        epochs: Number of passes over the training images.
        batch: Images per step.
        lr: Base learning rate η₀, the highest that the schedule asks for.
        optimizer: ``sgd``, ``adam`` or ``adagrad``.
        momentum, nesterov, weight_decay: Of the optimizer; weight decay is the coupled L2 kind, on all
            parameters, so an amplified learning rate amplifies it too.
        label_smoothing: ε in [0, 1): the loss is against (1 − ε) of the label and ε/C of each of C classes.
        schedule: ``multistep`` (× ``gamma`` after each of ``milestones``), ``cosine`` to 0, ``constant``,
            ``sgdr``, ``cyclical`` or ``onecycle``. All step once an epoch, and of the cyclical ones only the
            learning rate cycles: the momentum stays.
        restart_epochs, restart_factor: ``sgdr`` falls along a cosine from ``lr`` to 0 within
            ``restart_epochs`` (epochs, or a fraction of the training) and starts again; each period is
            ``restart_factor`` times as long as the one before.
        cycle, lr_floor: ``cyclical`` rises from ``lr · lr_floor`` to ``lr`` and falls back on straight lines
            within ``cycle`` (epochs, or a fraction), whose last epoch has ``lr · lr_floor``. ``onecycle`` is torch's: from ``lr``/25 up to ``lr`` for
            0.3 of the training, then down along a cosine to 4·10⁻⁶ ``lr``.
        low, high, probability, draw: RALR's [low, high], p_r and how the factor is drawn (paper section 4.2).
        interval: Epochs per draw (the paper: 1).
        amplify_from: Share of the training in [0, 1) that is not amplified at its beginning (the paper: 0), by
            ``ralr``, ``scaled`` or ``matched``. All later factors are those of a training with 0.
        noise_pct, noise_range: The method ``noise`` multiplies by 1 + a standard normal number that is drawn
            within ± ``noise_pct``, in the epochs between two fractions of the training.
        crop_padding: Zero padding of the random crop in pixels; 0 turns it off.
        flip: Mirror horizontally with probability 0.5.
        cutout: Side in pixels of a square of the mean colour in each image, cut at the border; 0 for none.
        mixup: α of the Beta(α, α) from which a batch's mixing weight comes; 0 turns Mixup off.
        cutmix, cutmix_alpha: Probability that a batch is cut, and α of the pasted share; 0 turns CutMix off.
            Where images are mixed, or labels smoothed, ``train_loss`` is that of the mixed labels, and
            ``train_acc`` counts each image's own label; losses in eval mode are the plain ones.
        validation: Share of the training images held out, stratified; 0 trains on all, as the paper does.
        subset: Number of training images to keep, stratified, before holding out; 0 keeps all.
        split_seed: Seed of both selections; the same for all training seeds, so that they are comparable.
        drop_last: Leave out the last, smaller batch of an epoch.
        precision: ``auto``, ``fp32`` or ``bf16`` (autocast).
        threads: CPU threads of torch, on which the last bits of a training depend; 0 leaves them to the caller.
        keep: Epochs whose checkpoint is kept; ``keep_every`` keeps each n-th.
        train_sample: Images of the fixed training sample on which ``train_loss_eval`` is measured.
        evaluate_test: When the test images are looked at: after each ``epoch``, or once at the ``end``.
        evaluate_unused: Whether the training images that ``subset`` leaves out are: ``never``, or once at the
            ``end``. What is scored at the end is scored in fp32 and stands in ``result.json`` under ``final``.
    """

    dataset: str
    model: str
    epochs: int
    batch: int
    lr: float
    optimizer: str = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    schedule: str = "multistep"
    milestones: tuple[int | float, ...] = ()
    gamma: float = 0.1
    restart_epochs: int | float = 0.25
    restart_factor: int = 1
    cycle: int | float = 0.25
    lr_floor: float = 0.25
    low: float = 1.0
    high: float = 3.0
    probability: float = 0.5
    draw: str = "uniform"
    interval: int = 1
    amplify_from: float = 0.0
    noise_pct: float = 0.67
    noise_range: tuple[int | float, ...] = (0.0, 1.0)
    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    cutmix_alpha: float = 1.0
    validation: float = 0.0
    subset: int = 0
    split_seed: int = 0
    drop_last: bool = False
    precision: str = "auto"
    threads: int = 0
    keep: tuple[int | float, ...] = ()
    keep_every: int = 0
    train_sample: int = 2000
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
