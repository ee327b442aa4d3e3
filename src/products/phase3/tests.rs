//! Files as they are written, against the standard and against what went into them.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use ndarray::Array2;

use super::*;
use crate::fits::{Anatomy, Card, Header, Value};
use crate::instrument::{Arm, FrameMeta, OnSky, Usage};
use crate::products::{CalibrationInput, Provenance, RawInput};
use crate::quality::QcMetric;
use crate::recipes::{ProductCard, ProductImage, SourceSpectrum, WavelengthErrors};
use crate::reduction::flags;
use crate::reduction::spectrum::covariance::BandedCovariance;
use crate::reduction::spectrum::merged::{FluxUnit, MergedSpectrum};

/// After all exposures of these tests.
const NOW_MJD: f64 = 61_200.0;

fn frame(arm: Arm, time: &str, exptime: f64) -> FrameMeta {
    let date_obs: Timestamp = format!("{time}Z").parse().unwrap();
    FrameMeta {
        data_id: format!("SOXS.{time}"),
        arm,
        kind: "science_nod".to_string(),
        usage: Usage::Reduce,
        usage_reason: String::new(),
        recipe: Some("nod".to_string()),
        date_obs,
        mjd_obs: 40_587.0 + date_obs.as_microsecond() as f64 / 86_400e6,
        exptime,
        dpr_catg: "SCIENCE".to_string(),
        dpr_type: "OBJECT".to_string(),
        dpr_tech: "ECHELLE,SLIT,NODDING".to_string(),
        tpl_id: String::new(),
        tpl_name: String::new(),
        tpl_start: date_obs,
        tpl_expno: 1,
        tpl_nexp: 2,
        obs_id: Some(4_100_512),
        obs_name: "SN".to_string(),
        prog_id: "60.A-9999(Z)".to_string(),
        object: "OBJECT".to_string(),
        binning: None,
        read_mode: None,
        gain: 1.0,
        ron: None,
        slit: Some("SLIT1.0".to_string()),
        slitmask: Some("SLIT".to_string()),
        lamp: None,
        filter: None,
        columns: 100,
        rows: 100,
        detector_temp: None,
        common_path_temp: None,
        on_sky: OnSky {
            target: "SN 2026abc".to_string(),
            position: Some([201.9, -33.4]),
            airmass: Some([1.2, 1.3]),
            seeing: Some(0.8),
            ..OnSky::default()
        },
        warnings: Vec::new(),
    }
}

fn frames() -> Vec<FrameMeta> {
    vec![
        frame(Arm::Vis, "2026-03-11T02:14:22.000", 300.0),
        frame(Arm::Vis, "2026-03-11T02:19:32.123", 300.0),
        frame(Arm::Nir, "2026-03-11T02:14:43.000", 150.0),
        frame(Arm::Nir, "2026-03-11T02:19:53.000", 150.0),
    ]
}

fn header() -> Header {
    let mut header = Header::new();
    for (keyword, text) in [("ORIGIN", "ESO"), ("TELESCOP", "ESO-NTT"), ("INSTRUME", "SOXS"), ("RADECSYS", "FK5")] {
        header.set(keyword, text, "");
    }
    header.set("ESO OBS TARG ALPHA", 132_757.036, "");
    header.set("ESO OBS TARG DELTA", -332_724.408, "");
    header.set("ESO DET NDIT", 2, "");
    header.set("ESO DET CHIP RON", 7.3, "of one detector");
    header.set("CD1_1", 1e-5, "of the raw image");
    header
}

fn provenance() -> Provenance {
    Provenance {
        recipe: "nod".to_string(),
        recipe_version: "1".to_string(),
        software: "soxsd/0.1.0".to_string(),
        set_name: "20260311T021422_VIS_NOD".to_string(),
        date: "2026-03-11T04:00:00Z".parse().unwrap(),
        raw: vec![RawInput {
            name: "SOXS.2026-03-11T02:14:22.000.fits".to_string(),
            category: "OBJECT_VIS".to_string(),
            sha256: "a".repeat(64),
        }],
        calibrations: vec![CalibrationInput {
            name: "flat.fits".to_string(),
            category: "MASTER_FLAT_VIS".to_string(),
            md5: "b".repeat(32),
        }],
        parameters: vec![("rejection_sigma".to_string(), "5.0".to_string())],
    }
}

