//! Clocks: one that people set, and one that only runs.

use std::time::{Duration, SystemTime};

/// A clock that runs ahead by so much was set: it says nothing of how old pictures are.
const AHEAD: Duration = Duration::from_secs(3600);

/// A moment by two clocks: one that tells the time of day and can be set, and one that only runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    told: SystemTime,
    ran: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            told: SystemTime::now(),
            ran: ran(),
        }
    }

    /// What the clock told that can be set.
    pub(crate) fn told(self) -> SystemTime {
        self.told
    }

    /// How long the machine had run.
    pub(crate) fn ran(self) -> Duration {
        self.ran
    }

    /// Whether the clock was set forward by more than an hour since an earlier moment.
    pub(crate) fn is_set_forward_since(&self, earlier: Self) -> bool {
        let told = self.told.duration_since(earlier.told).unwrap_or_default();
        told.saturating_sub(self.ran.saturating_sub(earlier.ran)) > AHEAD
    }
}

/// How long the machine has run. It must go on while the machine is suspended, as the time of day does, and `Instant` stands still then
/// on Linux and macOS.
#[cfg(unix)]
fn ran() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    Duration::try_from(clock_gettime(CLOCK)).unwrap_or_default()
}

/// How long this has been asked, by a clock that goes on while the machine is suspended.
#[cfg(not(unix))]
fn ran() -> Duration {
    use std::{sync::LazyLock, time::Instant};

    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_runs_on_during_a_suspend_was_not_set() {
        let began = Moment {
            told: SystemTime::UNIX_EPOCH + 1_000 * HOUR,
            ran: 5 * HOUR,
        };
        let after = |told: Duration, ran: Duration| Moment {
            told: began.told + told,
            ran: began.ran + ran,
        };
        assert!(!after(8 * HOUR, 8 * HOUR).is_set_forward_since(began));
        assert!(after(8 * HOUR, 6 * HOUR).is_set_forward_since(began));
        let back = Moment {
            told: began.told - HOUR,
            ..began
        };
        assert!(!back.is_set_forward_since(began));
    }

    /// The kernel tells in `/proc/uptime` how long the machine has run, with the time in which it was suspended.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_machine_ran_holds_the_time_in_which_it_was_suspended() {
        let uptime = || {
            let told = std::fs::read_to_string("/proc/uptime").unwrap();
            Duration::from_secs_f64(told.split(' ').next().unwrap().parse().unwrap())
        };
        // It has two digits.
        let digit = Duration::from_millis(11);
        let (before, ran, after) = (uptime(), ran(), uptime());
        assert!(
            before <= ran + digit && ran <= after + digit,
            "{before:?} {ran:?} {after:?}"
        );
    }
}
