//! One header in, one frame description or one reason out. No kind of frame is named here: the kinds are data.

use jiff::{SignedDuration, Timestamp};

use super::ClassifyError;
use super::gain;
use super::identity::{self, parse_time};
use super::kinds::Facts;
use super::rules::{ArmRules, BinningRule, Gauge, Required, Rules, StartEnd, ValueType, applies, canonical};
use crate::fits::{Header, Value};
use crate::instrument::{Arm, Binning, FrameMeta, OnSky, Usage};

/// See [`super::Classification::classify`].
pub(super) fn classify(
    rules: &Rules,
    name: &str,
    header: &Header,
    shape: (usize, usize),
    bitpix: i64,
    now: Timestamp,
) -> Result<FrameMeta, ClassifyError> {
    let mut reader = Reader { header, warnings: Vec::new() };
    refuse_strangers(rules, header)?;
    let arm = arm_of(rules, header)?;
    // Every arm has rules: checked when they are read.
    let arm_rules = rules.arm(arm).ok_or_else(|| no_arm(rules, &arm.to_string()))?;
    for required in rules.required.iter().filter(|required| applies(&required.arms, arm)) {
        check_required(header, required)?;
    }
    let keywords = &rules.keywords;
    let dpr_catg = reader.label(&keywords.dpr_catg).unwrap_or_default();
    let dpr_type = reader.label(&keywords.dpr_type).unwrap_or_default();
    let dpr_tech = reader.label(&keywords.dpr_tech).unwrap_or_default();

    let date_obs = start_of_exposure(rules, &mut reader, now)?;
    let mjd_obs = mjd_of_exposure(rules, &mut reader, date_obs)?;
    let exptime = exposure_time(rules, arm_rules, header, &dpr_type)?;
    let binning = match &arm_rules.binning {
        Some(rule) => Some(binning_of(rule, &mut reader)?),
        None => None,
    };
    check_shape(rules, arm, arm_rules, binning, shape, bitpix)?;

    let read_mode = read_mode_of(arm_rules, &mut reader);
    let has_slit = !rules.slit.blank_types.contains(&dpr_type);
    let slit_keyword = arm_rules.slit.as_deref().filter(|_| has_slit);
    let slit = slit_keyword.and_then(|keyword| reader.label(keyword));
    let slitmask = slit.as_deref().and_then(|slit| {
        rules.slitmask.iter().find(|mask| slit.contains(mask.contains.as_str())).map(|mask| mask.value.clone())
    });
    let lamps: Vec<&str> =
        rules.lamps.iter().filter(|lamp| header.contains(&lamp.keyword)).map(|lamp| lamp.label.as_str()).collect();
    let lamp = lamps.concat();
    let filter_keyword = arm_rules.filter.as_deref().filter(|_| has_slit);
    let filter = filter_keyword.and_then(|keyword| reader.text(keyword, "the filter stays unknown"));

    let facts = Facts {
        arm,
        catg: &dpr_catg,
        dpr_type: &dpr_type,
        tech: &dpr_tech,
        slit: slit.as_deref().unwrap_or(""),
        lamps: &lamps,
        lamp: &lamp,
        header,
    };
    let verdict = facts.verdict(rules);
    if verdict.usage == Usage::Reduce
        && slit.is_none()
        && let Some(keyword) = slit_keyword
    {
        return Err(ClassifyError::Missing {
            keyword: keyword.to_string(),
            expected: "the name of the slit or mask".to_string(),
            remedy: format!("frames of kind {} are grouped by it, for example SLIT1.0", verdict.kind),
        });
    }

    let data_id = identity::data_id_of(&rules.data_id, &keywords.date_obs, name, header)
        .unwrap_or_else(|| identity::data_id_from_time(&rules.data_id, date_obs));
    if let Some(named) = identity::time_of_data_id(&rules.data_id, &data_id)
        && date_obs.duration_since(named).abs() >= SignedDuration::from_millis(2)
    {
        reader.warn(format!("the data id {data_id} and {} = {date_obs} name different times", keywords.date_obs));
    }
    let (tpl_expno, tpl_nexp) = position_in_template(rules, &mut reader);
    let tpl_start = match reader.text(&keywords.tpl_start, "the start of the exposure is used") {
        Some(text) => parse_time(&text).unwrap_or_else(|| {
            let keyword = &keywords.tpl_start;
            reader.warn(format!("{keyword} is {text:?}, expected a time: the start of the exposure is used"));
            date_obs
        }),
        None => date_obs,
    };
    let gain = gain::choose(&rules.gain, arm, read_mode.as_deref(), header, &mut reader.warnings);
    let ron = rules
        .ron
        .keywords
        .iter()
        .find_map(|keyword| header.real(keyword).ok().filter(|ron| ron.is_finite() && *ron > 0.0));
    let left_empty = "left empty";
    Ok(FrameMeta {
        data_id,
        arm,
        kind: verdict.kind,
        usage: verdict.usage,
        usage_reason: verdict.reason,
        recipe: verdict.recipe,
        date_obs,
        mjd_obs,
        exptime,
        tpl_id: reader.text(&keywords.tpl_id, left_empty).unwrap_or_default(),
        tpl_name: reader.text(&keywords.tpl_name, left_empty).unwrap_or_default(),
        tpl_start,
        tpl_expno,
        tpl_nexp,
        obs_id: reader.integer(&keywords.obs_id, left_empty),
        obs_name: reader.text(&keywords.obs_name, left_empty).unwrap_or_default(),
        prog_id: reader.text(&keywords.prog_id, left_empty).unwrap_or_default(),
        object: reader.text(&keywords.object, left_empty).unwrap_or_default(),
        binning,
        read_mode,
        gain,
        ron,
        slit,
        slitmask,
        lamp: (!lamp.is_empty()).then_some(lamp),
        filter,
        columns: shape.1,
        rows: shape.0,
        detector_temp: arm_rules.detector_temp.as_ref().and_then(|gauge| reader.gauge(gauge)),
        common_path_temp: reader.gauge(&keywords.common_path_temp),
        on_sky: on_sky(rules, header),
        dpr_catg,
        dpr_type,
        dpr_tech,
        warnings: reader.warnings,
    })
}

