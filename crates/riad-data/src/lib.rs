//! Images for anomaly detection: data set layouts, decoding with limits, resizing, splits, batches ahead of the model.
