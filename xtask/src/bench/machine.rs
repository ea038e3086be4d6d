//! What the machine is, and whether anyone else is at work on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

/// Ticks of a second in `/proc`; Linux has had no other number for programs for decades.
const TICKS: f64 = 100.0;

/// The machine in words: processor, cores, memory, system.
pub(super) fn describe() -> String {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        let (_, value) = line.split_once([':', '='])?;
        Some(value.trim().trim_matches('"').to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let family = |name| field("/proc/cpuinfo", name);
    let model = match (family("cpu family"), family("model\t")) {
        (Some(family), Some(model)) => format!(" (family {family}, model {model})"),
        _ => String::new(),
    };
    // On ARM, the list has another name.
    let flags = field("/proc/cpuinfo", "flags").or_else(|| field("/proc/cpuinfo", "Features"));
    let flags = flags.unwrap_or_default();
    let simd: Vec<&str> = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16"]
        .into_iter()
        .filter(|name| flags.split(' ').any(|flag| flag == *name))
        .collect();
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(String::new, |kib| format!(", {:.0} GiB", kib / f64::from(1 << 20)));
    let system = field("/etc/os-release", "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned());
    format!(
        "{processor}{model}, {} cores{memory}, {}, {system}",
        std::thread::available_parallelism().map_or(0, |n| n.get()),
        simd.join(" ")
    )
}

/// The products in bf16 that a core of a processor that [`describe`] described does for each one in f32, at most. `None` where
/// it has no instructions for bf16: such processors emulate it, some forty times more slowly than f32.
pub(super) fn bf16_products(description: &str) -> Option<f64> {
    let has = |name: &str| description.split([' ', ',']).any(|word| word == name);
    // AMX: a product of tiles is 16×16×32 multiply-adds in 16 cycles, while two AVX-512 units do 2×16 a cycle.
    // AVX-512: two for each lane of f32, at no higher pace. ARM: 16 in each 128 bits of BFMMLA, instead of 4.
    let most = [("amx_bf16", 16.0), ("avx512_bf16", 2.0), ("bf16", 4.0)];
    most.into_iter()
        .find_map(|(name, products)| has(name).then_some(products))
}

/// Peak resident memory of a process in bytes; `None` where there is no `/proc`.
pub(super) fn peak_memory(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().split(' ').next()?.parse::<f64>().ok()? * 1024.0)
}

/// Processor time from an instant on, by who used it.
pub(crate) struct Watch {
    start: Instant,
    used: Option<Used>,
}

/// Seconds of processor time since some start.
#[derive(Clone, Copy)]
struct Used {
    /// By all processes, and by others on the same host (steal).
    all: f64,
    /// By this process and what it has started.
    own: f64,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            used: Used::now(),
        }
    }

    /// Processors that others kept busy on average since the start, 0.05 being 5 % of one; `None` where there is no
    /// `/proc`. What is too short for the clock of `/proc` counts as nothing.
    pub(crate) fn others(&self) -> Option<f64> {
        let (before, now) = (self.used?, Used::now()?);
        let others = (now.all - before.all) - (now.own - before.own);
        if others <= 5.0 / TICKS {
            return Some(0.0);
        }
        Some(others / self.start.elapsed().as_secs_f64())
    }
}

impl Used {
    fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        // user, nice, system, idle, iowait, irq, softirq, steal
        let fields: Vec<f64> = stat
            .lines()
            .next()?
            .split_whitespace()
            .skip(1)
            .map_while(|field| field.parse().ok())
            .collect();
        let [user, nice, system, _, _, irq, softirq, steal] = *fields.first_chunk::<8>()?;
        Some(Self {
            all: (user + nice + system + irq + softirq + steal) / TICKS,
            own: own_ticks()? / TICKS,
        })
    }
}

/// Ticks of this process and its descendants, ended ones included.
fn own_ticks() -> Option<f64> {
    let mut processes: BTreeMap<u32, (u32, f64)> = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while we look.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name, in brackets, may hold blanks. After it: state, parent, …, utime, stime, cutime, cstime.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields
            .get(11..15)?
            .iter()
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        processes.insert(id, (fields.get(1)?.parse().ok()?, ticks));
    }
    let mut own = BTreeSet::from([std::process::id()]);
    loop {
        let before = own.len();
        own.extend(
            processes
                .iter()
                .filter(|(_, (parent, _))| own.contains(parent))
                .map(|(id, _)| *id)
                .collect::<Vec<_>>(),
        );
        if own.len() == before {
            break;
        }
    }
    Some(
        own.iter()
            .filter_map(|id| processes.get(id))
            .map(|(_, ticks)| ticks)
            .sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processors_best_instructions_for_bf16_count() {
        let of = |simd: &str| {
            bf16_products(&format!(
                "A bf16-like name, 2 cores, 24 GiB, {simd}, Debian GNU/Linux 12"
            ))
        };
        assert_eq!(of("avx2 fma avx512f avx512_bf16 amx_bf16"), Some(16.0));
        assert_eq!(of("avx2 fma avx512f avx512_bf16"), Some(2.0));
        assert_eq!(of("asimd bf16"), Some(4.0));
        assert_eq!(of("avx2 fma avx512f"), None);
    }
}
