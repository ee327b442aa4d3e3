//! The paths below frames, products, sets and jobs, and the forms of their questions and answers.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::*;
use crate::catalogue::views::QcRow;
use crate::fits::Outline;
use crate::service::params::{NoParams, Params};

/// One card of a header.
#[derive(Debug, Serialize, ToSchema)]
pub struct CardBody {
    /// Keyword.
    pub keyword: String,
    /// Value as text; none for a commentary card.
    pub value: Option<String>,
    /// Comment.
    pub comment: String,
}

/// What an HDU holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct HduBody {
    /// Its place in the file, from 0.
    pub index: usize,
    /// EXTNAME; empty when it has none.
    pub name: String,
    /// `image`, `spectrum` (a table that can be drawn), `table`, or `header`.
    pub kind: String,
    /// Rows of an image.
    pub rows: Option<usize>,
    /// Columns of an image.
    pub columns: Option<usize>,
    /// Unit of the pixels; names and units of a table's columns.
    pub units: Vec<String>,
    /// The header.
    pub cards: Vec<CardBody>,
}

impl HduBody {
    pub(super) fn of(index: usize, outline: Outline) -> HduBody {
        let (kind, rows, columns, units) = match &outline.contents {
            Contents::Image { rows, columns } => {
                let unit = outline.header.text("BUNIT").unwrap_or_default().to_string();
                ("image", Some(*rows), Some(*columns), vec![unit])
            }
            Contents::Table(fields) => {
                let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
                let kind = if preview::drawable(&names) { "spectrum" } else { "table" };
                let said = |(name, unit): &(String, String)| match unit.as_str() {
                    "" => name.clone(),
                    unit => format!("{name} [{unit}]"),
                };
                (kind, None, None, fields.iter().map(said).collect())
            }
            Contents::Other => ("header", None, None, Vec::new()),
        };
        let cards = outline.header.cards().iter().map(|card| CardBody {
            keyword: card.keyword.clone(),
            value: card.value.as_ref().map(ToString::to_string),
            comment: card.comment.clone(),
        });
        HduBody {
            index,
            name: outline.extname.unwrap_or_default(),
            kind: kind.to_string(),
            rows,
            columns,
            units,
            cards: cards.collect(),
        }
    }
}

/// What a file holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContentsBody {
    /// File name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// HDUs in order.
    pub hdus: Vec<HduBody>,
}

/// Which part of an image, how large, and between which levels.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImageQuery {
    /// HDU, from 0.
    pub hdu: Option<usize>,
    /// First column, from 0.
    pub x0: Option<usize>,
    /// First row, from 0, counted from below.
    pub y0: Option<usize>,
    /// Column after the last.
    pub x1: Option<usize>,
    /// Row after the last.
    pub y1: Option<usize>,
    /// Longest side of the answer, pixels.
    #[param(minimum = 1, maximum = 2048, default = 1024)]
    pub side: Option<usize>,
    /// Value shown darkest; by z-scale of the whole image when left out.
    pub low: Option<f64>,
    /// Value shown brightest; by z-scale of the whole image when left out.
    pub high: Option<f64>,
    /// `grey` or `viridis`.
    #[param(example = "grey")]
    pub palette: Option<String>,
}

/// Which range of a spectrum, and how finely.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SpectrumQuery {
    /// HDU of the table, from 0; 1 when left out.
    pub hdu: Option<usize>,
    /// From this place on.
    pub from: Option<f64>,
    /// To this place.
    pub to: Option<f64>,
    /// Most intervals of each order.
    #[param(minimum = 1, maximum = 8192, default = 1000)]
    pub intervals: Option<usize>,
    /// Names of columns, joined by commas; flux, error, sky and signal to noise when left out.
    #[param(example = "FLUX,ERR")]
    pub curves: Option<String>,
}

/// Form of a picture.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PictureQuery {
    /// `png` or `pdf`.
    #[param(example = "png")]
    pub form: Option<String>,
}

