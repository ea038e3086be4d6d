//! Wide vectors from narrow ones.
#![allow(unsafe_code)] // An implementation of `Lanes`.

use super::Lanes;

/// Two vectors as one.
#[derive(Clone, Copy)]
pub(super) struct Twice<L>(L, L);

impl<L: Lanes> Lanes for Twice<L> {
    const COUNT: usize = 2 * L::COUNT;

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: the trait's contract is the same for `L`, here and below.
        unsafe { L::prefetch(from) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as for `prefetch`.
        let half = unsafe { L::splat(value) };
        Self(half, half)
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: `from` is valid for `COUNT` values, and so are its halves for half as many.
        unsafe { Self(L::load(from), L::load(from.add(L::COUNT))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe {
            self.0.store(to);
            self.1.store(to.add(L::COUNT));
        }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as for `prefetch`.
        unsafe { Self(self.0.add_product(a.0, b.0), self.1.add_product(a.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as for `prefetch`.
        unsafe { Self(self.0.add(other.0), self.1.add(other.1)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: as for `prefetch`.
        unsafe { Self(self.0.sub(other.0), self.1.sub(other.1)) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: as for `prefetch`.
        unsafe { Self(self.0.mul(other.0), self.1.mul(other.1)) }
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: as for `prefetch`.
        unsafe { Self(self.0.div(other.0), self.1.div(other.1)) }
    }

    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        // SAFETY: as for `prefetch`.
        unsafe { Self(self.0.at_least(bound.0), self.1.at_least(bound.1)) }
    }

    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        // SAFETY: as for `prefetch`.
        unsafe { Self(self.0.at_most(bound.0), self.1.at_most(bound.1)) }
    }
}
