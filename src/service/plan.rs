//! The calibration plan: for every set-up that was used lately, the masters that a set of it would get if it was taken now.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::App;
use super::error::{ApiError, ErrorBody};
use super::params::{NoParams, Params};
use crate::association::choose::{Candidate, Wanted, judge};
use crate::association::keys::Keys;
use crate::association::rules::Need;
use crate::catalogue::views::{NewestMaster, UsedSetup};
use crate::catalogue::{ProductId, SetId};
use crate::instrument::Arm;

/// Set-ups used within so many days of the newest belong to the plan.
const LATELY_D: f64 = 14.0;
/// A master that leaves the plan within this time is called stale soon, hours.
const SOON_H: f64 = 12.0;
/// Microseconds of a day, and MJD of 1970-01-01.
const DAY_US: f64 = 86_400e6;
const MJD_1970: f64 = 40_587.0;

/// How a need is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Supply {
    /// No master fits.
    Missing,
    /// The best is older than the calibration plan allows.
    Stale,
    /// Inside the plan, but not for long.
    Ending,
    /// Inside the plan.
    Fresh,
}

/// A kind of master and how it is supplied.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct PlanLine {
    /// How it is supplied.
    pub supply: Supply,
    /// Arm.
    pub arm: String,
    /// PRO CATG with the arm.
    pub master: String,
    /// What it must have, for people: `slit SLIT1.0, read_mode 3`.
    pub setup: String,
    /// Recipes that want it.
    pub wanted_by: Vec<String>,
    /// One of them cannot run without it.
    pub required: bool,
    /// The best master there is; none when none fits.
    pub product_id: Option<i64>,
    /// Its name; when none fits, why the nearest does not.
    pub detail: String,
    /// Its age in days.
    pub age_d: Option<f64>,
    /// Validity level, 0 is inside the plan.
    pub level: Option<usize>,
    /// When it leaves the plan, or left it.
    pub until_us: Option<i64>,
}

/// The calibration plan.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanBody {
    /// For when this holds.
    pub at_us: i64,
    /// Days of set-ups that were looked at.
    pub days: f64,
    /// The plan is for a moment after the newest frame, for nothing has come lately.
    pub past: bool,
    /// What is wanted, the worst first.
    pub lines: Vec<PlanLine>,
}

