//! What the machine's peak allows: a result beyond it tells of a broken stopwatch, not of a fast program.

use super::run::Bout;

/// The most multiplications of a convolution's definition that an algorithm spares for each one that it does.
///
/// Winograd's F(4×4, 3×3) makes 16 outputs from 36 products instead of 144: four to one. That is so for a 3×3 layer's outputs,
/// for the gradient by its input and, as the adjoint, for the gradient by its weights, and the transforms come on top. The
/// U-Net's other layers, 4×4 with stride 2 and their transposes, are four 2×2 convolutions each, for which F(4×4, 2×2) needs
/// 25 products instead of 64. They are 28 % of the multiplications, so that larger tiles for the 3×3 layers, F(6×6, 3×3)
/// with 64 products instead of 324, would not bring the whole network beyond four either.
const SPARED: f64 = 4.0;

/// The highest rates that the machine allows, in GFLOP/s by the definition of the layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    f32: f64,
    bf16: f64,
}

impl Limit {
    /// Where the FMA peak is `peak` GFLOP/s in f32, and a core does `bf16_products` products in bf16 for each one in f32. There
    /// is none where the peak is not known.
    pub(super) fn new(peak: f64, bf16_products: f64) -> Option<Self> {
        (peak > 0.0).then_some(Self {
            f32: SPARED * peak,
            bf16: SPARED * bf16_products * peak,
        })
    }

    /// Refuses whoever has done a round of a network's work in less time than the machine allows.
    pub(super) fn judge(self, bout: &mut Bout) {
        if bout.macs == 0.0 {
            return;
        }
        for contestant in bout.contestants.iter_mut().chain(&mut bout.riad_bench) {
            let most = if contestant.bf16 { self.bf16 } else { self.f32 };
            let rates = contestant.values.iter().map(|seconds| 2.0 * bout.macs / seconds / 1e9);
            let fastest = rates.fold(0.0, f64::max);
            if fastest > most {
                contestant.refusal = Some(format!(
                    "{fastest:.0} GFLOP/s, where the FMA peak allows {most:.0} at most: what was timed was not the work"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::Contestant;
    use super::*;

    /// `macs` of 1e9 are 2 GFLOP, so a second is 2 GFLOP/s.
    fn judged(peak: f64, bf16_products: f64, macs: f64, contestants: Vec<Contestant>) -> Vec<&'static str> {
        let mut bout = Bout {
            macs,
            contestants,
            ..Default::default()
        };
        if let Some(limit) = Limit::new(peak, bf16_products) {
            limit.judge(&mut bout);
        }
        bout.refused().map(|contestant| contestant.peer).collect()
    }

    fn contestant(peer: &'static str, bf16: bool, values: &[f64]) -> Contestant {
        Contestant {
            peer,
            bf16,
            values: values.to_vec(),
            ..Default::default()
        }
    }

    /// With a peak of 2 GFLOP/s in f32, a second's work takes a quarter of one at least, and an eighth where bf16 is twice
    /// as fast.
    #[test]
    fn whoever_passes_the_peak_with_what_winograd_spares_is_refused() {
        let all = || {
            vec![
                contestant("at the limit", false, &[0.25, 1.0]),
                contestant("once beyond it", false, &[1.0, 0.24, 1.0]),
                contestant("in no time", false, &[0.0]),
                contestant("bf16", true, &[0.125]),
                contestant("bf16, beyond it", true, &[0.12]),
                contestant("out", false, &[]),
            ]
        };
        assert_eq!(
            judged(2.0, 2.0, 1e9, all()),
            ["once beyond it", "in no time", "bf16, beyond it"]
        );
        // With AMX.
        assert_eq!(judged(2.0, 16.0, 1e9, all()), ["once beyond it", "in no time"]);
    }

    #[test]
    fn nobody_is_refused_where_there_is_no_network_or_no_peak() {
        let fast = || vec![contestant("fast", false, &[1e-9])];
        assert_eq!(judged(2.0, 2.0, 0.0, fast()), [""; 0]);
        assert_eq!(judged(0.0, 2.0, 1e9, fast()), [""; 0]);
        assert_eq!(judged(2.0, 2.0, 1e9, fast()), ["fast"]);
    }
}
