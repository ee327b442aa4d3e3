//! The keys of a set: what its frames share, and what masters are matched on.

use serde_json::{Map, Value};

use crate::instrument::FrameMeta;

/// Every key that a rule may name.
pub const NAMES: [&str; 10] =
    ["kind", "exptime", "read_mode", "binning", "gain", "slit", "slitmask", "lamp", "filter", "object"];

/// The keys of a set or of a product.
pub type Keys = Map<String, Value>;

/// The value of one key of a frame; `Null` when the frame has none.
pub fn value_of(meta: &FrameMeta, key: &str) -> Value {
    match key {
        "kind" => Value::from(meta.kind.clone()),
        "exptime" => Value::from(meta.exptime),
        "read_mode" => Value::from(meta.read_mode.clone()),
        "binning" => Value::from(meta.binning.map(|binning| binning.to_string())),
        "gain" => Value::from(meta.gain),
        "slit" => Value::from(meta.slit.clone()),
        "slitmask" => Value::from(meta.slitmask.clone()),
        "lamp" => Value::from(meta.lamp.clone()),
        "filter" => Value::from(meta.filter.clone()),
        "object" => Value::from(meta.object.clone()),
        _ => Value::Null,
    }
}

/// The keys of the set that a frame belongs to.
pub fn keys_of(meta: &FrameMeta, names: &[String]) -> Keys {
    names.iter().map(|name| (name.clone(), value_of(meta, name))).collect()
}

/// One key as text for people: `binning 1x1`, `slit none`.
pub fn say(keys: &Keys, name: &str) -> String {
    match keys.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "none".to_string(),
        Some(other) => other.to_string(),
    }
}

/// Text form of the keys, for identity: names in order, values as JSON.
pub fn identity(keys: &Keys, names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("{name}={}", keys.get(name).unwrap_or(&Value::Null)))
        .collect::<Vec<String>>()
        .join("|")
}
