//! The RIAD network on candle: U-Net, losses, trainer, scorer, checkpoints.
