//! Pictures of an inspection. What is drawn is computed again from picture and model, which are kept.

use std::{
    fs::File,
    io::Read,
    path::{Path as FilePath, PathBuf},
};

use axum::{extract::State, http::HeaderMap, response::Response};
use image::{
    ImageEncoder, RgbImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
    imageops::FilterType,
};
use riad::{
    Size,
    render::{
        self, Plane,
        raw::{npy, tiff},
    },
};
use riad_data::Fit;

use super::{
    answer::{Binary, Problem, Refused},
    answering::Room,
    blocking,
    etag::Known,
    extract::{Path, Query},
    inspections::found,
    line_of,
};
use crate::{Error, shared::Shared, store::Inspection};

/// The height of a small picture.
const THUMBNAIL: usize = 160;

/// The longer side of a picture that is drawn for the page.
const SCREEN: u32 = 1280;

const QUALITY: u8 = 85;

/// A picture never changes, and neither does what a version of a model makes of it.
fn known(inspection: &Inspection, what: &str, headers: &HeaderMap) -> Known {
    let picture = inspection.picture.as_deref().unwrap_or_default();
    Known::of(&format!("{picture}-{}-{what}", inspection.model), headers)
}

type Place = Path<(String, i64)>;

/// An inspection with its picture's file.
async fn kept(shared: &Shared, line: &str, id: i64) -> Result<(Inspection, PathBuf), Refused> {
    let line = line_of(shared, line)?;
    let shared = shared.clone();
    blocking(move || {
        let inspection = found(shared.store.inspection(&line.name, id)?, id)?;
        let Some(name) = &inspection.picture else {
            return Err(Refused::not_kept(id));
        };
        let path = shared.store.pictures().path(name);
        Ok((inspection, path))
    })
    .await
}

/// The picture as it came, or one that any browser can show
#[utoipa::path(
    get, path = "/v1/lines/{line}/inspections/{id}/image", tag = "pictures",
    params(("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The inspection's number"), Shape),
    responses(
        (status = 200, content(
            (Binary = "image/png"), (Binary = "image/jpeg"), (Binary = "image/tiff"), (Binary = "image/webp"), (Binary = "image/gif"),
            (Binary = "image/bmp"), (Binary = "application/octet-stream")
        )),
        (status = 304), (status = 400, body = Problem), (status = 404, body = Problem),
    )
)]
pub(super) async fn image(
    State(shared): State<Shared>,
    Path((line, id)): Place,
    Query(shape): Query<Shape>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (inspection, path) = kept(&shared, &line, id).await?;
    let is_for_page = shape.purpose == Some(Purpose::Page);
    let known = known(&inspection, if is_for_page { "page" } else { "image" }, &headers);
    if known.is_there {
        return Ok(known.unchanged());
    }
    if is_for_page {
        let small = small(&shared, inspection, path, screen_size);
        return Ok(known.with("image/jpeg", small.await?));
    }
    let (bytes, room) = read(&shared, id, path).await?;
    let kind = kind_of(&bytes);
    let mut response = known.with(kind, bytes);
    if let Some(room) = room {
        response.extensions_mut().insert(room);
    }
    Ok(response)
}

/// Reads a file that is to be an answer, if there is room for as many bytes as it has.
async fn read(shared: &Shared, id: i64, path: PathBuf) -> Result<(Vec<u8>, Option<Room>), Refused> {
    let shared = shared.clone();
    blocking(move || {
        let opened = File::open(&path).map_err(Error::file("read", &path));
        let file = opened.map_err(|error| or_gone(error, id, &path))?;
        let length = file.metadata().map_err(Error::file("read", &path))?.len();
        let room = Room::of(&shared.answers, length)?;
        let mut bytes = Vec::new();
        let read = file.take(length).read_to_end(&mut bytes);
        read.map_err(Error::file("read", path))?;
        Ok((bytes, room))
    })
    .await
}

/// What is answered if a picture cannot be read: it may have been deleted since its row was read, or by somebody else.
fn or_gone(refused: impl Into<Refused>, id: i64, path: &FilePath) -> Refused {
    match path.try_exists() {
        Ok(false) => Refused::not_kept(id),
        _ => refused.into(),
    }
}

