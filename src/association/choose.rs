//! The choice of a master among candidates: a pure function, the same for any order of arrival.
//!
//! Every candidate is taken through the rules in one fixed order; the first that it fails is recorded with the values
//! that were compared. Those that pass all are ranked by preferred keys, validity level, nearness, then the smaller id.

use serde_json::Value;

use super::keys::{Keys, say};
use super::rules::{Must, Need, Partner};
use crate::catalogue::{ProductId, SetId};
use crate::config::Policy;
use crate::instrument::Arm;

/// A master that exists or is being made.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The product; `None` while it is being made.
    pub product: Option<ProductId>,
    /// The set that made it or will.
    pub set: SetId,
    /// Keys of that set.
    pub keys: Keys,
    /// Start of the set's last exposure.
    pub mjd: f64,
    /// Begin and end of its exposures.
    pub span: [f64; 2],
    /// Why it must not be used although it exists: QC failed, stale, marked bad. Rule and reason.
    pub barred: Option<(&'static str, String)>,
}

/// The data that a master is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its set.
    pub set: SetId,
    /// Arm.
    pub arm: Arm,
    /// Keys.
    pub keys: &'a Keys,
    /// Start of its first exposure.
    pub mjd: f64,
    /// Begin and end of its exposures.
    pub span: [f64; 2],
    /// The set that it follows.
    pub follows: Option<SetId>,
}

/// Least part of the shorter of two exposures that the other one must share with it.
const LEAST_SHARED: f64 = 0.5;
const DAY_S: f64 = 86_400.0;

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Index into the candidates.
    pub index: usize,
    /// `Ok` when it may be used.
    pub outcome: Result<Fit, Refusal>,
    /// Data minus candidate in days.
    pub days: f64,
}

/// How well an eligible candidate fits; smaller is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Preferred keys that differ, and for exposure times by how much.
    pub unlike: f64,
    /// Validity level.
    pub level: usize,
    /// Distance in days.
    pub distance: f64,
}

/// The first rule that a candidate failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Name of the rule.
    pub rule: String,
    /// The values compared.
    pub reason: String,
}

/// Judge all candidates of a need. The result is sorted: eligible ones by rank, then refused ones by distance.
pub fn judge(need: &Need, steps: &[f64], policy: Policy, data: Wanted<'_>, candidates: &[&Candidate]) -> Vec<Judged> {
    let mut judged: Vec<Judged> = candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| Judged {
            index,
            outcome: fit(need, steps, policy, data, candidate),
            days: data.mjd - candidate.mjd,
        })
        .collect();
    judged.sort_by(|a, b| rank(a, candidates).total_cmp(&rank(b, candidates)));
    judged
}

fn fit(need: &Need, steps: &[f64], policy: Policy, data: Wanted<'_>, candidate: &Candidate) -> Result<Fit, Refusal> {
    let refuse = |rule: &str, reason: String| Err(Refusal { rule: rule.to_string(), reason });
    if candidate.set == data.set {
        return refuse("itself", "it is made from these frames".to_string());
    }
    for key in &need.matching {
        if !matches(need, data, candidate, key) {
            let (theirs, ours) = (say(&candidate.keys, key), say(data.keys, key));
            return refuse(&format!("match {key}"), format!("{key} is {theirs}, the data have {ours}"));
        }
    }
    for Must { key, value } in &need.must {
        let found = say(&candidate.keys, key);
        if found != *value {
            return refuse(&format!("must {key}"), format!("{key} is {found}, it must be {value}"));
        }
    }
    if let Some(partner) = need.partner {
        is_partner(partner, data, candidate)?;
        if let Some((rule, reason)) = &candidate.barred {
            return refuse(rule, reason.clone());
        }
        let middle = |span: [f64; 2]| 0.5 * (span[0] + span[1]);
        return Ok(Fit { unlike: 0.0, level: 0, distance: (middle(data.span) - middle(candidate.span)).abs() });
    }
    let days = data.mjd - candidate.mjd;
    if need.same_night && night(data.mjd) != night(candidate.mjd) {
        return refuse("same night", format!("{:.2} d away, of another night than the data", days.abs()));
    }
    if policy == Policy::Newest && days < 0.0 && !need.same_night {
        return refuse("not later than the data", format!("taken {:.2} d after the data", -days));
    }
    let distance = days.abs();
    let level = match steps.iter().position(|limit| distance <= *limit) {
        Some(level) => level,
        None if policy == Policy::Peer => steps.len(),
        None => {
            let limit = steps.last().copied().unwrap_or_default();
            return refuse("validity", format!("{distance:.1} d away, the limit is {limit} d"));
        }
    };
    if let Some((rule, reason)) = &candidate.barred {
        return refuse(rule, reason.clone());
    }
    let unlike = need.prefer.iter().map(|key| unlikeness(data.keys.get(key), candidate.keys.get(key))).sum();
    Ok(Fit { unlike, level: if policy == Policy::Peer { 0 } else { level }, distance })
}

