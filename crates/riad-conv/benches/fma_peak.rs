//! Measures the machine's FMA peak whenever it reads a line, for programs that compare others with it.
//!
//!     cargo bench -p riad-conv --bench fma_peak
//!
//! Answers each line with GFLOP/s of f32 on all threads (RAYON_NUM_THREADS), by the clock on the wall: the best of a few
//! tries of some milliseconds. Where a neighbour takes the machine's time, they all suffer. NaN where it is not known how
//! to measure.

use std::time::Instant;

#[path = "support/fma.rs"]
mod fma;

const TRIES: usize = 10;

fn main() -> std::io::Result<()> {
    for line in std::io::stdin().lines() {
        line?;
        let once = || {
            let start = Instant::now();
            let operations: f64 = rayon::broadcast(|_| fma::run()).into_iter().sum();
            operations / start.elapsed().as_secs_f64() / 1e9
        };
        println!("{:.1}", (0..TRIES).map(|_| once()).fold(f64::NAN, f64::max));
    }
    Ok(())
}
