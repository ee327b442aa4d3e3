//! Every row of both tables, against files that break it.

use std::path::{Path, PathBuf};

use super::forge::{self, Forge, NOW_MJD, card};
use super::*;
use crate::products::phase3::standard::{KeywordRow, Kind, Need, Place};

fn validator() -> Validator {
    Validator::new().unwrap()
}

fn check(validator: &Validator, path: PathBuf) -> FileReport {
    validator.check(&[path], NOW_MJD, |_| {}).files.remove(0)
}

/// Rules that a file breaks, each once, in the order of the alphabet.
fn broken(report: &FileReport) -> Vec<String> {
    let mut rules: Vec<String> = report.findings.iter().map(|finding| finding.rule.clone()).collect();
    rules.sort();
    rules.dedup();
    rules
}

#[test]
fn right_files_have_no_finding() {
    let folder = tempfile::tempdir().unwrap();
    let companions = ["2DSPECTRUM", "WEIGHTMAP", "RMSMAP", "MASK", "IMAGE"].map(|kind| format!("ANCILLARY.{kind}"));
    let files = [forge::spectrum(folder.path()), forge::image(), forge::extensions()];
    let validator = validator();
    for file in files.into_iter().chain(companions.iter().map(|category| forge::companion(category))) {
        let report = check(&validator, file.write(folder.path()));
        assert_eq!(report.findings, [], "{}", report.file);
        assert!(report.passes() && report.checks > 20, "{report:?}");
    }
}

#[test]
fn every_rule_is_checked_or_says_what_it_would_need() {
    let validator = validator();
    for rule in &validator.standard.rules {
        assert_eq!(check_of(&rule.id).is_some(), rule.checked, "{}", rule.id);
    }
    let undecided: Vec<String> = validator.not_checkable().into_iter().map(|undecided| undecided.rule).collect();
    assert_eq!(undecided, ["K028", "K068", "K069", "F03", "G15", "S22"]);
}

/// A file that a row is about, the HDU in it, and what makes its condition true.
fn base(row: &KeywordRow, folder: &Path) -> (Forge, usize) {
    let category = |name: &str| row.category.covers(name);
    let ancillary = ["2DSPECTRUM", "WEIGHTMAP", "RMSMAP", "MASK", "IMAGE"]
        .map(|kind| format!("ANCILLARY.{kind}"))
        .into_iter()
        .find(|name| category(name));
    let mut file = match ancillary {
        _ if category("SCIENCE.SPECTRUM") => forge::spectrum(folder),
        Some(name) => forge::companion(&name),
        None if row.place == Place::Images => forge::extensions(),
        None => forge::image(),
    };
    let hdu = match (row.place, file.units.len()) {
        (Place::Hdu(hdu), _) => hdu,
        (Place::Data, 1) => 0,
        // The errors: they have every pointer but their own.
        (Place::Images, 4) if row.name.0 != "ERRDATA" => 2,
        _ => 1,
    };
    match &row.when {
        When::Is(keyword, values) if !matches!(keyword.as_str(), "HDUCLAS2" | "TTYPE1") => {
            file.set(0, keyword, &format!("'{}'", values[0]));
        }
        When::Unlike(keyword, _) => {
            file.set(0, keyword, "'ELSEWHERE'");
        }
        When::Extension(name) => {
            let mut more = file.units[1].clone();
            more.cards.retain(|card| !card.starts_with(b"TITLE"));
            file.units.push(more);
            file.set(2, "EXTNAME", &format!("'{name}'"));
        }
        When::Companion(class) if !["DATA", "ERROR", "QUALITY"].contains(&class.as_str()) => {
            let mut more = file.units[2].clone();
            more.cards.retain(|card| !card.starts_with(b"HDUCLAS2"));
            file.units.push(more);
            file.set(4, "EXTNAME", "'MORE'").set(4, "HDUCLAS2", &format!("'{class}'")).set(4, "ERRDATA", "'ERR'");
        }
        _ => {}
    }
    (file, hdu)
}

/// The keyword of a row that is broken in tests.
fn keyword(row: &KeywordRow) -> String {
    match row.when {
        When::Column(after) => row.name.numbered(after + 1),
        When::IntegerColumn => row.name.numbered(6),
        _ => row.name.numbered(1),
    }
}