/// Pointing and air. What is absent or not to be believed is left out without a warning, since calibrations have none:
/// the recipe that needs it says so.
fn on_sky(rules: &Rules, header: &Header) -> OnSky {
    let keywords = &rules.keywords;
    let number = |keyword: &str| header.real(keyword).ok().filter(|number| number.is_finite());
    let pair = |both: &StartEnd| -> Option<[f64; 2]> {
        let [low, high] = both.plausible;
        let believed = |keyword: &str| number(keyword).filter(|number| (low..=high).contains(number));
        match (believed(&both.start), believed(&both.end)) {
            (Some(start), Some(end)) => Some([start, end]),
            // one of the two is better than none: both change slowly
            (Some(one), None) | (None, Some(one)) => Some([one, one]),
            (None, None) => None,
        }
    };
    let [right_ascension, declination] = &keywords.position;
    OnSky {
        target: header.text(&keywords.target).map(|text| text.trim().to_string()).unwrap_or_default(),
        position: number(right_ascension)
            .zip(number(declination))
            .filter(|(ra, dec)| (0.0..=360.0).contains(ra) && dec.abs() <= 90.0)
            .map(|(ra, dec)| [ra, dec]),
        airmass: pair(&keywords.airmass),
        seeing: pair(&keywords.seeing).map(|[start, end]| 0.5 * (start + end)),
        nod: number(&keywords.nod),
        fixed_offset: number(&keywords.fixed_offset[0])
            .zip(number(&keywords.fixed_offset[1]))
            .map(|(ra, dec)| [ra, dec]),
    }
}

