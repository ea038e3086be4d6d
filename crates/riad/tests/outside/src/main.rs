//! Trains on a folder, inspects others with eight threads at once, sorts them, renders, and reports: all by the crate's public
//! surface, from `<good> <ok> <bad> <out>`.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use riad::{FalsePositiveRate, Detector, Event, Method, Observer, Preset, Sets, Training, Verdict, evaluate, report};

#[derive(Default)]
struct Count(AtomicUsize);

impl Observer for Count {
    fn event(&self, event: &Event<'_>) {
        if let Event::Step { .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(Into::into).collect();
    let [good, ok, bad, out] = paths.as_slice() else {
        return Err("usage: outside GOOD OK BAD OUT".into());
    };
    let steps = Count::default();
    let training = Training::new(good)
        .preset(Preset::Tiny)
        .method(Method::RIAD)
        .size(32)
        .epochs(2);
    let training = training.calibration(0.3);
    let run = training.out(out.join("run")).start(&steps)?;
    println!("steps {}", steps.0.into_inner());

    let detector = Detector::open(run.folder())?;
    let rate = FalsePositiveRate::usual(detector.threshold(0.5)?.calibration());
    let pictures: Vec<PathBuf> = [ok, bad].into_iter().flat_map(|folder| files(folder)).collect();
    let next = AtomicUsize::new(0);
    let defective: usize = thread::scope(|scope| {
        let work = || {
            let mut defective = 0;
            while let Some(picture) = pictures.get(next.fetch_add(1, Ordering::Relaxed)) {
                let found = detector.inspect_file(picture).unwrap();
                defective += usize::from(found.verdict(rate).unwrap() == Verdict::Defective);
            }
            defective
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("defective {defective} of {}", pictures.len());

    detector
        .inspect_file(&pictures[0])?
        .overlay_at(rate)?
        .save(out.join("overlay.png"))?;
    let evaluation = evaluate(&run, Sets::new().good(ok).bad(bad), &())?;
    println!("{}", evaluation.sentence());
    report::write(&out.join("report.html"), &[evaluation])?;
    Ok(())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