/// 200 samples of which the first ten and the last five have no light, and one in the middle is bad.
fn merged(unit: FluxUnit) -> SourceSpectrum {
    let n = 200;
    let dark = |k: usize| !(10..195).contains(&k);
    let edges: Vec<f64> = (0..=n).map(|k| 500.0 * (1e-4 * k as f64).exp()).collect();
    let values = |value: &dyn Fn(usize) -> f64| -> Vec<f64> {
        (0..n).map(|k| if dark(k) { f64::NAN } else { value(k) }).collect()
    };
    let mut quality: Vec<i32> = (0..n).map(|k| if dark(k) { flags::NO_DATA } else { 0 }).collect();
    quality[100] = flags::COSMIC_RAY;
    let error = values(&|_| 1e-18);
    let variances = error.iter().map(|error| if error.is_finite() { error * error } else { 0.0 }).collect();
    let merged = MergedSpectrum {
        wavelength: edges.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect(),
        edges,
        unit,
        flux: values(&|k| 2e-17 + 1e-19 * (k % 7) as f64),
        error,
        systematic: values(&|_| 4e-19),
        quality,
        sky: values(&|_| 3e-18),
        exposure: vec![600.0; n],
        covariance: BandedCovariance::from_diagonals(vec![variances, vec![1e-37; n]]).unwrap(),
        inflation: 1.18,
        joins: Vec::new(),
    };
    let wavelengths = Some(WavelengthErrors { random: 0.000_712_345_678_9, systematic: Some(0.001) });
    SourceSpectrum { number: 1, slit: -0.25, merged, wavelengths }
}

struct Made {
    frames: Vec<FrameMeta>,
    header: Header,
    provenance: Provenance,
    qc: Vec<QcMetric>,
    companions: Vec<Companion>,
    revision: u32,
    source: usize,
    collection: Collection,
}

impl Made {
    fn of(arm: Option<Arm>) -> Made {
        Made {
            frames: frames().into_iter().filter(|frame| arm.is_none_or(|arm| frame.arm == arm)).collect(),
            header: header(),
            provenance: provenance(),
            qc: vec![QcMetric::measured("SNR MEDIAN", 21.5, "", "median")],
            companions: Vec::new(),
            revision: 1,
            source: 1,
            collection: Collection::built_in().unwrap(),
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            frames: &self.frames,
            header: &self.header,
            provenance: &self.provenance,
            qc: &self.qc,
            companions: &self.companions,
            source: self.source,
            revision: self.revision,
            collection: &self.collection,
        }
    }

    fn spectrum(&self, folder: &Path, unit: FluxUnit) -> PathBuf {
        let context = self.context();
        let name = context.observation().unwrap().file_name(Kind::Spectrum);
        let path = folder.join(&name);
        write_spectrum(&path, &name, &merged(unit), &context).unwrap();
        path
    }
}

fn value(path: &Path, hdu: usize, keyword: &str) -> Value {
    let anatomy = Anatomy::of(path).unwrap();
    anatomy.parts[hdu].header.get(keyword).unwrap_or_else(|| panic!("no {keyword}")).clone()
}

fn rectified() -> ProductImage {
    let flags = Array2::from_shape_fn((5, 8), |(row, _)| i32::from(row == 0));
    let mut image = ProductImage::new(
        "SCI_SLIT_FLUX_MERGE2D",
        "_2D",
        "erg s-1 cm-2 Angstrom-1",
        Array2::from_elem((5, 8), 1e-17),
        Some(Array2::from_elem((5, 8), 4e-36)),
        flags,
        2,
    );
    image.cards = vec![
        ProductCard::text("CTYPE1", "AWAV-LOG", "air"),
        ProductCard::text("CUNIT1", "nm", ""),
        ProductCard::real("CRVAL1", 500.0, ""),
        ProductCard::real("CRPIX1", 1.0, ""),
        ProductCard::real("CD1_1", 0.02, ""),
        ProductCard::text("CTYPE2", "LINEAR", "slit"),
        ProductCard::text("CUNIT2", "arcsec", ""),
        ProductCard::real("CRVAL2", -5.0, ""),
        ProductCard::real("CRPIX2", 1.0, ""),
        ProductCard::real("CD2_2", 0.25, ""),
    ];
    image
}