/// Optional keywords, read forgivingly; what had to be forgiven is noted.
struct Reader<'a> {
    header: &'a Header,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// A string without blanks around it; `otherwise` says what absence leads to.
    fn text(&mut self, keyword: &str, otherwise: &str) -> Option<String> {
        let text = match self.header.get(keyword) {
            Some(Value::Text(text)) => text.trim().to_string(),
            Some(other) => {
                let text = other.to_string();
                self.warn(format!("{keyword} is {text} without quotes, expected a string: taken as it is"));
                text
            }
            None => String::new(),
        };
        if text.is_empty() {
            self.warn(format!("{keyword} is missing: {otherwise}"));
            return None;
        }
        Some(text)
    }

    /// A word of the instrument's vocabulary: without any blanks, upper case. `None` when absent, without a warning.
    fn label(&mut self, keyword: &str) -> Option<String> {
        let found = self.header.get(keyword)?.to_string();
        let label = canonical(&found);
        if label.is_empty() {
            return None;
        }
        if label != found.trim_end() {
            self.warn(format!("{keyword} is {found:?}, read as {label:?}"));
        }
        Some(label)
    }

    /// A whole number; digits in quotes are forgiven.
    fn integer(&mut self, keyword: &str, otherwise: &str) -> Option<i64> {
        let Some(found) = self.header.get(keyword) else {
            self.warn(format!("{keyword} is missing: {otherwise}"));
            return None;
        };
        let number = match found {
            Value::Text(text) => text.trim().parse().ok(),
            _ => self.header.integer(keyword).ok(),
        };
        if number.is_none() || matches!(found, Value::Text(_)) {
            let outcome = if number.is_some() { "read as a number" } else { otherwise };
            let text = format!("{keyword} is {:?}, expected an integer: {outcome}", found.to_string());
            self.warn(text);
        }
        number
    }

    /// A temperature. One that cannot be believed is noted and kept, since quality control judges it.
    fn gauge(&mut self, gauge: &Gauge) -> Option<f64> {
        let keyword = &gauge.keyword;
        let number = self.header.real(keyword).ok().filter(|number| number.is_finite());
        match number {
            None => self.warn(format!("{keyword} has no number: left empty")),
            Some(number) if number < gauge.plausible[0] || number > gauge.plausible[1] => {
                let [low, high] = gauge.plausible;
                self.warn(format!("{keyword} is {number}, expected {low} to {high}"));
            }
            Some(_) => {}
        }
        number
    }
}

/// Other instruments and products.
fn refuse_strangers(rules: &Rules, header: &Header) -> Result<(), ClassifyError> {
    let (keyword, expected) = (&rules.instrument.keyword, &rules.instrument.value);
    match header.get(keyword) {
        None => {
            return Err(ClassifyError::Missing {
                keyword: keyword.to_string(),
                expected: expected.to_string(),
                remedy: "without it the file cannot be told from one of another instrument".to_string(),
            });
        }
        Some(found) if canonical(&found.to_string()) != *expected => {
            return Err(ClassifyError::OtherInstrument {
                keyword: keyword.to_string(),
                found: found.to_string(),
                expected: expected.to_string(),
            });
        }
        Some(_) => {}
    }
    for keyword in &rules.product.keywords {
        if let Some(found) = header.get(keyword).map(Value::to_string).filter(|found| !found.trim().is_empty()) {
            return Err(ClassifyError::Product { keyword: keyword.clone(), found });
        }
    }
    Ok(())
}

fn no_arm(rules: &Rules, found: &str) -> ClassifyError {
    let fallback: Vec<String> =
        rules.arm_of.fallback.iter().map(|fallback| format!("{} = {}", fallback.keyword, fallback.value)).collect();
    ClassifyError::NoArm {
        keyword: rules.arm_of.keyword.clone(),
        found: found.to_string(),
        fallback: fallback.join(" or "),
    }
}

fn arm_of(rules: &Rules, header: &Header) -> Result<Arm, ClassifyError> {
    let stated = header.get(&rules.arm_of.keyword).map(Value::to_string).filter(|text| !text.trim().is_empty());
    match stated {
        Some(text) => Arm::parse(&text).ok_or_else(|| no_arm(rules, &format!("{text:?}"))),
        None => rules
            .arm_of
            .fallback
            .iter()
            .find(|fallback| {
                header.get(&fallback.keyword).is_some_and(|found| canonical(&found.to_string()) == fallback.value)
            })
            .map(|fallback| fallback.arm)
            .ok_or_else(|| no_arm(rules, "absent")),
    }
}

