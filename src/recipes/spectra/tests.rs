//! From a made extraction to its products.

use ndarray::Array2;

use super::*;
use crate::recipes::contract::RecipeOutput;
use crate::reduction::spectrum::standards;
use crate::reduction::spectrum::synthetic::Maker;

fn exposed(maker: &Maker, object: &str, slit: &str, standard: bool) -> Exposed {
    Exposed {
        arm: Arm::Vis,
        tech: "ECHELLE,SLIT,STARE".to_string(),
        exptime: maker.exptime,
        airmass: Some(maker.airmass),
        slit: slit.to_string(),
        binning: [maker.bin; 2],
        object: object.to_string(),
        target: String::new(),
        position: None,
        mjd: 61_110.0,
        seeing: Some(0.9),
        n_combined: 1,
        standard,
    }
}

fn extracted(maker: &Maker, exposed: Exposed, flux: impl Fn(f64) -> f64) -> (Extracted, OrderLight) {
    let order = |spectrum: OrderSpectrum| SourceOrder {
        across: vec![400.0; spectrum.len()],
        fwhm: Some(0.8),
        blur: None,
        spectrum,
    };
    let orders: Vec<SourceOrder> = maker.orders(flux, |_| 1.0).into_iter().map(order).collect();
    // one order in two dimensions: a star of 0.94 arcsec FWHM at 0.6 arcsec
    let spectrum = &orders[1].spectrum;
    let shape = (spectrum.len(), 41);
    let gaussian = |a: usize| (-0.5 * ((0.3 * (a as f64 - 20.0) - 0.6) / 0.4f64).powi(2)).exp();
    let sum: f64 = (0..41).map(gaussian).sum();
    let profile = |a: usize| gaussian(a) / sum;
    let light = OrderLight {
        order: spectrum.order,
        wavelength: Array2::from_shape_fn(shape, |(b, _)| spectrum.wavelength[b]),
        slit: Array2::from_shape_fn(shape, |(_, a)| (0.3 * (a as f64 - 20.0)) as f32),
        value: Array2::from_shape_fn(shape, |(b, a)| (spectrum.flux[b] * profile(a)) as f32),
        variance: Array2::from_elem(shape, 25.0),
        flags: Array2::zeros(shape),
    };
    let wavelengths = WavelengthScale { map: Some(0.001), sky: Some(0.02) };
    (
        Extracted {
            exposed,
            frames: Vec::new(),
            sources: vec![Source { slit: 0.6, orders }],
            light: Vec::new(),
            wavelengths,
        },
        light,
    )
}

fn parameters() -> SpectraParameters {
    SpectraParameters::read(&toml::Table::new()).unwrap()
}

fn standard_star() -> RecipeOutput {
    let maker = Maker { bin: 2, seed: Some(3), exptime: 120.0, airmass: 1.1 };
    let star = standards::find(None, 60_000.0, &["GD71"]).unwrap();
    let (input, _) = extracted(&maker, exposed(&maker, "GD-71", "SLIT5.0", true), |w| star.flux(w, 60.0, 0.0));
    finish("stare_std", &input, &[], &parameters()).unwrap()
}

fn master(output: &RecipeOutput) -> MasterTable {
    let product = output.tables.iter().find(|table| table.catg == "RESP_TAB").unwrap();
    MasterTable {
        catg: product.catg.clone(),
        tech: product.tech.clone(),
        name: "resp.fits".to_string(),
        tables: product.tables.clone(),
    }
}

fn categories(output: &RecipeOutput) -> Vec<&str> {
    output.tables.iter().map(|table| table.catg.as_str()).collect()
}

