//! Lengths: products of sizes that do not wrap, and what kernels can count.

use crate::CudaError;

/// Elements that kernels number by 32 bits, with room for a step over a whole grid.
const MOST_THREADS: usize = i32::MAX as usize;
/// Height and width that kernels can mirror, which adds up to three of them.
const LONGEST_SIDE: usize = 1 << 28;

/// The product of sizes, or `usize::MAX` where that is more: no buffer is as long.
pub(crate) fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |product, &size| product.saturating_mul(size))
}

/// Refuses a buffer that is shorter than what its shape asks for, both in bytes.
pub(crate) fn check(what: &'static str, found: usize, expected: usize) -> Result<(), CudaError> {
    // A product without a number is longer than any buffer.
    if found >= expected && expected < usize::MAX {
        return Ok(());
    }
    Err(CudaError::Length { what, expected, found })
}

/// A count of elements that kernels number by 32 bits, of which there is one at least.
pub(crate) fn count(what: &'static str, count: usize) -> Result<u32, CudaError> {
    match u32::try_from(count) {
        Ok(number) if (1..=MOST_THREADS).contains(&count) => Ok(number),
        _ => Err(CudaError::Unsupported {
            what,
            reason: format!("kernels count from 1 to {MOST_THREADS}, not {count}"),
        }),
    }
}

/// Height and width of images, as kernels take them.
pub(crate) fn sides(what: &'static str, (height, width): (usize, usize)) -> Result<[i32; 2], CudaError> {
    if (1..=LONGEST_SIDE).contains(&height) && (1..=LONGEST_SIDE).contains(&width) {
        return Ok([height as i32, width as i32]);
    }
    Err(CudaError::Unsupported {
        what,
        reason: format!("it is {height}x{width} pixels, where sides are from 1 to {LONGEST_SIDE}"),
    })
}