fn check_required(header: &Header, required: &Required) -> Result<(), ClassifyError> {
    let expected = match required.value_type {
        ValueType::Text => "a string",
        ValueType::Real => "a number",
        ValueType::Label => "a whole number or a name",
    };
    let missing = || ClassifyError::Missing {
        keyword: required.keyword.clone(),
        expected: expected.to_string(),
        remedy: required.remedy.clone(),
    };
    let found = header.get(&required.keyword).ok_or_else(missing)?;
    let fits = match (required.value_type, found) {
        (ValueType::Text | ValueType::Label, Value::Text(text)) if text.trim().is_empty() => return Err(missing()),
        (ValueType::Text | ValueType::Label, Value::Text(_)) => true,
        (ValueType::Real | ValueType::Label, Value::Integer(_)) => true,
        (ValueType::Real, Value::Real(number)) => number.is_finite(),
        (ValueType::Label, Value::Real(number)) => number.fract() == 0.0,
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(ClassifyError::WrongType {
        keyword: required.keyword.clone(),
        found: found.to_string(),
        expected: expected.to_string(),
        remedy: required.remedy.clone(),
    })
}

fn start_of_exposure(rules: &Rules, reader: &mut Reader<'_>, now: Timestamp) -> Result<Timestamp, ClassifyError> {
    let keyword = &rules.keywords.date_obs;
    let found = reader.header.get(keyword).map(Value::to_string).unwrap_or_default();
    let impossible = |expected: String, remedy: &str| ClassifyError::Impossible {
        keyword: keyword.clone(),
        found: format!("{found:?}"),
        expected,
        remedy: remedy.to_string(),
    };
    let Some(time) = parse_time(&found) else {
        return Err(impossible("a time YYYY-MM-DDThh:mm:ss.sss".to_string(), "write the start of the exposure in UT"));
    };
    if time < rules.time.earliest {
        let expected = format!("a time after {}", rules.time.earliest);
        return Err(impossible(expected, "set the clock of the workstation and correct the header"));
    }
    let ahead = time.duration_since(now);
    if ahead > SignedDuration::from_hours(rules.time.future_error_hours) {
        let expected = format!("a time not later than {} h after now ({now})", rules.time.future_error_hours);
        return Err(impossible(expected, "set the clock that is wrong, here or at the telescope"));
    }
    if ahead > SignedDuration::from_hours(rules.time.future_warn_hours) {
        reader.warn(format!("{keyword} is {found}, {} h in the future", ahead.as_hours()));
    }
    Ok(time)
}

fn mjd_of_exposure(rules: &Rules, reader: &mut Reader<'_>, start: Timestamp) -> Result<f64, ClassifyError> {
    let keyword = &rules.keywords.mjd_obs;
    let expected = identity::mjd(start);
    // The type was checked with the required keywords; without one the start of the exposure says the same.
    let found = reader.header.real(keyword).unwrap_or(expected);
    let seconds = (found - expected).abs() * 86_400.0;
    if seconds > rules.time.mjd_error_s {
        return Err(ClassifyError::Impossible {
            keyword: keyword.clone(),
            found: found.to_string(),
            expected: format!("{expected:.8}, the time in {}", rules.keywords.date_obs),
            remedy: "correct the one that is wrong".to_string(),
        });
    }
    if seconds > rules.time.mjd_warn_s {
        let date = &rules.keywords.date_obs;
        reader.warn(format!("{keyword} and {date} differ by {seconds:.1} s: {date} is believed"));
        return Ok(expected);
    }
    Ok(found)
}

fn exposure_time(rules: &Rules, arm: &ArmRules, header: &Header, dpr_type: &str) -> Result<f64, ClassifyError> {
    let remedy = "write the exposure time in seconds (one DIT in NIR)".to_string();
    let alternatives = arm.exposure.join(" or ");
    let Some(keyword) = arm.exposure.iter().find(|keyword| header.contains(keyword)) else {
        return Err(ClassifyError::Missing { keyword: alternatives, expected: "a number".to_string(), remedy });
    };
    let seconds = header.real(keyword).map_err(|_| ClassifyError::WrongType {
        keyword: keyword.clone(),
        found: header.get(keyword).map(Value::to_string).unwrap_or_default(),
        expected: "a number".to_string(),
        remedy: remedy.clone(),
    })?;
    let may_be_zero = rules.exposure.zero_types.iter().any(|exempt| exempt == dpr_type);
    let rounded = (seconds * 100.0).round() / 100.0;
    // Written so that NaN is refused.
    let believable =
        seconds >= 0.0 && rounded <= rules.exposure.max_s && (rounded > 0.0 || (rounded == 0.0 && may_be_zero));
    if !believable {
        let bound = if may_be_zero { "at least 0 s" } else { "more than 0 s" };
        return Err(ClassifyError::Impossible {
            keyword: keyword.clone(),
            found: seconds.to_string(),
            expected: format!("{bound} and at most {} s for {dpr_type}", rules.exposure.max_s),
            remedy,
        });
    }
    // Plain zero where the header says minus zero.
    Ok(rounded.abs())
}

fn binning_of(rule: &BinningRule, reader: &mut Reader<'_>) -> Result<Binning, ClassifyError> {
    let allowed: Vec<String> = rule.allowed.iter().map(|[x, y]| format!("{x}x{y}")).collect();
    let mut factor = |keyword: &str| match reader.header.get(keyword) {
        None => {
            reader.warn(format!("{keyword} is missing: 1 is assumed"));
            Ok(1)
        }
        Some(found) => reader.header.integer(keyword).map_err(|_| ClassifyError::WrongType {
            keyword: keyword.to_string(),
            found: found.to_string(),
            expected: "a whole number".to_string(),
            remedy: "write the binning factor of this axis".to_string(),
        }),
    };
    let (x, y) = (factor(&rule.x)?, factor(&rule.y)?);
    let known = rule.allowed.iter().find(|[ax, ay]| i64::try_from(*ax) == Ok(x) && i64::try_from(*ay) == Ok(y));
    known.map(|&[x, y]| Binning { x, y }).ok_or_else(|| ClassifyError::Impossible {
        keyword: format!("{} x {}", rule.x, rule.y),
        found: format!("{x}x{y}"),
        expected: format!("one of {}", allowed.join(" ")),
        remedy: "write the binning that was used".to_string(),
    })
}

fn check_shape(
    rules: &Rules,
    arm: Arm,
    arm_rules: &ArmRules,
    binning: Option<Binning>,
    (rows, columns): (usize, usize),
    bitpix: i64,
) -> Result<(), ClassifyError> {
    let Binning { x, y } = binning.unwrap_or(Binning { x: 1, y: 1 });
    let fits = |size: usize, factor: usize, range: [usize; 2]| {
        let full = size.saturating_mul(factor);
        (range[0]..=range[1]).contains(&full)
    };
    if !fits(columns, x, arm_rules.columns) || !fits(rows, y, arm_rules.rows) {
        let span = |[low, high]: [usize; 2], factor: usize| match (low.div_ceil(factor), high / factor) {
            (low, high) if low >= high => high.to_string(),
            (low, high) => format!("{low}..{high}"),
        };
        let suffix = if x * y == 1 { String::new() } else { format!(" binned {x}x{y}") };
        return Err(ClassifyError::Shape {
            arm: format!("{arm}{suffix}"),
            keyword: rules.arm_of.keyword.clone(),
            columns,
            rows,
            expected: format!("{} x {}", span(arm_rules.columns, x), span(arm_rules.rows, y)),
        });
    }
    if !arm_rules.bitpix.contains(&bitpix) {
        let known: Vec<String> = arm_rules.bitpix.iter().map(i64::to_string).collect();
        return Err(ClassifyError::Impossible {
            keyword: "BITPIX".to_string(),
            found: bitpix.to_string(),
            expected: format!("{} for {arm}", known.join(", ")),
            remedy: "the detector software does not write this type: has the file been converted".to_string(),
        });
    }
    Ok(())
}

fn read_mode_of(arm: &ArmRules, reader: &mut Reader<'_>) -> Option<String> {
    let rule = arm.read_mode.as_ref()?;
    let mode = match reader.header.integer(&rule.keyword) {
        Ok(number) => number.to_string(),
        Err(_) => reader.label(&rule.keyword)?,
    };
    if !rule.known.contains(&mode) {
        reader.warn(format!("{} is {mode}, known are {}", rule.keyword, rule.known.join(" ")));
    }
    Some(mode)
}

/// EXPNO and NEXP, each at least one.
fn position_in_template(rules: &Rules, reader: &mut Reader<'_>) -> (u32, u32) {
    let mut count = |keyword: &str| {
        let number = reader.integer(keyword, "1 is assumed").unwrap_or(1);
        match u32::try_from(number) {
            Ok(number) if number > 0 => number,
            _ => {
                reader.warn(format!("{keyword} is {number}, expected at least 1: 1 is assumed"));
                1
            }
        }
    };
    let (expno, nexp) = (count(&rules.keywords.tpl_expno), count(&rules.keywords.tpl_nexp));
    if expno > nexp {
        let keywords = &rules.keywords;
        reader.warn(format!("{} is {expno}, above {} = {nexp}", keywords.tpl_expno, keywords.tpl_nexp));
    }
    (expno, nexp)
}
