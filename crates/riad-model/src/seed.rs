//! Seeds by place: the purpose and the place of a random choice decide its seed, not earlier draws. So a resumed run
//! draws the same numbers as an undisturbed run.

/// What a random choice is for. Each has seeds of its own.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Choice {
    Weights = 1,
    Order = 2,
    RegionSize = 3,
    Masks = 4,
    Tiles = 5,
}

/// A step of a training run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) seed: u64,
    /// Epochs before.
    pub(crate) epoch: u64,
    /// Steps of the epoch before.
    pub(crate) step: u64,
}

impl Step {
    /// The seed of a choice that is made once in the step.
    pub(crate) fn seed(self, choice: Choice) -> u64 {
        derive_seed(&[self.seed, choice as u64, self.epoch, self.step])
    }

    /// The seed of a choice that is made for each image of the step.
    pub(crate) fn seed_of_image(self, choice: Choice, image: usize) -> u64 {
        derive_seed(&[self.seed, choice as u64, self.epoch, self.step, image as u64])
    }
}

/// A seed made from others: the steps of SplitMix64 over them.
pub(crate) fn derive_seed(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |state, &part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_seeds_depend_on_every_part_and_its_place() {
        let seeds = [
            &[1, 2, 3][..],
            &[1, 2, 4],
            &[1, 3, 2],
            &[2, 1, 3],
            &[1, 2],
            &[1, 2, 3, 0],
        ]
        .map(derive_seed);
        for (index, seed) in seeds.iter().enumerate() {
            assert!(!seeds[..index].contains(seed));
        }
    }
}