#[test]
fn every_file_of_every_arm_passes_the_validator_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for arm in [Some(Arm::Vis), Some(Arm::Nir), None] {
        let mut made = Made::of(arm);
        let observation = made.context().observation().unwrap();
        let (two_d, preview) = (observation.file_name(Kind::TwoD), observation.file_name(Kind::Preview));
        write_two_d(&folder.path().join(&two_d), &two_d, &rectified(), &made.context()).unwrap();
        std::fs::write(folder.path().join(&preview), "a picture").unwrap();
        let md5 = crate::fits::FileDigests::of(&folder.path().join(&preview)).unwrap().md5;
        made.companions = vec![
            Companion { name: two_d.clone(), foreign: None },
            Companion { name: preview.clone(), foreign: Some(("ANCILLARY.PREVIEW".to_string(), md5)) },
        ];
        paths.push(made.spectrum(folder.path(), FluxUnit::FluxDensity));
        paths.extend([folder.path().join(two_d), folder.path().join(preview)]);
    }
    let report = Validator::new().unwrap().check(&paths, NOW_MJD, |_| {});
    let findings: Vec<&Finding> = report.files.iter().flat_map(|file| &file.findings).collect();
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(report.passes());
}

#[test]
fn an_uncalibrated_spectrum_says_so_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = Made::of(Some(Arm::Nir)).spectrum(folder.path(), FluxUnit::ElectronsPerSecondNm);
    let report = Validator::new().unwrap().check(std::slice::from_ref(&path), NOW_MJD, |_| {});
    assert_eq!(report.files[0].findings, []);
    assert_eq!(value(&path, 0, "FLUXCAL"), Value::Text("UNCALIBRATED".to_string()));
    assert_eq!(value(&path, 0, "FLUXERR"), Value::Real(-1.0));
    let Value::Text(ucd) = value(&path, 1, "TUCD2") else { panic!("no text") };
    assert!(ucd.contains("stat.uncalib"), "{ucd}");
}

#[test]
fn numbers_in_the_headers_are_those_of_the_observation() {
    let folder = tempfile::tempdir().unwrap();
    let path = Made::of(None).spectrum(folder.path(), FluxUnit::FluxDensity);
    let real = |hdu: usize, keyword: &str| match value(&path, hdu, keyword) {
        Value::Real(number) => number,
        Value::Integer(number) => number as f64,
        other => panic!("{keyword} = {other}"),
    };
    assert_eq!(path.file_name().unwrap(), "SOXS_SN2026abc_20260311T021422000_JNT_1D.fits");
    // Both arms expose 600 s, NIR in two integrations of 150 s each time: no sum over arms.
    assert_eq!((real(0, "EXPTIME"), real(0, "TEXPTIME"), real(0, "NCOMBINE")), (600.0, 600.0, 4.0));
    // From 02:14:22 to the end of the last exposure of NIR, 300 s after 02:19:53.
    assert!((real(1, "TELAPSE") - 631.0).abs() < 0.01);
    assert!((real(0, "RA") - 15.0 * (13.0 + 27.0 / 60.0 + 57.036 / 3600.0)).abs() < 1e-7);
    assert!((real(0, "DEC") + (33.0 + 27.0 / 60.0 + 24.408 / 3600.0)).abs() < 1e-7);
    // The slit is wider than the seeing of 0.8 arcsec, which then limits the resolution.
    assert!((real(1, "APERTURE") - 1.0 / 3600.0).abs() < 1e-9 && real(0, "SPEC_RES") == 6250.0);
    // 0.4 of 20 in 1e-19: the response is known to 2 %, a little less where the flux is higher.
    assert!((1.9..=2.0).contains(&real(0, "FLUXERR")), "{}", real(0, "FLUXERR"));
    assert_eq!((real(0, "SPEC_ERR"), real(0, "SPEC_SYE")), (0.000_712_346, 0.001));
    assert_eq!(real(0, "SLITPOS"), -0.25);
}

