//! The page of suspects: one HTML file that needs nothing else.

use askama::Template;
use riad_data::{Fit, Reader, Suspicion};
use riad_model::Keep;

use super::{Reason, Suspects};
use crate::{
    Error, Result,
    detector::Detector,
    page::{content_policy, style},
    render::{Plane, Scale, Thumbnail, drawn},
};

/// Suspects with pictures; of more a person sees that something else is wrong.
const PICTURED: usize = 200;

/// The page. What comes from outside, names of files above all, is escaped by the template.
#[derive(Template)]
#[template(path = "suspects.html")]
struct Page<'a> {
    policy: String,
    style: String,
    version: &'static str,
    images: usize,
    effect: Option<String>,
    shots: Vec<Shot<'a>>,
    unreadable: Vec<String>,
}

/// A suspect.
struct Shot<'a> {
    name: &'a str,
    reasons: Vec<String>,
    pictures: Vec<(String, Thumbnail)>,
}

pub(super) fn render(suspects: &Suspects, reader: &Reader, model: Option<&Detector>) -> Result<String> {
    let mut shots = Vec::with_capacity(suspects.found.len());
    for (number, (&place, reasons)) in suspects.found.iter().enumerate() {
        let mut said: Vec<_> = reasons.iter().map(|reason| suspects.said(reason)).collect();
        let pictures = if number < PICTURED {
            match pictures(suspects, place, reasons, reader, model) {
                Err(error) if error.stops_everything() => return Err(error),
                Err(error) => {
                    said.push(format!("there is no picture: {error}"));
                    Vec::new()
                }
                Ok(pictures) => pictures,
            }
        } else {
            Vec::new()
        };
        shots.push(Shot {
            name: &suspects.names[place],
            reasons: said,
            pictures,
        });
    }
    let style = style();
    let page = Page {
        policy: content_policy(&style, None),
        style,
        version: env!("CARGO_PKG_VERSION"),
        images: suspects.images.len(),
        effect: suspects.effect(),
        shots,
        unreadable: suspects.unreadable.iter().map(|(_, error)| error.to_string()).collect(),
    };
    page.render().map_err(Error::render("the page of suspects"))
}

/// A suspect, the image that it is compared with, and where a model finds it anomalous.
fn pictures(
    suspects: &Suspects,
    place: usize,
    reasons: &[Reason],
    reader: &Reader,
    model: Option<&Detector>,
) -> Result<Vec<(String, Thumbnail)>> {
    let picture = |place: usize| {
        let image = reader.load(&suspects.images[place], Fit::Own)?.image;
        drawn(image.values(), image.size())
    };
    let mut pictures = vec![("image".to_owned(), Thumbnail::of(&picture(place)?)?)];
    let other = reasons.iter().find_map(|reason| match *reason {
        Reason::Seen(Suspicion::Copy { of } | Suspicion::NearCopy { of }) => Some(of),
        Reason::Seen(Suspicion::Unlike { nearest, .. }) => Some(nearest),
        _ => None,
    });
    if let Some(other) = other {
        let caption = format!("next to it: {}", suspects.names[other]);
        pictures.push((caption, Thumbnail::of(&picture(other)?)?));
    }
    let scored = reasons.iter().find_map(|reason| match *reason {
        Reason::Scores { score, .. } => Some(score),
        Reason::Seen(_) => None,
    });
    if let (Some(score), Some(model)) = (scored, model) {
        let image = reader.load(&suspects.images[place], model.fit())?.image;
        let shown = drawn(image.values(), image.size())?;
        if let Some(scored) = model.score(&[&image], Keep::Map)?.pop() {
            let map = Plane::new(scored?.map)?.resized(image.size())?;
            let scale = Scale::up_to(score).unwrap_or_default();
            pictures.push((
                "anomalous where warm".to_owned(),
                Thumbnail::of(&scale.overlay(&shown, &map)?)?,
            ));
        }
    }
    Ok(pictures)
}
