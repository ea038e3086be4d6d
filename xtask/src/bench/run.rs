//! Rounds of all contestants in a workload.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::limit::Limit;
use super::machine::{Watch, peak_memory};
use super::riad_bench;
use super::server::{Answer, Server};
use super::workload::{Kind, Workload};
use crate::process;

/// Processors that others may use in a round without being a disturbance.
pub(super) const OTHERS_ALLOWED: f64 = 0.05;
/// Share of the best peak below which a round is disturbed.
const PEAK_WANTED: f64 = 0.9;

/// How long anything may take, making ready included; torch.compile can take minutes.
const LIMIT: Duration = Duration::from_secs(300);
/// Between two contestants, so that the threads of one that wait for more work in a loop do not take time from the next.
const PAUSE: Duration = Duration::from_millis(50);

/// What runs, and with what.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) bench: PathBuf,
    pub(super) riad: PathBuf,
    pub(super) fma_peak: PathBuf,
    pub(super) python: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) images: Vec<PathBuf>,
    pub(super) threads: usize,
    /// The products in bf16 that a core does for each one in f32. Contestants in bf16 take part where there are any.
    pub(super) bf16_products: Option<f64>,
    /// Where the peers may complain.
    pub(super) log: File,
}

/// A workload's measurements.
#[derive(Debug, Default, Serialize)]
pub(super) struct Bout {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) caveat: &'static str,
    pub(super) compared: &'static str,
    pub(super) tolerance: f64,
    /// Bytes instead of seconds.
    pub(super) is_memory: bool,
    /// Multiply-accumulates of the network in a run.
    pub(super) macs: f64,
    /// Ours first.
    pub(super) contestants: Vec<Contestant>,
    /// What `riad bench` says of the same work: one value, which is no round's.
    pub(super) riad_bench: Option<Contestant>,
    /// Whether nobody disturbed a round; `None` where that is not known.
    pub(super) quiet: Vec<Option<bool>>,
}

/// Ours, and ours in bf16 where the machine has it, as the servers know them.
const OURS: [&str; 2] = ["riad", "riad_bf16"];

/// One program's part in a bout.
#[derive(Debug, Default, Serialize)]
pub(super) struct Contestant {
    /// As the servers know it.
    pub(super) peer: &'static str,
    pub(super) title: String,
    pub(super) bf16: bool,
    /// Seconds or bytes of each round.
    pub(super) values: Vec<f64>,
    /// Largest difference of a result from ours.
    pub(super) difference: Option<f64>,
    /// How it chose to run.
    pub(super) note: String,
    /// Why it is out.
    pub(super) failure: Option<String>,
    /// Why its values cannot be.
    pub(super) refusal: Option<String>,
}

impl Bout {
    /// Whoever was faster than the machine can be.
    pub(super) fn refused(&self) -> impl Iterator<Item = &Contestant> {
        let all = self.contestants.iter().chain(&self.riad_bench);
        all.filter(|contestant| contestant.refusal.is_some())
    }
}

impl Contestant {
    pub(super) fn is_ours(&self) -> bool {
        OURS.contains(&self.peer)
    }
}

/// The contestants' servers and the referee's clock.
pub(super) struct Ring<'a> {
    programs: &'a Programs,
    ours: Server,
    theirs: Server,
    fma_peak: Server,
    best_peak: f64,
    quick: bool,
}

impl Programs {
    fn ours(&self) -> Result<Server> {
        let mut command = Command::new(&self.bench);
        command.arg(self.threads.to_string()).arg(&self.directory);
        Server::start(command.args(&self.images))
    }

    fn peers(&self) -> Result<Command> {
        let mut command = super::peers(&self.python);
        let threads = self.threads.to_string();
        command
            .env("THREADS", &threads)
            .env("OMP_NUM_THREADS", threads)
            .env("TORCHINDUCTOR_CACHE_DIR", self.directory.join("inductor"))
            .stderr(self.log.try_clone().context("cannot write the peers' log")?);
        Ok(command)
    }

    fn theirs(&self) -> Result<Server> {
        Server::start(self.peers()?.arg("serve").arg(&self.directory).args(&self.images))
    }

    /// Peers that choose the way that needs the least memory, not the fastest.
    fn frugal_peers(&self) -> Result<Server> {
        let mut command = self.peers()?;
        command.env("ONE_PASS_AT_A_TIME", "1").arg("serve").arg(&self.directory);
        Server::start(&mut command)
    }
}

impl<'a> Ring<'a> {
    pub(super) fn new(programs: &'a Programs, quick: bool) -> Result<Self> {
        let mut fma_peak = Command::new(&programs.fma_peak);
        fma_peak.env("RAYON_NUM_THREADS", programs.threads.to_string());
        Ok(Self {
            programs,
            ours: programs.ours()?,
            theirs: programs.theirs()?,
            fma_peak: Server::start(&mut fma_peak)?,
            best_peak: 0.0,
            quick,
        })
    }

