//! Intel's tile registers (AMX): bf16 products, eight to sixteen times as many per cycle as AVX-512 has f32 ones.

use core::arch::asm;
use core::arch::x86_64::*;
use std::sync::OnceLock;

use super::x86::Avx512;
use super::{Bf16Kernels, LANES};
use crate::kernel::{Bf16Panel, Deal, DealRow, PAIRED, SEGMENT, finish};

/// The kernels, where the processor has tiles and the system lends them to this process.
pub(super) fn available() -> Option<&'static Bf16Kernels> {
    static KERNELS: Bf16Kernels = Bf16Kernels {
        #[cfg(test)]
        name: "amx",
        panel,
        deal: Deal {
            row: deal,
            channels: PAIRED,
        },
    };
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    let available = || {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bf16")
            && has_tiles()
            && request_permission()
    };
    AVAILABLE.get_or_init(available).then_some(&KERNELS)
}

/// AMX-TILE and AMX-BF16, which `is_x86_feature_detected!` does not know on stable Rust.
fn has_tiles() -> bool {
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    let [most, features] = [__cpuid(0).eax, __cpuid_count(7, 0).edx];
    most >= 7 && features & (BF16 | TILE) == BF16 | TILE
}

/// Asks Linux for the tiles, for all threads of the process, as it demands before their first use.
#[cfg(target_os = "linux")]
fn request_permission() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: the system call reads no memory, and changes nothing but this permission; `syscall` overwrites rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// What other systems ask for has been tried on no machine.
#[cfg(not(target_os = "linux"))]
fn request_permission() -> bool {
    false
}

/// Eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

const TILES: usize = 8;

