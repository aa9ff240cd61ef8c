"""Settings by which `numbers-transformer-tiny` trains in a few seconds."""

SHORT = (
    'precision="fp32"',  # a child would time what is faster
    *("subset=400", "epochs=4", "batch=512", "warmup_steps=60", "train_sample=50", "keep_every=1"),
    *("dropout=0.1", "average=2", "beam=2", "decoded=10", "accumulate=2"),
)