    /// GFLOP/s of multiply-adds alone, the best so far; 0 where it cannot be measured.
    pub(super) fn best_peak(&self) -> f64 {
        self.best_peak
    }

    fn peak(&mut self) -> Result<f64> {
        let peak: f64 = self.fma_peak.ask_plainly("peak", LIMIT)?.parse()?;
        self.best_peak = self.best_peak.max(peak);
        Ok(peak)
    }

    /// Compares results, then lets all contestants run in turn.
    pub(super) fn fight(&mut self, workload: &Workload) -> Result<Bout> {
        eprintln!("\n{}", workload.title);
        let peers = workload.peers.iter().map(|peer| Contestant {
            peer: peer.name,
            title: peer.title.to_owned(),
            bf16: peer.bf16,
            ..Default::default()
        });
        let ours = |peer, title: &str, bf16| Contestant {
            peer,
            title: title.to_owned(),
            bf16,
            ..Default::default()
        };
        let mut contestants = vec![ours(OURS[0], "riad", false)];
        // Where the network runs forward alone.
        contestants.extend(workload.scores().then(|| ours(OURS[1], "riad, bf16", true)));
        contestants.extend(peers);
        contestants.retain(|contestant| self.programs.bf16_products.is_some() || !contestant.bf16);
        let mut bout_seconds = 0.0;
        let mut macs = 0.0;
        let mut expected = Vec::new();
        for contestant in &mut contestants {
            match self.introduce(workload, contestant, &expected) {
                Ok((values, seconds, its_macs)) => {
                    if contestant.peer == OURS[0] {
                        (expected, macs) = (values, its_macs);
                    }
                    bout_seconds += seconds;
                }
                Err(error) if contestant.peer == OURS[0] => return Err(error.context(workload.name.clone())),
                Err(error) => {
                    eprintln!("  {} is out: {error:#}", contestant.title);
                    contestant.failure = Some(format!("{error:#}"));
                }
            }
        }

        let (budget, least, most) = if self.quick { (5.0, 2, 5) } else { (45.0, 3, 15) };
        // The whole must end within a coffee break.
        let least = if bout_seconds > 60.0 { 2 } else { least };
        let rounds = match workload.kind {
            Kind::Memory { .. } => 1,
            _ => ((budget / bout_seconds) as usize).clamp(least, most),
        };
        let mut peaks = vec![self.peak()?];
        let mut others = Vec::new();
        for round in 0..rounds {
            let watch = Watch::start();
            let count = contestants.len();
            for place in 0..count {
                // Each round begins with another one, so that nobody always follows the same.
                let contestant = &mut contestants[(place + round) % count];
                if contestant.failure.is_some() {
                    continue;
                }
                match self.measure(workload, contestant.peer) {
                    Ok(value) => contestant.values.push(value),
                    Err(error) => contestant.failure = Some(format!("{error:#}")),
                }
                thread::sleep(PAUSE);
            }
            others.push(watch.others());
            peaks.push(self.peak()?);
        }
        self.forget()?;
        let riad_bench = match workload.training() {
            Some(training) => Some(self.riad_bench(training)?),
            None => None,
        };

        let quiet = others.iter().zip(peaks.windows(2)).map(|(others, peaks)| {
            let lowest = peaks.iter().copied().fold(f64::INFINITY, f64::min);
            match others {
                _ if lowest < PEAK_WANTED * self.best_peak => Some(false),
                others => others.map(|others| others <= OTHERS_ALLOWED),
            }
        });
        let mut bout = Bout {
            name: workload.name.clone(),
            title: workload.title.clone(),
            caveat: workload.caveat,
            compared: workload.compared,
            tolerance: workload.tolerance,
            is_memory: matches!(workload.kind, Kind::Memory { .. }),
            macs,
            contestants,
            riad_bench,
            quiet: quiet.collect(),
        };
        if let Some(limit) = Limit::new(self.best_peak, self.programs.bf16_products.unwrap_or(1.0)) {
            limit.judge(&mut bout);
        }
        Ok(bout)
    }

    /// What `riad bench` says of a training step.
    fn riad_bench(&self, [preset, size, batch]: [&str; 3]) -> Result<Contestant> {
        // Half of the time is for scoring, which the same command measures.
        let time = if self.quick { "10s" } else { "20s" };
        let threads = self.programs.threads.to_string();
        let options = [
            "--batch",
            batch,
            "--device",
            "cpu",
            "--threads",
            &threads,
            "--time",
            time,
        ];
        let found = riad_bench::ask(&self.programs.riad, preset, size, &options)?;
        let seconds = batch.parse::<f64>()? / found.training;
        eprintln!("  riad bench: {seconds:.3} s");
        Ok(Contestant {
            peer: "riad_bench",
            title: "`riad bench`".into(),
            values: vec![seconds],
            ..Default::default()
        })
    }

