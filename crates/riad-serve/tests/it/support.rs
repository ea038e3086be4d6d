//! A model, pictures, and a caller.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, Instant},
};

use image::{Rgb, RgbImage};
use riad::{Preset, Recalibration, Training};
use riad_serve::{LineOptions, Options, Service};
use serde_json::Value;
use tempfile::TempDir;
use ureq::{Agent, Body, http::Response};

/// A service that a test has to itself.
pub(crate) struct Served {
    pub(crate) service: Option<Service>,
    pub(crate) folder: TempDir,
    pub(crate) caller: Caller,
}

/// Asks a service.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) base: String,
    pub(crate) agent: Agent,
}

/// A stripe whose place and brightness differ a little from picture to picture.
pub(crate) fn good(number: u32) -> RgbImage {
    RgbImage::from_fn(32, 32, |x, y| {
        let noise = ((x | y << 8 | number << 16).wrapping_mul(0x9e37_79b1) >> 24) % 6;
        let level = if (12 + number % 3..20 + number % 3).contains(&x) {
            180
        } else {
            60
        };
        Rgb([level + noise as u8, level, 40 + noise as u8])
    })
}

/// The same with a chequered patch.
pub(crate) fn bad(number: u32) -> RgbImage {
    let mut picture = good(number);
    for (x, y) in (8..22).flat_map(|x| (8..22).map(move |y| (x, y))) {
        picture.put_pixel(x, y, Rgb([250 * ((x / 2 + y / 2) % 2) as u8; 3]));
    }
    picture
}

/// As a PNG.
pub(crate) fn png(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A run that is calibrated for a rate of 0.05.
pub(crate) fn run() -> &'static Path {
    static RUN: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let (photos, fresh) = (folder.path().join("photos"), folder.path().join("fresh"));
        for (place, numbers) in [(&photos, 0..12), (&fresh, 100..124)] {
            fs::create_dir(place).unwrap();
            for number in numbers {
                good(number).save(place.join(format!("{number:03}.png"))).unwrap();
            }
        }
        let run = folder.path().join("run");
        Training::new(&photos)
            .preset(Preset::Tiny)
            .size(32)
            .epochs(40)
            .calibration(0.0)
            .out(&run)
            .start(&())
            .unwrap();
        Recalibration::of(&run).pictures(&fresh).start(&()).unwrap();
        (folder, run)
    });
    &RUN.1
}

/// A service of one line, `lid`, changed as a test wants it.
pub(crate) fn served(change: impl FnOnce(&mut Options)) -> Served {
    let folder = tempfile::tempdir().unwrap();
    served_in(folder, change)
}

/// The same with a store that is there already.
pub(crate) fn served_in(folder: TempDir, change: impl FnOnce(&mut Options)) -> Served {
    let line = LineOptions {
        name: "lid".to_owned(),
        model: run().to_owned(),
    };
    let mut options = Options::new(vec![line], folder.path().join("store"));
    options.listen = ([127, 0, 0, 1], 0).into();
    options.deadline = Duration::from_secs(60);
    change(&mut options);
    let service = Service::start(options).unwrap();
    Served {
        caller: Caller::of(&format!("http://{}", service.address())),
        service: Some(service),
        folder,
    }
}

impl Served {
    /// Ends the service, and gives back the folder of its store.
    pub(crate) fn end(mut self) -> TempDir {
        self.service.take().unwrap().stop();
        self.folder
    }
}

impl Caller {
    pub(crate) fn of(base: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self {
            base: base.to_owned(),
            agent: config.into(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Response<Body> {
        self.agent.get(format!("{}{path}", self.base)).call().unwrap()
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response<Body> {
        let request = self.agent.post(format!("{}{path}", self.base));
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value))
            .send(body)
            .unwrap()
    }

    pub(crate) fn delete(&self, path: &str) -> Response<Body> {
        self.agent.delete(format!("{}{path}", self.base)).call().unwrap()
    }

    /// Puts a body; the status, and what is answered.
    pub(crate) fn put(&self, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        let request = self.agent.put(format!("{}{path}", self.base));
        let sent = request.header("content-type", kind).send(body).unwrap();
        (sent.status().as_u16(), json(sent))
    }

    /// Posts JSON; the status, and what is answered.
    pub(crate) fn send(&self, path: &str, body: &Value) -> (u16, Value) {
        let sent = self.post(
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        );
        (sent.status().as_u16(), json(sent))
    }

    pub(crate) fn inspect(&self, picture: &[u8]) -> Value {
        json(self.post("/v1/lines/lid/inspect", &[], picture))
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        json(self.get(path))
    }

    pub(crate) fn label(&self, id: i64, label: &Value) -> Value {
        let path = format!("{}/v1/lines/lid/inspections/{id}/label", self.base);
        let body = serde_json::json!({"label": label}).to_string();
        let request = self.agent.put(path).header("content-type", "application/json");
        json(request.send(body.as_bytes()).unwrap())
    }
}

pub(crate) fn json(mut response: Response<Body>) -> Value {
    let text = response.body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(300), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
