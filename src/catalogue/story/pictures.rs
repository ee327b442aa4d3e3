//! The pictures of a story. The catalogue has none of them: they are made from products and can be made again, so that the
//! files that lie in their tree are the truth.

use std::path::{Path, PathBuf};

use super::Story;

impl Story {
    /// List the pictures of the story's set that lie in the tree below `tree`. One that is not drawn (yet) is not there.
    pub fn illustrate(&mut self, tree: &Path) {
        let Some(set) = self.set.as_ref().map(|story| story.set.name.as_str()) else { return };
        let mut folders: Vec<&str> = self.product.iter().chain(&self.products).map(|p| p.folder.as_str()).collect();
        folders.sort_unstable();
        folders.dedup();
        let mut found: Vec<String> = folders
            .iter()
            .flat_map(|folder| pictures_of(&tree.join(folder), set))
            .map(|path| path.display().to_string())
            .collect();
        found.sort_unstable();
        self.pictures = found;
    }
}

/// The pictures of a set in a folder: its name, and its name with the suffix of a page.
fn pictures_of(folder: &Path, set: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = |path: &PathBuf| {
        let is_picture = path.extension().is_some_and(|extension| extension == "pdf" || extension == "png");
        let rest = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.strip_prefix(set));
        is_picture && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    entries.filter(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_its_own_pictures_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["A_SOXS.pdf", "A_SOXS.png", "A_SOXS_SKY.pdf", "A_SOXS.tmp", "A_SOXS2.pdf", "B_SOXS.pdf"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let mut found: Vec<String> = pictures_of(folder.path(), "A_SOXS")
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        assert_eq!(found, ["A_SOXS.pdf", "A_SOXS.png", "A_SOXS_SKY.pdf"]);
        assert!(pictures_of(&folder.path().join("absent"), "A_SOXS").is_empty());
    }
}