#[test]
fn a_later_reduction_has_names_and_titles_of_its_own_and_one_place_in_the_tree() {
    let folder = tempfile::tempdir().unwrap();
    let (first, mut second) = (Made::of(Some(Arm::Vis)), Made::of(Some(Arm::Vis)));
    second.revision = 2;
    second.frames[0].on_sky.target = "A very long name of a target, cut".to_string();
    let paths =
        [first.spectrum(folder.path(), FluxUnit::FluxDensity), second.spectrum(folder.path(), FluxUnit::FluxDensity)];
    assert!(paths[1].to_string_lossy().ends_with("_VIS_1D_R2.fits"));
    let Value::Text(title) = value(&paths[1], 1, "TITLE") else { panic!("no text") };
    assert!(title.ends_with("_VIS_R2") && title.len() <= 68, "{title}");
    let report = Validator::new().unwrap().check(&paths, NOW_MJD, |_| {});
    assert!(report.files.iter().all(|file| file.findings.is_empty()), "{:#?}", report.files);
    let observation = second.context().observation().unwrap();
    assert!(observation.tree_name(Kind::Spectrum).ends_with("_VIS_1D.fits"));
}

#[test]
fn sources_on_one_slit_have_names_and_titles_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (1..=2)
        .map(|source| {
            let mut made = Made { source, revision: 123, ..Made::of(None) };
            made.frames[0].on_sky.target = "A very long name of a target, cut".to_string();
            made.spectrum(folder.path(), FluxUnit::FluxDensity)
        })
        .collect();
    assert!(paths[0].to_string_lossy().ends_with("_JNT_1D_R123.fits"));
    assert!(paths[1].to_string_lossy().ends_with("_JNT_S2_1D_R123.fits"));
    let report = Validator::new().unwrap().check(&paths, NOW_MJD, |_| {});
    assert!(report.files.iter().all(|file| file.findings.is_empty()), "{:#?}", report.files);
}

#[test]
fn what_is_not_known_is_left_out_and_what_cannot_be_is_refused() {
    let refused = |change: &dyn Fn(&mut Made)| {
        let mut made = Made::of(Some(Arm::Vis));
        change(&mut made);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.fits");
        let result = write_spectrum(&path, "x.fits", &merged(FluxUnit::FluxDensity), &made.context());
        assert!(!path.exists() || result.is_ok());
        result.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(&|_| {}), "");
    assert!(refused(&|made| made.frames.clear()).contains("no frame"));
    assert!(refused(&|made| made.frames[0].on_sky.target.clear()).contains("names a target"));
    assert!(refused(&|made| made.frames[0].slit = Some("PINHOLE".to_string())).contains("PINHOLE"));
    assert!(refused(&|made| made.frames[0].dpr_tech = "IMAGE".to_string()).contains("DPR TECH"));
    let lost = refused(&|made| {
        made.header = Header::new();
        made.frames[0].on_sky.position = None;
    });
    assert!(lost.contains("RA, DEC"), "{lost}");
    let mut empty = merged(FluxUnit::FluxDensity);
    empty.merged.flux.fill(f64::NAN);
    let (folder, made) = (tempfile::tempdir().unwrap(), Made::of(Some(Arm::Vis)));
    let error = write_spectrum(&folder.path().join("x.fits"), "x.fits", &empty, &made.context()).unwrap_err();
    assert!(error.to_string().contains("no sample"), "{error}");
}

#[test]
fn frames_of_the_sky_are_in_no_sum() {
    let mut made = Made::of(Some(Arm::Vis));
    let mut sky = frame(Arm::Vis, "2026-03-11T02:30:00.000", 300.0);
    sky.dpr_type = "SKY".to_string();
    made.frames.push(sky);
    let observation = made.context().observation().unwrap();
    assert_eq!((observation.precursors.len(), observation.exptime), (2, 600.0));
    let several = frame(Arm::Vis, "2026-03-11T02:25:00.000", 300.0);
    made.frames.push(FrameMeta { prog_id: "112.25AB.001".to_string(), obs_id: Some(7), ..several });
    let folder = tempfile::tempdir().unwrap();
    let path = made.spectrum(folder.path(), FluxUnit::FluxDensity);
    assert_eq!(value(&path, 0, "PROG_ID"), Value::Text("MULTI".to_string()));
    assert_eq!(value(&path, 0, "OBID2"), Value::Integer(7));
    assert_eq!(Validator::new().unwrap().check(&[path], NOW_MJD, |_| {}).files[0].findings, []);
}