static CONFIG: Config = {
    let mut config = Config {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    let mut tile = 0;
    while tile < TILES {
        config.row_bytes[tile] = 64;
        config.rows[tile] = SEGMENT as u8;
        tile += 1;
    }
    config
};

/// From one row of a tile to the next, in memory: sources, weights and sums alike.
const ROW: usize = 64;

/// Bytes of a tile in memory.
const TILE: usize = SEGMENT * ROW;

/// Sums of four tiles.
#[repr(C, align(64))]
struct Sums([[f32; SEGMENT * LANES]; 4]);

/// See [`crate::kernel::Bf16Kernel`].
#[target_feature(enable = "avx512f")]
unsafe fn panel(panel: &Bf16Panel) {
    let mut sums = Sums([[0.0; SEGMENT * LANES]; 4]);
    let blocks = panel.blocks();
    // SAFETY: tiles are there, since `available` lends this function. The compiler neither uses nor preserves them.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
    for segments in panel.segments.chunks(4 / blocks) {
        // A segment that is not there is the last one again, whose sums are not used.
        let last = segments.len() - 1;
        let source = |index: usize| segments[index.min(last)].source;
        // SAFETY: tiles are configured; the rest is the caller's contract.
        unsafe {
            // The lines to write come while the tiles are at work. Without this, large images take up to twice as long.
            for segment in segments {
                for cell in 0..segment.cells {
                    for block in 0..blocks {
                        let out = segment.out.add(cell * panel.out_cell + block * LANES);
                        _mm_prefetch::<_MM_HINT_ET0>(out.cast());
                    }
                }
            }
            if panel.steps.is_empty() {
                // All sums are zero, as they were made.
            } else if blocks == 1 {
                four_by_one(panel, [source(0), source(1), source(2), source(3)], &mut sums);
            } else {
                two_by_two(panel, [source(0), source(1)], &mut sums);
            }
            for (segment, sums) in segments.iter().zip(sums.0.chunks(blocks)) {
                for (block, sums) in sums.iter().enumerate() {
                    finish::<Avx512>(panel, segment, block, sums.as_ptr());
                }
            }
        }
    }
    // SAFETY: as above.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Sums of two segments by two blocks, in this order.
///
/// # Safety
/// As [`crate::kernel::Bf16Kernel`].
unsafe fn two_by_two(panel: &Bf16Panel, source: [*const f32; 2], sums: &mut Sums) {
    // SAFETY: reads the sources at every step and a tile of weights of each block for every step, as the caller promises; writes
    // four tiles of sums.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "mov {step}, qword ptr [{steps}]",
            "lea {source}, [{source0} + {step}]",
            "add {step}, {source1}",
            "tileloadd tmm4, [{source} + {row}]",
            "tileloadd tmm6, [{weights0} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{weights1} + {row}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{step} + {row}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {steps}, 8",
            "add {weights0}, {tile}",
            "add {weights1}, {tile}",
            "cmp {steps}, {end}",
            "jne 2b",
            "tilestored [{sums} + {row}], tmm0",
            "tilestored [{sums} + {row} + {tile}], tmm1",
            "tilestored [{sums} + {row} + 2 * {tile}], tmm2",
            "tilestored [{sums} + {row} + 3 * {tile}], tmm3",
            step = out(reg) _,
            source = out(reg) _,
            steps = inout(reg) panel.steps.as_ptr() => _,
            end = in(reg) panel.steps.as_ptr_range().end,
            source0 = in(reg) source[0],
            source1 = in(reg) source[1],
            weights0 = inout(reg) panel.weights => _,
            weights1 = inout(reg) panel.weights.add(panel.weights_block) => _,
            sums = in(reg) &raw mut *sums,
            row = in(reg) ROW,
            tile = const TILE,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Sums of four segments by one block; otherwise as [`two_by_two`].
///
/// # Safety
/// As [`crate::kernel::Bf16Kernel`].
unsafe fn four_by_one(panel: &Bf16Panel, source: [*const f32; 4], sums: &mut Sums) {
    // SAFETY: as in `two_by_two`.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "mov {step}, qword ptr [{steps}]",
            "tileloadd tmm7, [{weights} + {row}]",
            "lea {source}, [{source0} + {step}]",
            "tileloadd tmm4, [{source} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm7",
            "lea {source}, [{source1} + {step}]",
            "tileloadd tmm5, [{source} + {row}]",
            "tdpbf16ps tmm1, tmm5, tmm7",
            "lea {source}, [{source2} + {step}]",
            "tileloadd tmm6, [{source} + {row}]",
            "tdpbf16ps tmm2, tmm6, tmm7",
            "lea {source}, [{source3} + {step}]",
            "tileloadd tmm4, [{source} + {row}]",
            "tdpbf16ps tmm3, tmm4, tmm7",
            "add {steps}, 8",
            "add {weights}, {tile}",
            "cmp {steps}, {end}",
            "jne 2b",
            "tilestored [{sums} + {row}], tmm0",
            "tilestored [{sums} + {row} + {tile}], tmm1",
            "tilestored [{sums} + {row} + 2 * {tile}], tmm2",
            "tilestored [{sums} + {row} + 3 * {tile}], tmm3",
            step = out(reg) _,
            source = out(reg) _,
            steps = inout(reg) panel.steps.as_ptr() => _,
            end = in(reg) panel.steps.as_ptr_range().end,
            source0 = in(reg) source[0],
            source1 = in(reg) source[1],
            source2 = in(reg) source[2],
            source3 = in(reg) source[3],
            weights = inout(reg) panel.weights => _,
            sums = in(reg) &raw mut *sums,
            row = in(reg) ROW,
            tile = const TILE,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// [`crate::kernel::deal_row`] to bf16, 32 channels to a vector.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn deal(row: &DealRow) {
    let mask = |from: usize| -> __mmask16 {
        match row.channels.saturating_sub(from) {
            left @ 0..LANES => (1 << left) - 1,
            _ => !0,
        }
    };
    for pixel in 0..row.pixels {
        for first in (0..row.channels).step_by(PAIRED) {
            // SAFETY: pixels, channels and blocks as the caller promises; masked lanes are not read.
            unsafe {
                let source = row.source.add(pixel * row.pixel + first);
                let low = _mm512_maskz_loadu_ps(mask(first), source);
                let high = _mm512_maskz_loadu_ps(mask(first + LANES), source.wrapping_add(LANES));
                let pairs: __m512i = core::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                let to = row.to.add(first / PAIRED * row.block + pixel * LANES);
                _mm512_storeu_si512(to.cast(), pairs);
            }
        }
    }
}
