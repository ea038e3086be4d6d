//! The record of an inspection, and its form in the API.

use std::time::{Duration, SystemTime};

use riad::Region;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// What the service says of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Its score is not above the threshold.
    Good,
    /// Its score is above the threshold.
    Defective,
    /// It resembles none of the good pictures, so its score says nothing about a product.
    NotThisProduct,
    /// It could not be scored.
    Error,
}

impl Verdict {
    /// All, in the order in which counts are given.
    pub(crate) const ALL: [Self; 4] = [Self::Good, Self::Defective, Self::NotThisProduct, Self::Error];

    /// As the API and the database write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Defective => "defective",
            Self::NotThisProduct => "not_this_product",
            Self::Error => "error",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == name)
    }
}

impl From<riad::Verdict> for Verdict {
    fn from(verdict: riad::Verdict) -> Self {
        match verdict {
            riad::Verdict::Good => Self::Good,
            riad::Verdict::Defective => Self::Defective,
            riad::Verdict::NotThisProduct => Self::NotThisProduct,
        }
    }
}

/// What a person says of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Label {
    /// The product is good.
    Good,
    /// The product is defective.
    Defective,
}

impl Label {
    /// As the API and the database write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Defective => "defective",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Good, Self::Defective]
            .into_iter()
            .find(|label| label.name() == name)
    }
}

/// How a picture came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// By a request.
    Http,
    /// From the watched folder.
    Folder,
    /// A person tried it on the page. It is not a product of the line, and does not count.
    Page,
}

impl Origin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Folder => "folder",
            Self::Page => "page",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Http, Self::Folder, Self::Page]
            .into_iter()
            .find(|origin| origin.name() == name)
    }
}

/// A part of a picture that is above the threshold: pixels of the picture, upright.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Part {
    /// Left edge of its box.
    pub(crate) x: usize,
    /// Upper edge of its box.
    pub(crate) y: usize,
    /// Width of its box.
    pub(crate) width: usize,
    /// Height of its box.
    pub(crate) height: usize,
    /// How many pixels of the picture it covers.
    pub(crate) area: usize,
    /// The highest value of the anomaly map in it.
    pub(crate) peak: f32,
}

impl From<Region> for Part {
    fn from(region: Region) -> Self {
        Self {
            x: region.x,
            y: region.y,
            width: region.width,
            height: region.height,
            area: region.area,
            peak: region.peak,
        }
    }
}

/// One inspection, from which every verdict can be traced: picture, model, threshold and program.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Inspection {
    /// Its number in this store, one higher for each. 0 if it could not be stored.
    pub(crate) id: i64,
    /// The line.
    pub(crate) line: String,
    /// When the picture was there.
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) received: SystemTime,
    /// How long the machine had run then, by a clock that nobody sets. It says something only to the process that took the picture in.
    #[serde(skip)]
    pub(crate) ran: Duration,
    /// How it came.
    pub(crate) source: Origin,
    /// What its sender calls it.
    pub(crate) name: Option<String>,
    /// What the service says of it.
    pub(crate) verdict: Verdict,
    /// Why, if that is neither good nor defective.
    pub(crate) reason: Option<String>,
    /// How anomalous it is: the maximum of its anomaly map.
    pub(crate) score: Option<f32>,
    /// How likely a good picture scores at least as high.
    pub(crate) p_value: Option<f64>,
    /// The highest score that is called good.
    pub(crate) threshold: Option<f32>,
    /// The false-positive rate that was asked for.
    pub(crate) rate: f64,
    /// With which probability that rate is kept; without a value on average over calibrations.
    pub(crate) confidence: Option<f64>,
    /// What is above the threshold, the highest peak first: at most the first 100.
    pub(crate) regions: Vec<Part>,
    /// How many regions are above the threshold, those that are not listed included.
    pub(crate) regions_total: usize,
    /// Width of the picture, upright.
    pub(crate) width: Option<usize>,
    /// Height of the picture, upright.
    pub(crate) height: Option<usize>,
    /// How many pictures its file has: pages of a TIFF, or frames of an animation. One of them was judged.
    pub(crate) pictures: Option<usize>,
    /// The first 12 digits of the SHA-256 of the model's file.
    pub(crate) model: String,
    /// The number of the model's version at this line.
    pub(crate) version: u32,
    /// The program's version.
    pub(crate) riad_version: String,
    /// How long decoding and scoring took, in milliseconds.
    pub(crate) ms: f64,
    /// Whether it was drawn for an audit: a person is asked about it even if it passed.
    pub(crate) audit: bool,
    /// What a person said.
    pub(crate) label: Option<Label>,
    /// When.
    #[serde(serialize_with = "as_rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) labelled: Option<SystemTime>,
    /// Whether its picture is still there.
    pub(crate) kept: bool,
    /// Where to get the rest.
    pub(crate) links: Links,
    /// The file of its picture in the store.
    #[serde(skip)]
    pub(crate) picture: Option<String>,
    /// How many bytes that has.
    #[serde(skip)]
    pub(crate) bytes: u64,
}

/// Where to get what belongs to an inspection, as paths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Links {
    /// The inspection.
    #[serde(rename = "self")]
    pub(crate) this: String,
    /// The picture as it came.
    pub(crate) image: String,
    /// A small one.
    pub(crate) thumbnail: String,
    /// The anomaly map in colours.
    pub(crate) heat_map: String,
    /// That over the picture.
    pub(crate) overlay: String,
}

impl Links {
    pub(crate) fn of(line: &str, id: i64) -> Self {
        let this = format!("/v1/lines/{line}/inspections/{id}");
        Self {
            image: format!("{this}/image"),
            thumbnail: format!("{this}/thumbnail"),
            heat_map: format!("{this}/heat-map"),
            overlay: format!("{this}/overlay"),
            this,
        }
    }
}

/// Milliseconds since 1970. Times before that are 1970.
pub(crate) fn to_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn from_millis(millis: i64) -> SystemTime {
    // What cannot be written down as a date would panic where it is shown.
    let millis = u64::try_from(millis).unwrap_or(0).min(253_402_300_799_999);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

pub(crate) fn as_rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

pub(crate) fn as_rfc3339_or_null<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}