/// Is it of the same light?
fn is_partner(partner: Partner, data: Wanted<'_>, candidate: &Candidate) -> Result<(), Refusal> {
    let refuse = |rule: &str, reason: String| Err(Refusal { rule: rule.to_string(), reason });
    match partner {
        Partner::Followed if data.follows == Some(candidate.set) => Ok(()),
        Partner::Followed => refuse("of the same frames", "it is made from other frames".to_string()),
        Partner::Simultaneous => {
            let [ours, theirs] = [data.span, candidate.span].map(|[begin, end]| DAY_S * (end - begin));
            let begin = data.span[0].max(candidate.span[0]);
            let shared = (DAY_S * (data.span[1].min(candidate.span[1]) - begin)).max(0.0);
            if shared > 0.0 && shared >= LEAST_SHARED * ours.min(theirs) {
                return Ok(());
            }
            let reason = format!("the exposures of {ours:.0} s and {theirs:.0} s have {shared:.0} s in common");
            refuse("at the same time", reason)
        }
    }
}

/// Number of the night that a Modified Julian Date belongs to; nights change at 15 h UT, as [`crate::instrument::Night`]
/// has them.
fn night(mjd: f64) -> i64 {
    (mjd - 15.0 / 24.0).floor() as i64
}

fn matches(need: &Need, data: Wanted<'_>, candidate: &Candidate, key: &str) -> bool {
    let (ours, theirs) = (data.keys.get(key).unwrap_or(&Value::Null), candidate.keys.get(key).unwrap_or(&Value::Null));
    same(ours, theirs)
        || need.also.iter().any(|also| {
            also.key == key
                && (also.arms.is_empty() || also.arms.contains(&data.arm))
                && ours.as_str() == Some(&also.data)
                && theirs.as_str() == Some(&also.master)
        })
}

/// Numbers are equal to a part in a million: they went through text.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()),
        _ => a == b,
    }
}

/// Zero when equal; for numbers their difference, so that the nearest exposure time goes first.
fn unlikeness(a: Option<&Value>, b: Option<&Value>) -> f64 {
    match (a.and_then(Value::as_f64), b.and_then(Value::as_f64)) {
        (Some(a), Some(b)) if same(&a.into(), &b.into()) => 0.0,
        (Some(a), Some(b)) => (a - b).abs(),
        _ if a == b => 0.0,
        _ => 1.0e6,
    }
}

/// Sort key: eligible before refused, then as the module head says. Products before masters to come at equal rank.
#[derive(Clone, Copy, Debug)]
struct Rank {
    refused: bool,
    unlike: f64,
    level: usize,
    distance: f64,
    id: i64,
}