#[test]
fn a_standard_gives_its_response_and_its_own_flux_back() {
    let output = standard_star();
    let expected = ["EXTRACTED_ORDERS", "EXTRACTED_MERGED", "FLUXCAL", "RESP_TAB", "EFFICIENCY_TAB"];
    assert_eq!(categories(&output), expected, "{:?}", output.remarks);
    let star = standards::find(None, 60_000.0, &["GD71"]).unwrap();
    let merged = &output.spectra[0].merged;
    let (mut squares, mut n) = (0.0, 0.0);
    for k in (0..merged.len()).filter(|k| merged.is_good(*k)).step_by(1) {
        let truth = star.flux(merged.wavelength[k], 60.0, 0.0);
        let sigma = merged.error[k].hypot(merged.systematic[k]);
        squares += ((merged.flux[k] - truth) / sigma).powi(2);
        n += 1.0;
    }
    assert!((squares / n).sqrt() < 1.1, "{}", squares / n);
    let value = |name: &str| output.qc.iter().find(|m| m.name == name && m.order == "-1").unwrap().number().unwrap();
    assert!(value("SNR MEDIAN") > 20.0 && value("EFF MEDIAN") > 0.0 && value("RESP RMS") < 0.02);
    assert!((value("DERSNR RATIO") - 1.0).abs() < 0.05, "{}", value("DERSNR RATIO"));
    assert!((value("OPT BOX RATIO") - 1.0).abs() < 1e-9 && value("OVERLAP WORST") < 0.02);
    assert!(output.qc.iter().any(|m| m.name == "OVERLAP RATIO" && m.order == "g"));
}

#[test]
fn science_is_calibrated_by_a_response_or_says_why_not() {
    let response = master(&standard_star());
    let maker = Maker { bin: 1, seed: Some(9), exptime: 900.0, airmass: 1.3 };
    let (science, _) = extracted(&maker, exposed(&maker, "SN", "SLIT1.0", false), |_| 5e-15);
    let output = finish("stare", &science, std::slice::from_ref(&response), &parameters()).unwrap();
    assert_eq!(categories(&output), ["EXTRACTED_ORDERS", "EXTRACTED_MERGED", "FLUXCAL"], "{:?}", output.remarks);
    let merged = &output.spectra[0].merged;
    let mut ratios: Vec<f64> =
        (0..merged.len()).filter(|k| merged.is_good(*k)).map(|k| merged.flux[k] / 5e-15).collect();
    assert!((median_f64(&mut ratios).unwrap() - 1.0).abs() < 0.005);
    let table = &output.tables[2].tables[0];
    assert!(table.real("SLIT_TRANS").unwrap().iter().all(|part| (0.8..0.93).contains(part)));
    // another slit, another arm, no airmass, none at all
    let refuse = |change: &dyn Fn(&mut Exposed, &mut MasterTable)| {
        let (mut science, mut table) = (science.clone(), response.clone());
        change(&mut science.exposed, &mut table);
        let output = finish("stare", &science, &[table], &parameters()).unwrap();
        assert_eq!(categories(&output), ["EXTRACTED_ORDERS", "EXTRACTED_MERGED"]);
        assert_eq!(output.spectra[0].merged.unit, FluxUnit::ElectronsPerSecondNm);
        output.remarks.join("; ")
    };
    let narrow = |_: &mut Exposed, table: &mut MasterTable| {
        let mut found = response::read(table).unwrap();
        found.origin.slit = "SLIT1.5".to_string();
        table.tables = response::write(&found).unwrap();
    };
    assert!(refuse(&narrow).contains("SLIT1.5"));
    assert!(refuse(&|exposed, _| exposed.airmass = None).contains("airmass"));
    assert!(refuse(&|_, table| table.catg = "OTHER".to_string()).contains("no response"));
}

#[test]
fn an_unknown_standard_is_extracted_without_a_response() {
    let maker = Maker { bin: 4, seed: Some(3), exptime: 120.0, airmass: 1.1 };
    let (input, _) = extracted(&maker, exposed(&maker, "HD 1", "SLIT5.0", true), |_| 1e-13);
    let output = finish("stare_std", &input, &[], &parameters()).unwrap();
    assert_eq!(categories(&output), ["EXTRACTED_ORDERS", "EXTRACTED_MERGED"]);
    assert!(output.remarks[0].contains("HD 1"), "{:?}", output.remarks);
    let nothing = Extracted { sources: vec![], ..input };
    let output = finish("stare_std", &nothing, &[], &parameters()).unwrap();
    assert!(output.tables.is_empty() && output.products.is_empty() && output.spectra.is_empty());
}