/// The size of a picture of this size that is drawn for the page.
pub(super) fn screen_size(size: Size) -> Size {
    let longer = size.width.max(size.height);
    let side = |side: usize| (side * SCREEN as usize / longer.max(1)).max(1);
    match longer <= SCREEN as usize {
        true => size,
        false => Size::new(side(size.height), side(size.width)),
    }
}

/// The size of a small one of a picture of this size.
pub(super) fn strip_size(size: Size) -> Size {
    let width = size.width * THUMBNAIL / size.height.max(1);
    Size::new(THUMBNAIL, width.clamp(1, 4 * THUMBNAIL))
}

/// What a browser may show of it. Anything else is only to be saved.
fn kind_of(bytes: &[u8]) -> &'static str {
    match image::guess_format(bytes) {
        Ok(format) => match format.to_mime_type() {
            kind @ ("image/png" | "image/jpeg" | "image/webp" | "image/gif" | "image/bmp" | "image/tiff") => kind,
            _ => "application/octet-stream",
        },
        Err(_) => "application/octet-stream",
    }
}

/// A small picture
#[utoipa::path(
    get, path = "/v1/lines/{line}/inspections/{id}/thumbnail", tag = "pictures",
    params(("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The inspection's number")),
    responses((status = 200, content_type = "image/jpeg", body = Binary), (status = 304), (status = 404, body = Problem))
)]
pub(super) async fn thumbnail(
    State(shared): State<Shared>,
    Path((line, id)): Place,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (inspection, path) = kept(&shared, &line, id).await?;
    let known = known(&inspection, "thumbnail", &headers);
    if known.is_there {
        return Ok(known.unchanged());
    }
    let small = small(&shared, inspection, path, strip_size);
    Ok(known.with("image/jpeg", small.await?))
}

/// The anomaly map in colours, at the picture's size
#[utoipa::path(
    get, path = "/v1/lines/{line}/inspections/{id}/heat-map", tag = "pictures",
    params(("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The inspection's number")),
    responses((status = 200, content_type = "image/png", body = Binary), (status = 304), (status = 404, body = Problem))
)]
pub(super) async fn heat_map(
    State(shared): State<Shared>,
    Path((line, id)): Place,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (inspection, path) = kept(&shared, &line, id).await?;
    let known = known(&inspection, "heat-map", &headers);
    if known.is_there {
        return Ok(known.unchanged());
    }
    let drawn = drawn(&shared, inspection, path, png, riad::Inspection::heat_map).await?;
    Ok(known.with("image/png", drawn))
}

/// A picture that fits on a screen.
fn for_screen(picture: RgbImage) -> RgbImage {
    let longer = picture.width().max(picture.height());
    if longer <= SCREEN {
        return picture;
    }
    let side = |side: u32| ((u64::from(side) * u64::from(SCREEN) / u64::from(longer)) as u32).max(1);
    let (width, height) = (side(picture.width()), side(picture.height()));
    image::imageops::resize(&picture, width, height, FilterType::Triangle)
}

/// How a picture is to be given.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Shape {
    /// `page` for a JPEG whose longer side has at most 1280 pixels.
    #[serde(rename = "for")]
    purpose: Option<Purpose>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Purpose {
    Page,
}

/// The picture with the anomaly map's colours and a line around what was found
#[utoipa::path(
    get, path = "/v1/lines/{line}/inspections/{id}/overlay", tag = "pictures",
    params(("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The inspection's number"), Shape),
    responses(
        (status = 200, content((Binary = "image/png"), (Binary = "image/jpeg"))), (status = 304), (status = 400, body = Problem),
        (status = 404, body = Problem),
    )
)]
pub(super) async fn overlay(
    State(shared): State<Shared>,
    Path((line, id)): Place,
    Query(shape): Query<Shape>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (inspection, path) = kept(&shared, &line, id).await?;
    let rate = riad::FalsePositiveRate::new(inspection.rate).with_confidence(inspection.confidence);
    let is_for_page = shape.purpose == Some(Purpose::Page);
    let (encode, kind): (Encode, _) = match is_for_page {
        true => (jpeg, "image/jpeg"),
        false => (png, "image/png"),
    };
    let known = known(
        &inspection,
        if is_for_page { "overlay-page" } else { "overlay" },
        &headers,
    );
    if known.is_there {
        return Ok(known.unchanged());
    }
    let drawn = drawn(&shared, inspection, path, encode, move |found| {
        let overlay = found.overlay_at(rate)?;
        Ok(if is_for_page { for_screen(overlay) } else { overlay })
    });
    Ok(known.with(kind, drawn.await?))
}