impl Rank {
    fn total_cmp(&self, other: &Rank) -> std::cmp::Ordering {
        self.refused
            .cmp(&other.refused)
            .then(self.unlike.total_cmp(&other.unlike))
            .then(self.level.cmp(&other.level))
            .then(self.distance.total_cmp(&other.distance))
            .then(self.id.cmp(&other.id))
    }
}

fn rank(judged: &Judged, candidates: &[&Candidate]) -> Rank {
    let id = candidates.get(judged.index).map_or(0, |candidate| candidate.set.0);
    match &judged.outcome {
        Ok(fit) => Rank { refused: false, unlike: fit.unlike, level: fit.level, distance: fit.distance, id },
        Err(_) => Rank { refused: true, unlike: 0.0, level: 0, distance: judged.days.abs(), id },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(value: Value) -> Keys {
        value.as_object().cloned().expect("an object")
    }

    fn need() -> Need {
        toml::from_str(
            "master = 'MASTER_BIAS'\nfrom = ['mbias']\nmatch = ['read_mode', 'binning']\nprefer = ['exptime']\nvalidity = 'daily'",
        )
        .expect("a need")
    }

    fn candidate(set: i64, mjd: f64, binning: &str, exptime: f64) -> Candidate {
        Candidate {
            product: Some(ProductId(set)),
            set: SetId(set),
            keys: keys(json!({"read_mode": "1", "binning": binning, "exptime": exptime})),
            mjd,
            span: [mjd, mjd],
            barred: None,
        }
    }

    fn wanted(keys: &Keys, mjd: f64) -> Wanted<'_> {
        Wanted { set: SetId(99), arm: Arm::Vis, keys, mjd, span: [mjd, mjd], follows: None }
    }

    const STEPS: [f64; 3] = [1.5, 3.0, 10.0];

    fn order(policy: Policy, candidates: &[Candidate]) -> Vec<(i64, Result<usize, String>)> {
        let ours = keys(json!({"read_mode": "1", "binning": "1x1", "exptime": 10.0}));
        let data = wanted(&ours, 100.0);
        judge(&need(), &STEPS, policy, data, &candidates.iter().collect::<Vec<&Candidate>>())
            .into_iter()
            .map(|judged| {
                let set = candidates[judged.index].set.0;
                (set, judged.outcome.map(|fit| fit.level).map_err(|refusal| refusal.rule))
            })
            .collect()
    }

    #[test]
    fn the_newest_that_matches_and_is_not_later_wins_and_each_refusal_names_its_rule() {
        let mut failed = candidate(5, 99.9, "1x1", 10.0);
        failed.barred = Some(("qc", "RAW RON = 9 is above 5".to_string()));
        let candidates = [
            candidate(1, 95.0, "1x1", 10.0),
            candidate(2, 99.0, "1x1", 10.0),
            candidate(3, 99.5, "2x2", 10.0),
            candidate(4, 100.2, "1x1", 10.0),
            failed,
            candidate(6, 80.0, "1x1", 10.0),
        ];
        let found = order(Policy::Newest, &candidates);
        assert_eq!(found[0], (2, Ok(0)));
        assert_eq!(found[1], (1, Ok(2)));
        let refused: Vec<(i64, String)> =
            found[2..].iter().map(|(set, outcome)| (*set, outcome.clone().expect_err("refused"))).collect();
        assert_eq!(
            refused,
            [
                (5, "qc".to_string()),
                (4, "not later than the data".to_string()),
                (3, "match binning".to_string()),
                (6, "validity".to_string())
            ]
        );
    }

    #[test]
    fn preferred_keys_go_before_nearness_and_the_policies_differ_as_they_say() {
        let candidates = [
            candidate(1, 99.9, "1x1", 300.0),
            candidate(2, 98.0, "1x1", 10.0),
            candidate(3, 100.5, "1x1", 10.0),
            candidate(4, 20.0, "1x1", 10.0),
        ];
        assert_eq!(order(Policy::Newest, &candidates)[0].0, 2);
        assert_eq!(order(Policy::Nearest, &candidates)[0].0, 3);
        let peer = order(Policy::Peer, &candidates);
        assert_eq!(peer[0].0, 3);
        assert!(peer.iter().all(|(_, outcome)| outcome.is_ok()), "the reference knows no limit: {peer:?}");
    }

    #[test]
    fn partners_of_one_night_serve_although_they_came_later() {
        let mut need = need();
        (need.same_night, need.required) = (true, false);
        let ours = keys(json!({"read_mode": "1", "binning": "1x1", "exptime": 10.0}));
        // 21 h UT; the night changes at 15 h UT
        let data = wanted(&ours, 100.875);
        let outcome = |mjd: f64| {
            let candidate = candidate(1, mjd, "1x1", 10.0);
            judge(&need, &STEPS, Policy::Newest, data, &[&candidate]).remove(0).outcome.map_err(|refusal| refusal.rule)
        };
        assert!(outcome(100.9).is_ok() && outcome(100.63).is_ok() && outcome(101.6).is_ok());
        assert_eq!(outcome(100.62), Err("same night".to_string()));
        assert_eq!(outcome(101.63), Err("same night".to_string()));
    }

    #[test]
    fn a_partner_is_of_the_same_frames_or_of_the_same_time() {
        let ours = keys(json!({"read_mode": "1", "binning": "1x1", "exptime": 10.0}));
        // exposed from 100.0 to 100.1 d
        let data = Wanted { span: [100.0, 100.1], follows: Some(SetId(7)), ..wanted(&ours, 100.0) };
        let judged = |partner: Partner, candidates: &[Candidate]| -> Vec<(i64, Result<(), String>)> {
            let need = Need { partner: Some(partner), ..need() };
            judge(&need, &STEPS, Policy::Newest, data, &candidates.iter().collect::<Vec<&Candidate>>())
                .into_iter()
                .map(|judged| {
                    let outcome = judged.outcome.map(|_| ()).map_err(|refusal| refusal.rule);
                    (candidates[judged.index].set.0, outcome)
                })
                .collect()
        };
        let at = |set: i64, span: [f64; 2]| Candidate { span, ..candidate(set, span[0], "1x1", 10.0) };
        let same = judged(Partner::Followed, &[at(6, [100.0, 100.1]), at(7, [100.0, 100.1])]);
        assert_eq!(same, [(7, Ok(())), (6, Err("of the same frames".to_string()))]);

        // half of the shorter one is enough, later or earlier; the better centred goes first; the next night is no partner
        let together = [at(1, [100.04, 100.14]), at(2, [100.04, 100.08]), at(3, [99.9, 100.04]), at(4, [101.0, 101.1])];
        let found = judged(Partner::Simultaneous, &together);
        assert_eq!(found[..2], [(2, Ok(())), (1, Ok(()))]);
        let late = "at the same time".to_string();
        assert_eq!(found[2..], [(3, Err(late.clone())), (4, Err(late))]);
        let mut bad = at(2, [100.0, 100.1]);
        bad.barred = Some(("qc", "failed".to_string()));
        assert_eq!(judged(Partner::Simultaneous, &[bad]), [(2, Err("qc".to_string()))]);
        let other = Candidate { keys: keys(json!({"read_mode": "2"})), ..at(2, [100.0, 100.1]) };
        assert_eq!(judged(Partner::Simultaneous, &[other]), [(2, Err("match read_mode".to_string()))]);
    }

    #[test]
    fn the_choice_does_not_depend_on_the_order_of_candidates() {
        let mut candidates: Vec<Candidate> =
            (0..20).map(|index| candidate(index, 90.0 + f64::from(index as i32 % 7), "1x1", 10.0)).collect();
        let first = order(Policy::Newest, &candidates);
        for shift in 1..20 {
            candidates.rotate_left(shift);
            assert_eq!(order(Policy::Newest, &candidates), first);
        }
    }
}
