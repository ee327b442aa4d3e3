//! The feed of the quality monitor as configured.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, Workspace, bad, not_negative};

/// Words that the monitor tolerates nowhere in the path of its tree, whatever their case.
const FORBIDDEN: [&str; 4] = ["test", "tmp", "temporary", "sandbox"];

/// What the quality monitor reads, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitorConfig {
    /// Upstream root of the monitor; empty for none.
    pub path: PathBuf,
    /// Seconds after its end at which a night is closed by itself.
    pub close_after_s: f64,
}

impl MonitorConfig {
    /// The root as an absolute path, when there is to be a feed.
    pub fn root(&self) -> Option<PathBuf> {
        if self.path.as_os_str().is_empty() {
            return None;
        }
        Some(std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone()))
    }

    pub(super) fn check(&self, workspace: &Workspace) -> Result<(), ConfigError> {
        not_negative("monitor.close_after_s", self.close_after_s)?;
        let Some(root) = self.root() else { return Ok(()) };
        let told = root.display().to_string();
        let tree = root.join("reduced");
        if let Some(word) = forbidden_word(&tree) {
            let reason =
                format!("holds \"{word}\", which the monitor refuses in any part of the path; choose another folder");
            return Err(bad("monitor.path", &told, &reason));
        }
        let live = [&workspace.root, &workspace.reduced]
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        if live.contains(&root) || live.contains(&tree) {
            let reason =
                "is where soxsd works: its tree there grows while a night is reduced; choose a folder of its own";
            return Err(bad("monitor.path", &told, reason));
        }
        Ok(())
    }
}

/// A word that the monitor would refuse in this path, or in what it stands for.
fn forbidden_word(path: &Path) -> Option<&'static str> {
    let given = path.display().to_string().to_lowercase();
    let real = path.ancestors().find_map(|above| above.canonicalize().ok());
    let real = real.map(|real| real.display().to_string().to_lowercase()).unwrap_or_default();
    FORBIDDEN.into_iter().find(|word| given.contains(word) || real.contains(word))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn the_tree_of_the_monitor_lies_where_it_looks_and_apart_from_ours() {
        let mut config = Config::defaults().expect("defaults");
        assert!(config.monitor.root().is_none() && config.check().is_ok(), "there is none by default");
        config.monitor.path = "/srv/soxs/monitor".into();
        assert!(config.check().is_ok());
        for bad in ["/srv/latest/monitor", "/TMP/monitor", "/srv/Sandbox", "/srv/temporary/a"] {
            config.monitor.path = bad.into();
            let error = config.check().expect_err(bad).to_string();
            assert!(error.contains("monitor.path") && error.contains("refuses"), "{error}");
        }
        config.paths.work = "/srv/soxs/work".into();
        config.monitor.path = "/srv/soxs/work".into();
        assert!(config.check().is_err_and(|error| error.to_string().contains("is where soxsd works")));
        config.monitor.path = "/srv/soxs".into();
        config.paths.reduced = "/srv/soxs/reduced".into();
        assert!(config.check().is_err_and(|error| error.to_string().contains("is where soxsd works")));
        config.monitor.path = "/srv/monitor".into();
        config.monitor.close_after_s = -1.0;
        assert!(config.check().is_err());
    }
}