#[test]
fn the_plane_has_the_light_of_the_spectrum() {
    let maker = Maker { bin: 4, seed: None, exptime: 600.0, airmass: 1.2 };
    let (mut science, light) = extracted(&maker, exposed(&maker, "SN", "SLIT1.0", false), |_| 4e-15);
    science.light.push(light);
    let response = [master(&standard_star())];
    let output = finish("stare", &science, &response, &parameters()).unwrap();
    let [plane] = output.products.as_slice() else { panic!("{:?}", output.remarks) };
    assert_eq!((plane.value.nrows(), plane.unit.as_str()), (48, "10**-17 erg s-1 cm-2 Angstrom-1 arcsec-1"));
    let card = |name: &str| plane.cards.iter().find(|card| card.keyword == name).unwrap().value.clone();
    let real = |name: &str| match card(name) {
        crate::recipes::CardValue::Real(value) => value,
        other => panic!("{other:?}"),
    };
    // the column of 480 nm, by the cards
    let (first, delta) = (real("CRVAL1"), real("CD1_1"));
    let column = ((480.0 / first).ln() * first / delta).round() as usize;
    let light = plane.value.column(column);
    let sum: f64 = light.iter().map(|v| f64::from(*v)).filter(|v| v.is_finite()).sum::<f64>() * real("CD2_2");
    assert!((sum / 400.0 - 1.0).abs() < 0.02, "{sum}");
    // and the row of 0.6 arcsec
    let brightest = (0..48).max_by(|a, b| light[*a].total_cmp(&light[*b])).unwrap() as f64;
    assert!((real("CRVAL2") + brightest * real("CD2_2") - 0.6).abs() < 0.2);
}

#[test]
fn calibrated_spectra_survive_their_tables() {
    let output = standard_star();
    let (merged, table) = (&output.spectra[0].merged, &output.tables[2].tables[0]);
    let again = tables::read_calibrated(table).unwrap();
    assert_eq!((&again.wavelength, &again.edges, &again.quality), (&merged.wavelength, &merged.edges, &merged.quality));
    assert_eq!(again.unit, FluxUnit::FluxDensity);
    for k in (0..merged.len()).filter(|k| merged.is_good(*k)) {
        assert_eq!(
            (again.flux[k], again.error[k], again.systematic[k]),
            (merged.flux[k], merged.error[k], merged.systematic[k])
        );
        let (a, b) = (again.covariance.get(k, k + 1), merged.covariance.get(k, k + 1));
        assert!((a - b).abs() <= 1e-9 * b.abs());
    }
    assert!((again.inflation - merged.inflation).abs() < 0.01);
    let source = tables::read_source(&output.tables[2].tables).unwrap();
    assert!(!merged.joins.is_empty());
    assert_eq!((&source.merged.joins, source.wavelengths), (&merged.joins, output.spectra[0].wavelengths));
    assert_eq!((source.number, source.slit), (1, 0.6));
}

#[test]
fn wavelengths_are_as_well_known_as_map_and_sky_say() {
    let maker = Maker { bin: 4, seed: None, exptime: 600.0, airmass: 1.2 };
    let (mut science, _) = extracted(&maker, exposed(&maker, "SN", "SLIT1.0", false), |_| 4e-15);
    let mut widths: Vec<f64> =
        science.sources[0].orders.iter().flat_map(|order| order.spectrum.width.clone()).collect();
    let width = median_f64(&mut widths).unwrap();
    let errors = |science: &Extracted| finish("stare", science, &[], &parameters()).unwrap().spectra[0].wavelengths;
    let expected = WavelengthErrors { random: 0.001, systematic: Some(0.02 * width) };
    assert_eq!(errors(&science), Some(expected));
    science.wavelengths.sky = None;
    assert_eq!(errors(&science), Some(WavelengthErrors { systematic: None, ..expected }));
    science.wavelengths.map = None;
    assert_eq!(errors(&science), None);
}

#[test]
fn further_sources_are_no_targets() {
    let maker = Maker { bin: 4, seed: Some(9), exptime: 900.0, airmass: 1.3 };
    let (mut science, _) = extracted(&maker, exposed(&maker, "SN", "SLIT1.0", false), |_| 5e-15);
    science.sources.push(Source { slit: -2.0, ..science.sources[0].clone() });
    let output = finish("stare", &science, &[master(&standard_star())], &parameters()).unwrap();
    let expected = ["EXTRACTED_ORDERS", "EXTRACTED_MERGED", "FLUXCAL"];
    let further = expected.map(|catg| format!("{catg}_S2"));
    assert_eq!(categories(&output), expected.into_iter().chain(further.iter().map(String::as_str)).collect::<Vec<_>>());
    let sources: Vec<(usize, f64)> = output.spectra.iter().map(|source| (source.number, source.slit)).collect();
    assert_eq!(sources, [(1, 0.6), (2, -2.0)]);
}