/// The calibration plan.
#[utoipa::path(
    get,
    path = "/api/v1/plan",
    tag = "status",
    summary = "The calibration plan",
    description = "For every set-up of the last fourteen days with frames, the masters that a set of it would get now, by \
                   the rules of association: which are fresh, which are stale, and which are missing.",
    responses(
        (status = 200, description = "The plan, the worst first", body = PlanBody),
        (status = 400, description = "It takes no parameter", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn plan(State(app): State<App>, _none: Params<NoParams>) -> Result<Json<PlanBody>, ApiError> {
    let now = app.reader.clock().now_us();
    let newest = app.within(app.reader.newest_set_mjd()).await?;
    let mjd_now = now as f64 / DAY_US + MJD_1970;
    // Data that are looked at long after they were taken are judged as of their own time.
    let past = newest.is_some_and(|newest| mjd_now - newest > LATELY_D);
    let mjd = if past { newest.unwrap_or(mjd_now) + 1e-3 } else { mjd_now };
    let setups = app.within(app.reader.used_setups(mjd - LATELY_D)).await?;
    let mut wants: BTreeMap<(String, String), Want<'_>> = BTreeMap::new();
    for setup in &setups {
        gather(&app, setup, &mut wants);
    }
    let mut masters: BTreeMap<String, Vec<NewestMaster>> = BTreeMap::new();
    for (catg, _) in wants.keys() {
        if !masters.contains_key(catg) {
            masters.insert(catg.clone(), app.within(app.reader.newest_masters(catg)).await?);
        }
    }
    let mut lines: Vec<PlanLine> = wants
        .into_iter()
        .map(|((catg, _), want)| line(&app, &want, masters.get(&catg).map_or(&[][..], Vec::as_slice), catg, mjd))
        .collect();
    lines.sort_by(|a, b| (a.supply, !a.required, &a.arm, &a.master).cmp(&(b.supply, !b.required, &b.arm, &b.master)));
    Ok(Json(PlanBody { at_us: ((mjd - MJD_1970) * DAY_US) as i64, days: LATELY_D, past, lines }))
}

/// A master that some set-ups want.
struct Want<'a> {
    need: &'a Need,
    arm: Arm,
    keys: Keys,
    setup: String,
    wanted_by: Vec<String>,
    required: bool,
}

/// What a set-up needs, by category and by the values that a master must have.
fn gather<'a>(app: &'a App, setup: &UsedSetup, wants: &mut BTreeMap<(String, String), Want<'a>>) {
    let (Some(rule), Some(arm)) = (app.site.rules.recipe(&setup.recipe), Arm::parse(&setup.arm)) else { return };
    let keys: Keys = serde_json::from_str(&setup.keys).unwrap_or_default();
    // Partners of one calibration block come with the block, partners of the same light are no calibrations.
    for need in rule.needs_of(arm).filter(|need| !need.same_night && need.partner.is_none()) {
        let names = need.matching.iter().chain(&need.prefer);
        let parts: Vec<String> = names.filter_map(|name| Some(format!("{name} {}", said(keys.get(name)?)?))).collect();
        let text = parts.join(", ");
        let want = wants.entry((need.catg(arm), text.clone())).or_insert_with(|| Want {
            need,
            arm,
            keys: keys.clone(),
            setup: text,
            wanted_by: Vec::new(),
            required: false,
        });
        if !want.wanted_by.contains(&setup.recipe) {
            want.wanted_by.push(setup.recipe.clone());
        }
        want.required |= need.required;
    }
}

fn said(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn line(app: &App, want: &Want<'_>, masters: &[NewestMaster], catg: String, mjd: f64) -> PlanLine {
    let steps = app.site.rules.steps(&want.need.validity);
    let candidates: Vec<Candidate> = masters
        .iter()
        .map(|master| Candidate {
            product: Some(ProductId(master.id)),
            set: SetId(master.set_id),
            keys: serde_json::from_str(&master.keys).unwrap_or_default(),
            mjd: master.mjd,
            span: [master.mjd, master.mjd],
            barred: None,
        })
        .collect();
    let wanted = Wanted { set: SetId(0), arm: want.arm, keys: &want.keys, mjd, span: [mjd, mjd], follows: None };
    let borrowed: Vec<&Candidate> = candidates.iter().collect();
    let judged = judge(want.need, steps, app.site.policy, wanted, &borrowed);
    let mut line = PlanLine {
        supply: Supply::Missing,
        arm: want.arm.to_string(),
        master: catg,
        setup: want.setup.clone(),
        wanted_by: want.wanted_by.clone(),
        required: want.required,
        product_id: None,
        detail: "there is no such master at all".to_string(),
        age_d: None,
        level: None,
        until_us: None,
    };
    let Some((best, master)) = judged.first().and_then(|best| Some((best, masters.get(best.index)?))) else {
        return line;
    };
    match &best.outcome {
        Err(refusal) => line.detail = format!("nearest is {}: {}", master.name, refusal.reason),
        Ok(fit) => {
            let until = steps.first().map(|step| master.mjd + step);
            let soon = until.is_some_and(|until| until - mjd < SOON_H / 24.0);
            line.supply = match fit.level {
                0 if soon => Supply::Ending,
                0 => Supply::Fresh,
                _ => Supply::Stale,
            };
            line.product_id = Some(master.id);
            line.detail = master.name.clone();
            line.age_d = Some(best.days);
            line.level = Some(fit.level);
            line.until_us = until.map(|until| ((until - MJD_1970) * DAY_US) as i64);
        }
    }
    line
}
