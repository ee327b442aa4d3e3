//! Metrics over the nights.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::error::{ApiError, ErrorBody};
use super::params::{self, NoParams, Params};
use crate::catalogue::views::{Trend, TrendAxis, TrendQuery, TrendedMetric};
use crate::instrument::Night;

/// Which metric, of what, and against what.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TrendParams {
    /// Metric.
    #[param(example = "RAW RON")]
    metric: String,
    /// Order; `-1` for global values; all when left out.
    order: Option<String>,
    /// `VIS`, `NIR` or `ACQ`.
    arm: Option<String>,
    /// Recipe.
    recipe: Option<String>,
    /// Read mode.
    read_mode: Option<String>,
    /// Slit.
    slit: Option<String>,
    /// Lamp.
    lamp: Option<String>,
    /// First night, `YYYY-MM-DD`.
    #[param(example = "2026-03-01")]
    from: Option<String>,
    /// Last night, `YYYY-MM-DD`.
    #[param(example = "2026-03-31")]
    to: Option<String>,
    /// Horizontal axis: another metric as `qc:NAME` or a keyword of the raw header as `header:KEYWORD`; time when left out.
    #[param(example = "header:ESO TEL AIRM START")]
    against: Option<String>,
}

impl TrendParams {
    fn query(self) -> Result<TrendQuery, ApiError> {
        let texts = [
            ("metric", Some(&self.metric)),
            ("order", self.order.as_ref()),
            ("recipe", self.recipe.as_ref()),
            ("read_mode", self.read_mode.as_ref()),
            ("slit", self.slit.as_ref()),
            ("lamp", self.lamp.as_ref()),
            ("against", self.against.as_ref()),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                params::name_text(name, value)?;
            }
        }
        let against = match self.against.as_deref().map(|text| (text, text.split_once(':'))) {
            None => TrendAxis::Time,
            Some((_, Some(("qc", name)))) => TrendAxis::Metric(name.to_string()),
            Some((_, Some(("header", keyword)))) => TrendAxis::Header(keyword.to_string()),
            Some((text, _)) => {
                return Err(ApiError::parameter("against", text, "must be qc:METRIC or header:KEYWORD"));
            }
        };
        // A night begins at 15 h UT and ends where the next begins.
        let begin = |name: &str, text: Option<&str>, days: i64| -> Result<Option<i64>, ApiError> {
            let Some(text) = text else { return Ok(None) };
            let night = params::night(name, text)?;
            Ok(Night::parse(&night).and_then(|night| night.begin_us()).map(|us| us + days * 86_400_000_000))
        };
        Ok(TrendQuery {
            from_us: begin("from", self.from.as_deref(), 0)?.unwrap_or(i64::MIN / 4),
            to_us: begin("to", self.to.as_deref(), 1)?.unwrap_or(i64::MAX / 4),
            metric: self.metric,
            order: self.order,
            arm: self.arm.as_deref().map(params::arm).transpose()?,
            recipe: self.recipe,
            read_mode: self.read_mode,
            slit: self.slit,
            lamp: self.lamp,
            against,
        })
    }
}

/// A metric over the nights.
#[utoipa::path(
    get,
    path = "/api/v1/trends",
    tag = "status",
    summary = "A metric over the nights",
    description = "Values with their limits, by arm, order, recipe, read mode, slit and lamp, against time, another metric or \
                   a number of the raw header. Of a long series one of n values is given, besides those that are out of range.",
    params(TrendParams),
    responses(
        (status = 200, description = "The values, oldest first", body = Trend),
        (status = 400, description = "A parameter cannot be used", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn trend(State(app): State<App>, Params(query): Params<TrendParams>) -> Result<Json<Trend>, ApiError> {
    let query = query.query()?;
    Ok(Json(app.within(app.reader.trend(&query)).await?))
}

/// The metrics that there are.
#[utoipa::path(
    get,
    path = "/api/v1/trends/metrics",
    tag = "status",
    summary = "The metrics that there are",
    description = "Every metric that was ever measured, by name.",
    responses(
        (status = 200, description = "Metrics", body = Vec<TrendedMetric>),
        (status = 400, description = "It takes no parameter", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn metrics(
    State(app): State<App>,
    _none: Params<NoParams>,
) -> Result<Json<Vec<TrendedMetric>>, ApiError> {
    Ok(Json(app.within(app.reader.trended_metrics()).await?))
}