    /// Makes a contestant ready and compares its results with `expected`, where there are any. Gives its results, the
    /// seconds that a warm run takes, and the multiply-accumulates that it tells of.
    fn introduce(
        &mut self,
        workload: &Workload,
        contestant: &mut Contestant,
        expected: &[f64],
    ) -> Result<(Vec<f64>, f64, f64)> {
        let start = Instant::now();
        let (values, seconds, macs) = match workload.kind {
            Kind::Run => {
                let file = self.programs.directory.join("output.f64");
                let request = format!("output {} {} {}", workload.name, contestant.peer, file.display());
                let first = self.ask(contestant.peer, &request)?;
                contestant.note = first.note;
                // A long run is warm enough when it ends, save where it was long because it compiled.
                let is_warm = first.seconds > 3.0 && !contestant.peer.starts_with("compile");
                let seconds = match is_warm {
                    true => first.seconds,
                    false => self.measure(workload, contestant.peer)?,
                };
                (read_values(&file)?, seconds, first.macs)
            }
            Kind::Start { preset } => {
                // The first start reads the files into the system's cache.
                self.score_afresh(contestant.peer, preset)?;
                let (seconds, score) = self.score_afresh(contestant.peer, preset)?;
                (vec![score], seconds, 0.0)
            }
            Kind::Memory { .. } => return Ok((Vec::new(), 0.0, 0.0)),
        };
        if !expected.is_empty() {
            if expected.len() != values.len() {
                bail!("it gives {} results, not {}", values.len(), expected.len());
            }
            let differences = expected.iter().zip(&values).map(|(a, b)| (a - b).abs());
            // NaN must not pass for a small difference.
            let largest = differences.fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a });
            contestant.difference = Some(largest);
            if !contestant.bf16 && (largest.is_nan() || largest > workload.tolerance) {
                bail!("its results differ from ours by {largest:.1e}");
            }
        }
        eprintln!(
            "  {}: {seconds:.3} s, ready after {:.0} s",
            contestant.title,
            start.elapsed().as_secs_f64()
        );
        Ok((values, seconds, macs))
    }

    fn measure(&mut self, workload: &Workload, peer: &str) -> Result<f64> {
        match workload.kind {
            Kind::Run => Ok(self.ask(peer, &format!("run {} {peer}", workload.name))?.seconds),
            Kind::Start { preset } => Ok(self.score_afresh(peer, preset)?.0),
            Kind::Memory { of } => {
                let mut server = match peer {
                    _ if OURS.contains(&peer) => self.programs.ours()?,
                    _ => self.programs.frugal_peers()?,
                };
                for _ in 0..3 {
                    if let Err(error) = server.ask(&format!("run {of} {peer}"), LIMIT)? {
                        bail!(error);
                    }
                }
                peak_memory(server.id()).context("this system does not tell a process's peak memory")
            }
        }
    }

    /// Asks the server of a contestant; one that gives no answer is started again, for the others.
    fn ask(&mut self, peer: &str, request: &str) -> Result<Answer> {
        let is_ours = OURS.contains(&peer);
        let server = if is_ours { &mut self.ours } else { &mut self.theirs };
        match server.ask(request, LIMIT) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => bail!(error),
            Err(error) => {
                if !is_ours {
                    self.theirs = self.programs.theirs()?;
                }
                Err(error)
            }
        }
    }

    fn forget(&mut self) -> Result<()> {
        self.ask(OURS[0], "forget")?;
        self.ask("peers", "forget")?;
        Ok(())
    }

    /// A fresh process scores one image: seconds until it has ended, and the score.
    fn score_afresh(&self, peer: &str, preset: &str) -> Result<(f64, f64)> {
        let directory = &self.programs.directory;
        let mut command = match peer {
            _ if OURS.contains(&peer) => {
                let mut riad = Command::new(&self.programs.riad);
                riad.args(["score", "--quiet", "--device", "cpu", "--threads"])
                    .arg(self.programs.threads.to_string())
                    .arg("--model")
                    .arg(directory.join(format!("weights-{preset}.safetensors")))
                    .arg(directory.join("image.png"))
                    .args(["--precision", if peer == OURS[1] { "bf16" } else { "f32" }])
                    .stderr(Stdio::null());
                riad
            }
            _ => {
                let mut python = self.programs.peers()?;
                python.arg("score").arg(directory).arg(preset);
                python
            }
        };
        let start = Instant::now();
        let text = process::output(&mut command)?;
        let seconds = start.elapsed().as_secs_f64();
        let score = text.lines().last().and_then(|line| line.rsplit(',').next());
        let score = score.and_then(|score| score.parse().ok());
        Ok((seconds, score.with_context(|| format!("no score in {text:?}"))?))
    }
}

fn read_values(file: &PathBuf) -> Result<Vec<f64>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(bytes
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f64::from_le_bytes(bytes))
        .collect())
}
