//! The losses of a run's epochs as a table.

use crate::{method::LossTerms, store::EpochRecord};

/// `history.csv`: a line for each epoch.
pub(super) fn history_csv(history: &[EpochRecord]) -> String {
    let mut csv = String::from(
        "epoch,learning_rate,train,train_l2,train_l1,train_ssim,train_msgms,\
         validation,validation_l2,validation_l1,validation_ssim,validation_msgms\n",
    );
    let terms = |terms: Option<LossTerms>| match terms {
        Some(LossTerms {
            l2,
            l1,
            ssim,
            msgms,
            total,
        }) => format!("{total:.6},{l2:.6},{l1:.6},{ssim:.6},{msgms:.6}"),
        None => ",,,,".to_owned(),
    };
    for EpochRecord {
        epoch,
        learning_rate,
        train,
        validation,
    } in history
    {
        csv += &format!(
            "{epoch},{learning_rate},{},{}\n",
            terms(Some(*train)),
            terms(*validation)
        );
    }
    csv
}