#[test]
fn slits_are_named_by_their_width() {
    assert_eq!(slit_width("SLIT1.5"), Some(1.5));
    assert_eq!(slit_width("SLIT1.0JH"), Some(1.0));
    assert_eq!((slit_width("PINHOLE"), slit_width("SLIT"), slit_width("SLIT0")), (None, None, None));
}

#[test]
fn what_a_slit_takes_is_that_of_a_source_before_optics_and_pixels_widened_it() {
    let maker = Maker { bin: 1, seed: None, exptime: 300.0, airmass: 1.2 };
    let mut exposed = exposed(&maker, "TARGET", "SLIT1.0", false);
    // seeing that falls faster with the wavelength than the textbook's, under a blur that differs from order to order
    let seeing = |wavelength: f64| 0.9 * (wavelength / 600.0).powf(-0.35);
    let order = |(wavelength, blur): (f64, f64)| SourceOrder {
        spectrum: OrderSpectrum { wavelength: vec![wavelength], ..OrderSpectrum::default() },
        across: vec![],
        fwhm: Some(seeing(wavelength).hypot(SIGMA_TO_FWHM * blur)),
        blur: Some(blur),
    };
    let orders = [(390.0, 0.15), (480.0, 0.17), (600.0, 0.12), (760.0, 0.25)];
    let mut source = Source { slit: 0.0, orders: orders.into_iter().map(order).collect() };
    let wavelengths = [350.0, 600.0, 840.0];
    let found = source.transmitted(&exposed, &wavelengths);
    for (part, wavelength) in found.iter().zip(wavelengths) {
        assert!((part - slit::transmitted(seeing(wavelength), 1.0)).abs() < 1e-6, "{wavelength}: {part}");
    }
    // one order has the textbook's law; none, the headers; without those, nothing is known
    source.orders.truncate(1);
    let one = source.transmitted(&exposed, &[390.0, 780.0]);
    let law = slit::transmitted(seeing(390.0) * 2f64.powf(KOLMOGOROV), 1.0);
    assert!((one[0] - slit::transmitted(seeing(390.0), 1.0)).abs() < 1e-6 && (one[1] - law).abs() < 1e-6, "{one:?}");
    source.orders.clear();
    let header = source.transmitted(&exposed, &[HEADER_WAVELENGTH])[0];
    assert!((header - slit::transmitted(0.9, 1.0)).abs() < 1e-9);
    exposed.seeing = None;
    assert!(source.transmitted(&exposed, &[500.0])[0].is_nan());
}

#[test]
fn counts_hold_the_error_of_the_response_and_spectra_over_the_blaze_do_not() {
    let maker = Maker { bin: 2, seed: Some(5), exptime: 300.0, airmass: 1.2 };
    let run = |error: f64| {
        let (mut input, _) = extracted(&maker, exposed(&maker, "TARGET", "SLIT1.0", false), |_| 3e-15);
        for order in &mut input.sources[0].orders {
            order.spectrum.blaze_error = vec![error; order.spectrum.len()];
        }
        finish("stare", &input, &[], &parameters()).unwrap()
    };
    let (known, unknown) = (run(0.0), run(0.02));
    let column =
        |output: &RecipeOutput, table: usize, name: &str| output.tables[table].tables[0].real(name).unwrap().to_vec();
    let flux = column(&known, 0, "extractedFluxOptimal");
    let (before, after) = (column(&known, 0, "varianceSpectrum"), column(&unknown, 0, "varianceSpectrum"));
    for k in (0..flux.len()).filter(|k| flux[*k].is_finite()) {
        assert!((after[k] - before[k] - (0.02 * flux[k]).powi(2)).abs() <= 1e-9 * after[k], "{k}");
    }
    assert!(flux.iter().any(|flux| *flux > 100.0));
    let bits = |output: &RecipeOutput| column(output, 1, "VARIANCE").iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
    assert_eq!(bits(&known), bits(&unknown));
}
