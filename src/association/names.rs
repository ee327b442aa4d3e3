//! The name of a set: the stem of its SOF file and of its products, as users of the reference pipeline know it.
//!
//! `YYYYMMDDTHHMMSS_ARM[_BXxBY]_READ_TOKEN[_LAMP][_SLIT][_EXPS]_SOXS[_OBJECT]`, upper case, dots as underscores
//! (facts: operations 1.8). Where the reference would let an OBJECT with a slash become a path, ours is escaped.

use crate::instrument::FrameMeta;

/// The stem for a set that starts with this frame.
pub fn stem(first: &FrameMeta, token: &str) -> String {
    let mut fields = vec![first.date_obs.strftime("%Y%m%dT%H%M%S").to_string(), first.arm.to_string()];
    fields.extend(first.binning.map(|binning| binning.to_string()));
    fields.extend(first.read_mode.clone());
    fields.push(token.to_string());
    let is_solution = matches!(token, "DSOL" | "SSOL");
    if !is_solution {
        fields.extend(first.lamp.clone());
    }
    fields.extend(first.slit.clone());
    if token != "MBIAS" {
        // One decimal at least: 10.0S, 7.5S, 0.25S.
        fields.push(format!("{:?}s", first.exptime));
    }
    fields.push("SOXS".to_string());
    let mut stem = tidy(&fields.join("_").to_uppercase());
    if first.dpr_catg == "SCIENCE" && !first.object.is_empty() {
        stem.push('_');
        stem.push_str(&tidy(&first.object));
    }
    stem
}

/// The stem for a set of both arms, of which this is the first frame of UV-VIS:
/// `YYYYMMDDTHHMMSS_JNT_TOKEN[_SLIT]_EXPS_SOXS_OBJECT`.
pub fn joint_stem(first: &FrameMeta, token: &str) -> String {
    let plain = FrameMeta { binning: None, read_mode: None, ..first.clone() };
    stem(&plain, token).replacen(&format!("_{}_", first.arm), "_JNT_", 1)
}

/// Only characters that are safe in file names and in archive ids; dots and blanks as the reference treats them.
fn tidy(text: &str) -> String {
    let mapped: String = text
        .chars()
        .filter(|character| *character != ' ')
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '+' | '-' | '_' => character,
            _ => '_',
        })
        .collect();
    let mut tidy = String::with_capacity(mapped.len());
    for character in mapped.chars() {
        if !(character == '_' && tidy.ends_with('_')) {
            tidy.push(character);
        }
    }
    tidy.trim_matches('_').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tidy_lets_no_path_through() {
        assert_eq!(tidy("../../etc/passwd"), "etc_passwd");
        assert_eq!(tidy("SN 2026abc*(x)'"), "SN2026abc_x");
        assert_eq!(tidy("NIR_SLIT1.0__7.5S"), "NIR_SLIT1_0_7_5S");
    }
}