macro_rules! route {
    ($(#[$doc:meta])* $name:ident($source:ident, $path:literal, $summary:literal, $description:literal)
     $query:ty => $answer:expr, $ok:tt $(, $params:ty)?) => {
        $(#[$doc])*
        #[utoipa::path(
            get,
            path = $path,
            tag = "files",
            summary = $summary,
            description = $description,
            params(("id" = i64, Path, description = "Row id", example = "1") $(, $params)?),
            responses(
                $ok,
                (status = 400, description = "A parameter cannot be used", body = ErrorBody),
                (status = 404, description = "There is no such row, or its file is gone", body = ErrorBody),
                (status = 422, description = "The file cannot be read or shown", body = ErrorBody),
                (status = 500, description = "Reading broke off", body = ErrorBody),
                (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
            )
        )]
        pub async fn $name(
            State(app): State<App>,
            Path(id): Path<i64>,
            Params(query): Params<$query>,
        ) -> Result<Response, ApiError> {
            let source = Source::$source(&app, id).await?;
            $answer(app, source, query).await
        }
    };
}

async fn as_contents(app: App, source: Source, _none: NoParams) -> Result<Response, ApiError> {
    Ok(Json(contents(&app, source).await?).into_response())
}

async fn as_image(app: App, source: Source, query: ImageQuery) -> Result<Response, ApiError> {
    image(&app, source, query).await
}

async fn as_spectrum(app: App, source: Source, query: SpectrumQuery) -> Result<Response, ApiError> {
    Ok(Json(spectrum(&app, source, query).await?).into_response())
}

async fn as_file(_app: App, source: Source, _none: NoParams) -> Result<Response, ApiError> {
    download(source, "application/fits").await
}

route!(
    /// What a raw file holds.
    frame_contents(frame, "/api/v1/frames/{id}/contents", "What a raw file holds", "HDUs with their headers.")
    NoParams => as_contents, (status = 200, description = "HDUs", body = ContentsBody)
);
route!(
    /// A raw image.
    frame_image(frame, "/api/v1/frames/{id}/image", "A raw image",
        "PNG of an HDU or a part of it, by z-scale; the header soxsd-levels has the levels.")
    ImageQuery => as_image, (status = 200, description = "PNG", content_type = "image/png", body = Vec<u8>), ImageQuery
);
route!(
    /// A raw file.
    frame_file(frame, "/api/v1/frames/{id}/file", "A raw file", "The file as it is.")
    NoParams => as_file, (status = 200, description = "FITS", content_type = "application/fits", body = Vec<u8>)
);
route!(
    /// What a product holds.
    product_contents(product, "/api/v1/products/{id}/contents", "What a product holds", "HDUs with their headers.")
    NoParams => as_contents, (status = 200, description = "HDUs", body = ContentsBody)
);
route!(
    /// An image of a product.
    product_image(product, "/api/v1/products/{id}/image", "An image of a product",
        "PNG of an HDU or a part of it, by z-scale; the header soxsd-levels has the levels.")
    ImageQuery => as_image, (status = 200, description = "PNG", content_type = "image/png", body = Vec<u8>), ImageQuery
);
route!(
    /// A spectrum of a product.
    product_spectrum(product, "/api/v1/products/{id}/spectrum", "A spectrum of a product",
        "Curves of a table over wavelength: least and largest value in each interval, every sample where few are left.")
    SpectrumQuery => as_spectrum, (status = 200, description = "Curves", body = preview::Shown), SpectrumQuery
);
route!(
    /// A product.
    product_file(product, "/api/v1/products/{id}/file", "A product", "The file as it is.")
    NoParams => as_file, (status = 200, description = "FITS", content_type = "application/fits", body = Vec<u8>)
);

/// The page that was drawn of a set's reduction.
#[utoipa::path(
    get,
    path = "/api/v1/sets/{id}/picture",
    tag = "files",
    summary = "The page that was drawn of a set's reduction",
    description = "Made when its products are safe; a set may have none.",
    params(("id" = i64, Path, description = "Row id", example = "1"), PictureQuery),
    responses(
        (status = 200, description = "PNG or PDF", content((Vec<u8> = "image/png"), (Vec<u8> = "application/pdf"))),
        (status = 400, description = "A parameter cannot be used", body = ErrorBody),
        (status = 404, description = "There is no such set, or it has no picture", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub async fn set_picture(
    State(app): State<App>,
    Path(id): Path<i64>,
    Params(query): Params<PictureQuery>,
) -> Result<Response, ApiError> {
    let (form, kind) = match query.form.as_deref() {
        None | Some("png") => ("png", "image/png"),
        Some("pdf") => ("pdf", "application/pdf"),
        Some(other) => return Err(ApiError::parameter("form", other, "must be png or pdf")),
    };
    let paths = picture_paths(&app, id).await?;
    let path = if form == "png" { &paths.png } else { &paths.pdf };
    let bytes = tokio::fs::read(path).await.map_err(|_| {
        let hint = "pictures are drawn when products are safe, unless scheduler.pictures = false";
        ApiError::not_found("no_picture", format!("there is no picture of {}", paths.name), hint)
    })?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// Where the pictures of a set are, if they are.
struct PicturePaths {
    name: String,
    png: PathBuf,
    pdf: PathBuf,
}

async fn picture_paths(app: &App, set: i64) -> Result<PicturePaths, ApiError> {
    let found = app.within(app.reader.pictured(set)).await?.ok_or_else(|| no_row("set", set))?;
    let folder = app.site.workspace.qc.join(found.folder.unwrap_or_default());
    let path = |form: &str| folder.join(format!("{}.{form}", found.name));
    Ok(PicturePaths { png: path("png"), pdf: path("pdf"), name: found.name })
}

/// The forms in which a set has a picture.
#[utoipa::path(
    get,
    path = "/api/v1/sets/{id}/pictures",
    tag = "files",
    summary = "The forms in which a set has a picture",
    description = "`png` and `pdf` as they are there; empty for a set that has no picture yet.",
    params(("id" = i64, Path, description = "Row id", example = "1")),
    responses(
        (status = 200, description = "Forms", body = Vec<String>),
        (status = 400, description = "A parameter cannot be used", body = ErrorBody),
        (status = 404, description = "There is no such set", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub async fn set_pictures(
    State(app): State<App>,
    Path(id): Path<i64>,
    _none: Params<NoParams>,
) -> Result<Json<Vec<String>>, ApiError> {
    let paths = picture_paths(&app, id).await?;
    let mut forms = Vec::new();
    for (form, path) in [("png", &paths.png), ("pdf", &paths.pdf)] {
        if tokio::fs::try_exists(path).await.unwrap_or(false) {
            forms.push(form.to_string());
        }
    }
    Ok(Json(forms))
}

/// Every metric of a job.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}/qc",
    tag = "tables",
    summary = "Every metric of a job",
    description = "Global values first, then those of orders. A job without metrics gives an empty list.",
    params(("id" = i64, Path, description = "Row id", example = "1")),
    responses(
        (status = 200, description = "Metrics", body = Vec<QcRow>),
        (status = 400, description = "A parameter cannot be used", body = ErrorBody),
        (status = 404, description = "There is no such job", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub async fn job_qc(
    State(app): State<App>,
    Path(id): Path<i64>,
    _none: Params<NoParams>,
) -> Result<Json<Vec<QcRow>>, ApiError> {
    if app.within(app.reader.job_row(id)).await?.is_none() {
        return Err(no_row("job", id));
    }
    Ok(Json(app.within(app.reader.qc_of_job(id)).await?))
}