/// The anomaly map's numbers: `map.npy` is a NumPy array of f32, `map.tiff` a TIFF of one f32 a pixel
#[utoipa::path(
    get, path = "/v1/lines/{line}/inspections/{id}/{file}", tag = "pictures",
    params(
        ("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The inspection's number"),
        ("file" = String, Path, description = "`map.npy` or `map.tiff`")
    ),
    responses(
        (status = 200, content((Binary = "application/octet-stream"), (Binary = "image/tiff"))),
        (status = 304), (status = 404, body = Problem),
    )
)]
pub(super) async fn numbers(
    State(shared): State<Shared>,
    Path((line, id, file)): Path<(String, i64, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let write = match file.as_str() {
        "map.npy" => |map: &Plane| Ok(npy(map)),
        "map.tiff" => tiff,
        _ => return Err(Refused::not_found("an inspection has no such file")),
    };
    let (inspection, path) = kept(&shared, &line, id).await?;
    let known = known(&inspection, &file, &headers);
    if known.is_there {
        return Ok(known.unchanged());
    }
    let bytes = looked_at(&shared, inspection, path, move |found| {
        let written = Plane::new(found.map().clone()).and_then(|map| write(&map));
        Ok(written.map_err(Error::from)?)
    })
    .await?;
    let kind = if file == "map.tiff" {
        "image/tiff"
    } else {
        "application/octet-stream"
    };
    Ok(known.with(kind, bytes))
}

/// Makes a file of a picture.
type Encode = fn(&RgbImage) -> Result<Vec<u8>, Refused>;

async fn drawn(
    shared: &Shared,
    inspection: Inspection,
    path: PathBuf,
    encode: Encode,
    draw: impl FnOnce(&riad::Inspection) -> riad::Result<RgbImage> + Send + 'static,
) -> Result<Vec<u8>, Refused> {
    let make = move |found: &riad::Inspection| encode(&draw(found).map_err(Error::from)?);
    looked_at(shared, inspection, path, make).await
}

/// A picture at the size that `size` makes of its own. Nothing looks for defects in it.
async fn small(
    shared: &Shared,
    inspection: Inspection,
    path: PathBuf,
    size: impl FnOnce(Size) -> Size,
) -> Result<Vec<u8>, Refused> {
    // What was judged has a size.
    let own = Size::new(inspection.height.unwrap_or(1), inspection.width.unwrap_or(1));
    let fit = Fit::Resized(size(own));
    let _turn = shared.drawing.acquire().await.map_err(|_| Refused::internal())?;
    let line = line_of(shared, &inspection.line)?;
    blocking(move || {
        let model = line.model();
        let loaded = model.detector.reader().load(&path, fit);
        let loaded = loaded.map_err(|error| Error::from(riad::Error::from(error)));
        let image = loaded.map_err(|error| or_gone(error, inspection.id, &path))?.image;
        jpeg(&render::drawn(image.values(), image.size()).map_err(Error::from)?)
    })
    .await
}

/// Looks at a picture again, with the version that judged it, and makes something of what is found.
async fn looked_at<T: Send + 'static>(
    shared: &Shared,
    inspection: Inspection,
    path: PathBuf,
    make: impl FnOnce(&riad::Inspection) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    // Drawing is nobody's hurry, and must not take the cores from the line.
    let _turn = shared.drawing.acquire().await.map_err(|_| Refused::internal())?;
    let line = line_of(shared, &inspection.line)?;
    let shared = shared.clone();
    blocking(move || {
        let detector = line.detector(inspection.version, &shared.store)?;
        let found = detector.inspect_file(&path).map_err(Error::from);
        make(&found.map_err(|error| or_gone(error, inspection.id, &path))?)
    })
    .await
}

pub(super) fn jpeg(picture: &RgbImage) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder.encode_image(picture).map_err(|_| Refused::internal())?;
    Ok(bytes)
}

fn png(picture: &RgbImage) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new(&mut bytes);
    let (width, height) = picture.dimensions();
    let written = encoder.write_image(picture.as_raw(), width, height, image::ExtendedColorType::Rgb8);
    written.map_err(|_| Refused::internal())?;
    Ok(bytes)
}