fn literals(row: &KeywordRow) -> Vec<String> {
    let wrong_type = match row.kind {
        Kind::Text => "7",
        Kind::Integer => "1.5",
        Kind::Real => "'seven'",
        Kind::Logical => "'T'",
    };
    let mut literals = vec![wrong_type.to_string()];
    let unknown = match row.kind {
        Kind::Text => "'UNHEARD-OF'",
        Kind::Integer => "77",
        Kind::Real => "77.0",
        Kind::Logical if row.allowed == ["T"] => "F",
        Kind::Logical => "3",
    };
    if !row.allowed.is_empty() {
        literals.push(unknown.to_string());
    }
    if let Some(pattern) = &row.pattern {
        let odd = ["", "a b !", "~ ~", "7 7", "Data.x"].into_iter().find(|text| !pattern.is_match(text));
        // Some patterns take all printable text: those stand against bytes that the parser already refuses.
        literals.extend(odd.map(|text| format!("'{text}'")));
    }
    let number = |value: f64| match row.kind {
        Kind::Integer => format!("{value:.0}"),
        Kind::Text => format!("'{value:.0}'"),
        _ => format!("{value:.1}"),
    };
    literals.extend(row.min.map(|min| number(min - 1.0)));
    literals.extend(row.max.map(|max| if max < 1e10 { number(max + 1.0) } else { number(max * 2.0) }));
    literals
}

/// The file is broken in one way, and the row must say so; rows about other keywords must not.
fn must_break(validator: &Validator, row: &KeywordRow, file: &Forge, folder: &Path, how: &str) -> Vec<String> {
    let report = check(validator, file.write(folder));
    let Some(found) = report.findings.iter().find(|finding| finding.rule == row.id) else {
        return vec![format!("{} {} {how}: only {:?}", row.id, row.name.0, broken(&report))];
    };
    let mut wrong = Vec::new();
    let warns = how == "absent" && row.need == Need::Recommended;
    if (found.severity == Severity::Warning) != warns {
        wrong.push(format!("severity of {found:?}"));
    }
    for other in report.findings.iter().filter(|finding| finding.rule.starts_with('K')) {
        let same = other.keyword == found.keyword;
        // The structure of a file hangs together: what stands after a lie about it cannot be read.
        let structure = ["BITPIX", "NAXIS", "NAXIS2", "PCOUNT", "GCOUNT", "XTENSION", "TFIELDS", "SIMPLE", "HDUCLAS2"];
        // PRODCATG decides which rows apply.
        let decides = structure.contains(&found.keyword.as_str()) || found.keyword == "PRODCATG";
        // NOESODAT is asked for by an ORIGIN that another row refuses.
        let pair = [&found.keyword, &other.keyword];
        let decides = decides || pair.iter().all(|keyword| ["ORIGIN", "NOESODAT"].contains(&keyword.as_str()));
        if !same && !decides {
            wrong.push(format!("{how}: {found:?} also {other:?}"));
        }
    }
    wrong
}

#[test]
fn every_row_about_a_keyword_is_broken_by_what_it_forbids() {
    let folder = tempfile::tempdir().unwrap();
    let validator = validator();
    let (mut absences, mut values, mut presences) = (0, 0, 0);
    let mut unseen = Vec::new();
    for row in &validator.standard.keywords {
        let (file, hdu) = base(row, folder.path());
        let keyword = keyword(row);
        let unconditional = !matches!(row.when, When::Unknowable(_));
        if matches!(row.need, Need::Forbidden | Need::Archive) {
            let mut wrong = file.clone();
            wrong.set(hdu, &keyword, "'x'");
            unseen.extend(must_break(&validator, row, &wrong, folder.path(), "present"));
            presences += 1;
            continue;
        }
        // Without its first card a file is no FITS file.
        let removable = !["SIMPLE", "XTENSION"].contains(&keyword.as_str());
        if row.need != Need::Optional && unconditional && removable {
            let mut wrong = file.clone();
            if String::from_utf8(wrong.units[hdu].cards.concat()).unwrap().contains(&format!("{keyword:8}= ")) {
                wrong.remove(hdu, &keyword);
            }
            // A file without a claim is not held to anything.
            if keyword == "PRODCATG" {
                let report = check(&validator, wrong.write(folder.path()));
                assert!(report.claim.is_none() && !report.passes());
            } else {
                unseen.extend(must_break(&validator, row, &wrong, folder.path(), "absent"));
            }
            absences += 1;
        }
        for literal in literals(row) {
            // A row of one category is not asked about files of another: K011 is.
            if keyword == "PRODCATG" && row.id != "K011" {
                continue;
            }
            let mut wrong = file.clone();
            if ["CHECKSUM", "DATASUM"].contains(&keyword.as_str()) {
                wrong.stamp_now();
            }
            wrong.set(hdu, &keyword, &literal);
            unseen.extend(must_break(&validator, row, &wrong, folder.path(), &literal));
            values += 1;
        }
    }
    assert!(unseen.is_empty(), "{unseen:#?}");
    assert!(absences > 90 && values > 200 && presences > 15, "{absences} {values} {presences}");
}

