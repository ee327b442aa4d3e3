//! Rules F: the file as a file.

use super::Check;
use super::subject::{Breach, Subject};
use crate::fits::Value;

/// The rules, by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("F01", name_is_short),
    ("F02", name_is_plain),
    ("F03", name_is_unique),
    ("F04", size_is_right),
    ("F05", sums_agree),
    ("F06", cards_are_ascii),
    ("F07", no_keyword_twice),
    ("F08", no_continued_string),
    ("F09", extensions_have_names),
    ("F10", extensions_claim_nothing),
    ("F11", no_packed_table),
    ("F12", structure_comes_first),
];

/// Longest file name that the archive takes.
const NAME_MAX: usize = 68;

fn name_is_short(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let length = subject.name.len();
    if length > NAME_MAX { vec![Breach::file(format!("{length} characters"))] } else { Vec::new() }
}

fn name_is_plain(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let name = subject.name.as_str();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte));
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let packed = (0..subject.parts().len()).any(|hdu| subject.logical(hdu, "ZIMAGE") == Some(true));
    let ends = if packed { name.ends_with(".fits.fz") } else { name.ends_with(".fits") };
    if plain && begins && ends {
        return Vec::new();
    }
    let content = if packed { ", with tile-compressed images" } else { ", without tile-compressed images" };
    vec![Breach::file(format!("{name:?}{}", if ends { "" } else { content }))]
}

fn name_is_unique(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let namesake = subject.batch.namesake(&subject.name, &subject.anatomy.path);
    namesake.map(|other| Breach::file(format!("the same name as {}", other.display()))).into_iter().collect()
}

fn size_is_right(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    if let Some(reason) = &subject.anatomy.broken {
        return vec![Breach::file(format!("{} bytes: {reason}", subject.anatomy.bytes))];
    }
    Vec::new()
}

fn sums_agree(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    // Where a file breaks off there is nothing to sum.
    let whole = subject.parts().len() - usize::from(subject.anatomy.broken.is_some()).min(subject.parts().len());
    let mut breaches = Vec::new();
    for (hdu, part) in subject.parts().iter().enumerate().take(whole) {
        for (keyword, agrees) in [("CHECKSUM", part.checksum_agrees()), ("DATASUM", part.data_sum_agrees())] {
            let found =
                part.header.get(keyword).map_or("absent".to_string(), |value| format!("{value}, which is wrong"));
            if !agrees {
                breaches.push(Breach::at(hdu, keyword, found));
            }
        }
    }
    breaches
}

fn cards_are_ascii(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let parts = subject.parts().iter().enumerate();
    let flaws = parts.flat_map(|(hdu, part)| part.flaws.iter().map(move |flaw| (hdu, flaw)));
    flaws
        .map(|(hdu, flaw)| {
            let keyword = flaw.text.get(..8).unwrap_or(&flaw.text).trim_end();
            Breach::at(hdu, keyword, format!("card {}: {}", flaw.card, flaw.reason))
        })
        .collect()
}

fn no_keyword_twice(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let parts = subject.parts().iter().enumerate();
    parts.flat_map(|(hdu, part)| part.repeated().into_iter().map(move |name| Breach::at(hdu, name, "twice"))).collect()
}

fn no_continued_string(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (hdu, part) in subject.parts().iter().enumerate() {
        if part.continued > 0 {
            breaches.push(Breach::at(hdu, "CONTINUE", format!("{} cards", part.continued)));
        }
        if part.header.contains("LONGSTRN") {
            breaches.push(Breach::at(hdu, "LONGSTRN", "present"));
        }
    }
    breaches
}

fn extensions_have_names(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let mut seen: Vec<&str> = Vec::new();
    let mut breaches = Vec::new();
    for hdu in 1..subject.parts().len() {
        match subject.text(hdu, "EXTNAME") {
            None | Some("") => breaches.push(Breach::at(hdu, "EXTNAME", "no name")),
            Some(name) if seen.contains(&name) => {
                breaches.push(Breach::at(hdu, "EXTNAME", format!("{name}, as in another extension")));
            }
            Some(name) => seen.push(name),
        }
    }
    breaches
}

fn extensions_claim_nothing(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for hdu in 1..subject.parts().len() {
        for keyword in ["PRODCATG", "ORIGFILE"] {
            if let Some(value) = subject.value(hdu, keyword) {
                breaches.push(Breach::at(hdu, keyword, value));
            }
        }
    }
    breaches
}

fn no_packed_table(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let packed = |hdu: &usize| subject.logical(*hdu, "ZTABLE") == Some(true);
    (0..subject.parts().len()).filter(packed).map(|hdu| Breach::at(hdu, "ZTABLE", "T")).collect()
}

fn structure_comes_first(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (hdu, part) in subject.parts().iter().enumerate() {
        let axes = match part.header.get("NAXIS") {
            Some(Value::Integer(axes)) => (*axes).clamp(0, 999),
            _ => 0,
        };
        let mut order = vec![if hdu == 0 { "SIMPLE" } else { "XTENSION" }.to_string()];
        order.extend(["BITPIX", "NAXIS"].map(str::to_string));
        order.extend((1..=axes).map(|axis| format!("NAXIS{axis}")));
        if hdu > 0 {
            order.extend(["PCOUNT", "GCOUNT"].map(str::to_string));
        }
        if part.header.text("XTENSION") == Ok("BINTABLE") {
            order.push("TFIELDS".to_string());
        }
        let cards = part.header.cards().iter().map(|card| card.keyword.as_str());
        let wrong = order.iter().zip(cards.chain(std::iter::repeat(""))).find(|(due, there)| due != there);
        if let Some((due, there)) = wrong {
            breaches.push(Breach::at(hdu, due, format!("{there} in its place")));
        }
    }
    breaches
}
