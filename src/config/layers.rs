//! Defaults, file and environment become one configuration.

use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, DEFAULTS};

const PREFIX: &str = "SOXSD__";

pub(super) fn merged(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut table = parse(DEFAULTS, "built-in defaults")?;
    if let Some(path) = file {
        let origin = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        let given = parse(&text, &origin)?;
        // Checked alone first, so that an unknown key is reported with its line in this file.
        let mut whole = table.clone();
        overlay(&mut whole, given.clone());
        if let Err(error) = Config::deserialize(whole) {
            return Err(ConfigError::Parse {
                origin: located(&origin, &text, error.message()),
                message: error.message().to_string(),
            });
        }
        overlay(&mut table, given);
    }
    for (name, text) in environment.filter(|(name, _)| name.starts_with(PREFIX)) {
        set_from_environment(&mut table, &name, &text)?;
    }
    Config::deserialize(table)
        .map_err(|error| ConfigError::Parse { origin: "environment".to_string(), message: error.message().to_string() })
}

fn parse(text: &str, origin: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|error| ConfigError::Parse {
        origin: origin.to_string(),
        message: error.to_string().trim_end().to_string(),
    })
}

/// `FILE:LINE` when the complaint quotes a key that stands in the text.
fn located(origin: &str, text: &str, message: &str) -> String {
    let quoted = message.split('`').nth(1).unwrap_or_default();
    let line = text.lines().position(|line| {
        let key = line.split('=').next().unwrap_or_default().trim();
        !quoted.is_empty() && (key == quoted || key == format!("[{quoted}]") || key == format!("[[{quoted}]]"))
    });
    match line {
        Some(index) => format!("{origin}:{}", index + 1),
        None => origin.to_string(),
    }
}

/// Values of `over` replace those of `base`; tables are merged, lists are replaced.
fn overlay(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(given)) => overlay(inner, given),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn set_from_environment(table: &mut Table, name: &str, text: &str) -> Result<(), ConfigError> {
    let path: Vec<String> = name.trim_start_matches(PREFIX).split("__").map(str::to_ascii_lowercase).collect();
    let [section, key] = path.as_slice() else {
        return Err(super::bad(name, text, "must have the form SOXSD__TABLE__KEY"));
    };
    // A bare word is a string; everything else is read as TOML.
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_string()));
    match table.get_mut(section) {
        Some(Value::Table(inner)) => {
            inner.insert(key.clone(), value);
            Ok(())
        }
        _ => Err(super::bad(name, text, "names a table that does not exist")),
    }
}