#[test]
fn samples_without_light_are_cut_at_the_ends_and_marked_inside() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::of(Some(Arm::Vis));
    let mut source = merged(FluxUnit::FluxDensity);
    source.merged.flux[50] = f64::NAN;
    let path = folder.path().join("a.fits");
    write_spectrum(&path, "a.fits", &source, &made.context()).unwrap();
    let spectrum = source.merged;
    let anatomy = Anatomy::of(&path).unwrap();
    let (header, bytes) = (&anatomy.parts[1].header, anatomy.data(&anatomy.parts[1]).unwrap());
    assert_eq!(header.integer("NELEM"), Ok(185));
    assert_eq!(header.integer("TFIELDS"), Ok(7));
    let double = |column: usize, element: usize| {
        let at = (column * 185 + element) * 8;
        f64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
    };
    assert_eq!(double(0, 0), spectrum.wavelength[10]);
    assert_eq!((double(1, 3), double(2, 3)), (spectrum.flux[13], spectrum.error[13]));
    let quality = |element: usize| {
        let at = 3 * 185 * 8 + element * 4;
        i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
    };
    assert!(double(1, 40).is_nan());
    assert_eq!((quality(40), quality(90), quality(41)), (flags::NO_DATA, flags::COSMIC_RAY, 0));
    assert_eq!(value(&path, 0, "WAVELMIN"), Value::Real(format!("{:.6}", spectrum.wavelength[10]).parse().unwrap()));
}

#[test]
fn nothing_of_a_single_frame_is_inherited() {
    let folder = tempfile::tempdir().unwrap();
    let mut made = Made::of(Some(Arm::Vis));
    made.header.set("ESO OBS NAME", "block", "");
    made.header.push(Card {
        keyword: "ESO OBS BAD".to_string(),
        value: Some(Value::Text("\u{e9}".to_string())),
        comment: String::new(),
    });
    let path = made.spectrum(folder.path(), FluxUnit::FluxDensity);
    let primary = &Anatomy::of(&path).unwrap().parts[0].header;
    assert_eq!(primary.text("ESO OBS NAME"), Ok("block"));
    for lost in ["CD1_1", "ESO DET CHIP RON", "ESO OBS BAD", "RADECSYS"] {
        assert!(!primary.contains(lost), "{lost}");
    }
    assert_eq!(primary.text("ESO PRO REC1 CAL1 DATAMD5"), Ok("b".repeat(32).as_str()));
    assert_eq!(primary.real("ESO QC SNR MEDIAN"), Ok(21.5));
}

#[test]
fn the_paper_layout_holds_a_table_a_quantity_and_claims_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::of(Some(Arm::Vis));
    let path = folder.path().join("a.fits");
    let spectrum = merged(FluxUnit::FluxDensity);
    write_paper(&path, "a.fits", &spectrum.merged, &made.context()).unwrap();
    let tables = crate::fits::read_tables(&path).unwrap();
    let names: Vec<&str> = tables.iter().filter_map(|table| table.extname.as_deref()).collect();
    assert_eq!(names, ["FLUXCAL", "VARIANCE", "SKY"]);
    let columns: Vec<&str> = tables[1].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["WAVE", "VARIANCE", "SYSTEMATIC", "COV1"]);
    assert!(!Anatomy::of(&path).unwrap().parts[0].header.contains("PRODCATG"));
    let crate::fits::ReadValues::F64(variance) = &tables[1].columns[1].values else { panic!("no numbers") };
    assert!(variance.len() == 200 && (variance[20] / 1e-36 - 1.0).abs() < 1e-12);
}