/// A change that breaks one rule, and every row that it must break.
type Breakage = (&'static str, &'static [&'static str], fn(&mut Forge));

const BREAKAGES: &[Breakage] = &[
    ("F01", &["F01"], |file| file.name = format!("{}.fits", "x".repeat(64))),
    ("F02", &["F02"], |file| file.name = "a b.fits".to_string()),
    ("F02", &["F02"], |file| file.name = "a.fits.fz".to_string()),
    ("F04", &["F04"], |file| file.tail = vec![1; 2880]),
    ("F04", &["F04"], |file| file.tail = vec![0; 100]),
    ("F05", &["F05"], |file| {
        file.stamp = false;
        file.set(0, "CHECKSUM", "'0000000000000000'").set(0, "DATASUM", "'0'");
        file.set(1, "CHECKSUM", "'0000000000000000'").set(1, "DATASUM", "'0'");
    }),
    ("F06", &["F06"], |file| file.units[0].cards.push(card("comm", "'lower'"))),
    ("F06", &["F06"], |file| {
        let mut odd = card("REMARK", "'caf?'");
        odd[14] = 0xe9;
        file.units[0].cards.push(odd);
    }),
    ("F07", &["F07"], |file| {
        file.units[0].cards.push(card("REMARK", "1"));
        file.units[0].cards.push(card("REMARK", "2"));
    }),
    ("F08", &["F08"], |file| {
        file.units[0].cards.push(card("REMARK", "'one&'"));
        file.units[0].cards.push(format!("{:80}", "CONTINUE  'two'").into_bytes());
    }),
    ("F09", &["F09", "S01"], |file| file.units.push(file.units[1].clone())),
    ("F10", &["F10"], |file| {
        file.set(1, "PRODCATG", "'SCIENCE.SPECTRUM'");
    }),
    ("F11", &["F11"], |file| {
        file.set(1, "ZTABLE", "T");
    }),
    ("F12", &["F12"], |file| {
        let fields = file.units[1].cards.remove(7);
        file.units[1].cards.push(fields);
    }),
    ("G01", &["G01", "G05", "S04", "S06"], |file| {
        file.set(0, "MJD-END", "60999.0");
    }),
    ("G02", &["G02", "K031", "S04", "S06"], |file| {
        file.set(0, "MJD-OBS", "40586.0");
    }),
    ("G03", &["G03", "S04", "S06"], |file| {
        file.set(0, "MJD-END", "61002.0");
    }),
    ("G04", &["G04"], |file| {
        file.set(0, "EXPTIME", "1200.02");
    }),
    ("G05", &["G05"], |file| {
        file.set(0, "TEXPTIME", "1800.05");
    }),
    ("G06", &["G06"], |file| {
        file.set(0, "EXPTIME", "0.0");
    }),
    ("G07", &["G07", "K027"], |file| {
        file.set(0, "RADESYS", "'FK5'").remove(0, "EQUINOX");
    }),
    ("G08", &["G08"], |file| {
        file.set(0, "TELESCOP", "'MULTI'").set(0, "TELESC1", "'ESO-NTT'");
    }),
    ("G08", &["G08"], |file| {
        file.set(0, "PROGID1", "'116.28LH.001'");
    }),
    ("G09", &["G09"], |file| {
        file.remove(0, "PROV2").set(0, "PROV3", "'SOXS.2025-11-21T03:12:00.000'");
    }),
    ("G09", &["G09"], |file| {
        file.set(0, "OBID02", "7");
    }),
    ("G09", &["G09"], |file| {
        file.set(0, "PROV2", "'SOXS.2025-11-21T02:57:46.666'");
    }),
    ("G10", &["G10", "K020", "K047"], |file| {
        file.set(0, "ORIGIN", "'ELSEWHERE'");
    }),
    ("G11", &["G11", "S07", "S08"], |file| {
        file.set(0, "WAVELMIN", "503.0").set(0, "WAVELMAX", "502.0");
    }),
    ("G12", &["G12", "G14", "K037"], |file| {
        file.set(0, "NCOMBINE", "0");
    }),
    ("G13", &["G13", "S17"], |file| {
        file.units[1].data.clear();
        file.set(1, "NAXIS1", "0");
    }),
    ("G14", &["G14"], |file| {
        file.set(0, "NCOMBINE", "3");
    }),
    ("G16", &["G16"], |file| {
        file.set(0, "ASSON2", "'not_there.fits'");
    }),
    ("G16", &["G16"], |file| {
        file.set(0, "ASSOM1", "'00000000000000000000000000000000'");
    }),
    ("G16", &["G16"], |file| {
        file.set(0, "ASSON2", "'companion.fits'").set(0, "ASSOC2", "'ANCILLARY.PREVIEW'");
    }),
    ("G16", &["G16"], |file| {
        file.set(0, "ASSON3", "'companion.fits'");
    }),
    ("S01", &["F09", "S01"], |file| file.units.push(file.units[1].clone())),
    ("S02", &["S02"], |file| {
        file.set(1, "DEC", "-2.1234569");
    }),
    ("S03", &["S03"], |file| {
        file.set(1, "OBJECT", "'SN 2025abd'");
    }),
    ("S04", &["S04"], |file| {
        file.set(1, "TELAPSE", "1800.2");
    }),
    ("S05", &["S04", "S05"], |file| {
        file.set(1, "TELAPSE", "1199.8");
    }),
    ("S06", &["S06"], |file| {
        file.set(1, "TMID", "61000.134");
    }),
    ("S07", &["S07"], |file| {
        file.set(1, "SPEC_VAL", "502.002");
    }),
    ("S08", &["S08"], |file| {
        file.set(1, "SPEC_BW", "4.002");
    }),
    ("S09", &["S09"], |file| {
        file.set(0, "FLUXERR", "-1.0");
    }),
    ("S09", &["S09"], |file| {
        file.set(0, "FLUXCAL", "'UNCALIBRATED'");
    }),
    ("S10", &["S10"], |file| {
        file.set(0, "FLUXCAL", "'UNCALIBRATED'").set(0, "FLUXERR", "-1.0").set(0, "TOT_FLUX", "T");
    }),
    ("S11", &["S11"], |file| {
        file.put(0, 20, 501.9);
    }),
    ("S11", &["S11"], |file| {
        file.put(0, 20, f64::NAN);
    }),
    ("S12", &["S12"], |file| {
        file.put(3, 5, f64::INFINITY);
    }),
    ("S13", &["S13"], |file| {
        file.set(0, "SPEC_BIN", "0.151");
    }),
    ("S14", &["S14"], |file| {
        file.set(0, "WAVELMIN", "499.9").set(1, "SPEC_VAL", "501.95").set(1, "SPEC_BW", "4.1");
    }),
    ("S14", &["S14"], |file| {
        file.set(0, "WAVELMAX", "504.1").set(1, "SPEC_VAL", "502.05").set(1, "SPEC_BW", "4.1");
    }),
    ("S15", &["S15"], |file| {
        file.set(1, "TDMAX1", "504.06");
    }),
    ("S16", &["S16"], |file| {
        file.set(1, "TUNIT3", "'adu'");
    }),
    ("S17", &["S17"], |file| {
        file.set(1, "NELEM", "40");
    }),
    ("S17", &["S17"], |file| {
        file.set(1, "TFORM4", "'40D'");
    }),
    ("S18", &["K100", "S18"], |file| {
        file.set(1, "TTYPE5", "'SKYBACK'");
    }),
    ("S18", &["S18", "S20"], |file| {
        file.set(1, "TTYPE5", "'BGFLUX'");
    }),
    ("S19", &["S19"], |file| {
        file.set(1, "TUCD2", "'phot.flux.density;em.wl;src.net'").set(1, "TUCD4", "'phot.flux.density;em.wl;src.net'");
    }),
    ("S19", &["S19"], |file| {
        file.set(1, "VOCLASS", "'SPECTRUM V1.0'");
    }),
    ("S19", &["S19"], |file| {
        file.set(1, "TUTYP5", "'spec:Data.FluxAxis.Value'");
    }),
    ("S20", &["S20"], |file| {
        file.set(1, "TUNIT4", "'adu'");
    }),
    ("S21", &["S21"], |file| {
        file.set(0, "CONTNORM", "T");
    }),
    ("S22", &["S22"], |file| {
        file.set(1, "TITLE", "'something else'");
    }),
    ("S23", &["S23"], |file| {
        file.set(0, "SPEC_RES", "0.0");
    }),
    ("S23", &["S23"], |file| {
        file.set(1, "APERTURE", "0.1");
    }),
    ("S24", &["S24"], |file| {
        file.set(0, "SPEC_ERR", "0.0005");
    }),
    ("S25", &["S25"], |file| {
        file.set(0, "SNR", "22.0");
    }),
];

const IMAGE_BREAKAGES: &[Breakage] = &[
    ("I01", &["I01"], extra_plane),
    ("I02", &["I02"], |file| {
        file.set(0, "CRPIX1", "40.0");
    }),
    ("I02", &["I02"], |file| {
        file.set(0, "CRVAL1", "330.1234567");
    }),
    ("I03", &["I03"], |file| {
        file.set(0, "ABMAGLIM", "14.1");
    }),
    ("I04", &["I04"], |file| {
        file.set(0, "PSF_FWHM", "0.0");
    }),
    ("I05", &["I05"], |file| {
        file.set(0, "FLUXCAL", "'UNCALIBRATED'");
    }),
];

const EXTENSION_BREAKAGES: &[Breakage] = &[
    ("I01", &["I01", "I06"], |file| {
        file.set(2, "HDUCLAS2", "'DATA'").remove(2, "HDUCLAS3").remove(2, "SCIDATA").set(2, "ERRDATA", "'ERR'");
    }),
    ("I06", &["I06"], |file| {
        file.set(2, "CRPIX1", "4.6");
    }),
    ("I06", &["I06"], |file| {
        file.set(1, "ERRDATA", "'Q'");
    }),
    ("I06", &["I06"], |file| {
        file.set(3, "ERRDATA", "'NOWHERE'");
    }),
];

/// A second image beside that of HDU 0.
fn extra_plane(file: &mut Forge) {
    file.units.push(forge::companion("ANCILLARY.MASK").units.remove(1));
}

#[test]
fn every_rule_is_broken_by_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let validator = validator();
    forge::companion("ANCILLARY.2DSPECTRUM").write(folder.path());
    let (mut covered, mut wrong) = (vec!["F03"], Vec::new());
    for (base, breakages) in [
        (forge::spectrum(folder.path()), BREAKAGES),
        (forge::image(), IMAGE_BREAKAGES),
        (forge::extensions(), EXTENSION_BREAKAGES),
    ] {
        for (rule, expected, change) in breakages {
            let mut file = base.clone();
            change(&mut file);
            let path = file.write(folder.path());
            let report = check(&validator, path.clone());
            let refuses = validator.standard.rules.iter().find(|row| row.id == *rule).unwrap().refuses;
            let found = report.findings.iter().find(|finding| finding.rule == *rule);
            if broken(&report) != *expected || found.is_none_or(|found| (found.severity == Severity::Error) != refuses)
            {
                wrong.push(format!("{rule} breaks {:?}: {:#?}", broken(&report), report.findings));
            }
            std::fs::remove_file(path).unwrap();
            covered.push(rule);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all = validator.standard.rules.iter().filter(|rule| rule.checked);
    for rule in all {
        assert!(covered.contains(&rule.id.as_str()), "no file breaks {}", rule.id);
    }
}

#[test]
fn names_and_titles_must_differ_between_the_files_of_a_batch() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = forge::spectrum(one.path()).write(one.path());
    let second = forge::spectrum(two.path()).write(two.path());
    let validator = validator();
    let report = validator.check(&[first.clone(), second], NOW_MJD, |_| {});
    assert!(!report.passes());
    for file in &report.files {
        assert_eq!(broken(file), ["F03", "S22"]);
    }
    let twice = validator.check(&[first.clone(), first], NOW_MJD, |_| {});
    assert!(twice.passes(), "the same file twice is one file");
}

#[test]
fn what_is_no_phase_3_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let validator = validator();
    let mut plain = forge::spectrum(folder.path());
    plain.remove(0, "PRODCATG");
    let report = check(&validator, plain.write(folder.path()));
    assert!(report.claim.is_none() && report.findings.is_empty() && !report.passes());
    let text = folder.path().join("a.fits");
    std::fs::write(&text, "hello").unwrap();
    assert_eq!(broken(&check(&validator, text)), ["F04"]);
    let preview = check(&validator, folder.path().join(forge::PREVIEW.0));
    assert!(preview.companion && preview.passes());
    let absent = check(&validator, folder.path().join("absent.fits"));
    assert!(!absent.unreadable.is_empty() && !absent.passes());
}

#[test]
fn bytes_of_any_kind_are_judged_without_panic() {
    let folder = tempfile::tempdir().unwrap();
    let validator = validator();
    let path = forge::spectrum(folder.path()).write(folder.path());
    let sound = std::fs::read(&path).unwrap();
    // Each header byte in turn, in steps that hit every column of the cards.
    for at in (0..3 * 2880).step_by(37) {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x15;
        std::fs::write(&path, bytes).unwrap();
        assert!(!broken(&check(&validator, path.clone())).is_empty(), "byte {at}");
    }
    for length in (0..sound.len()).step_by(997) {
        std::fs::write(&path, &sound[..length]).unwrap();
        assert!(!check(&validator, path.clone()).passes(), "{length} bytes");
    }
}
