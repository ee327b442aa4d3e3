//! Light against closed forms, published figures and the tables it is made of.

use super::air::{Air, extinction, index_standard};
use super::airglow::Airglow;
use super::filters::Band;
use super::lamps::Lamp;
use super::moon::Moon;
use super::sky::{Sky, dark_continuum, thermal};
use super::standards::Standard;
use super::star::Spectrum;
use super::table::{Beyond, Table, field, pairs, rows};
use super::telluric::Telluric;
use super::templates::Template;
use super::throughput::{blaze, dichroic, efficiency, envelope, orders};
use super::{AREA, Light, LightError, Line, airglow, photons_per_flux};
use crate::instrument::Arm;
use crate::simulator::random::{Effect, Seeds};

fn grid(from: f64, to: f64, step: f64) -> Vec<f64> {
    (0..((to - from) / step) as usize).map(|index| from + step * index as f64).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn close(found: f64, expected: f64, relative: f64) {
    assert!((found / expected - 1.0).abs() < relative, "{found} against {expected}");
}

#[test]
fn tables_interpolate_and_integrate_straight_lines_exactly() {
    let table = Table::new([(400.0, 1.0), (500.0, 3.0), (700.0, 3.0)], Beyond::Zero);
    assert_eq!(table.sample(&[399.9, 400.0, 450.0, 500.0, 700.0, 700.1]), [0.0, 1.0, 2.0, 3.0, 3.0, 0.0]);
    assert_eq!(table.sample(&[600.0, 425.0, 699.0]), [3.0, 1.5, 3.0], "in any order");
    close(table.integral(450.0, 600.0), 125.0 + 300.0, 1e-12);
    assert_eq!(Table::new([(5.0, 7.0)], Beyond::Hold).sample(&[1.0, 5.0, 9.0]), [7.0; 3]);
    assert_eq!(Table::new([], Beyond::Hold).at(1.0), 0.0);
}

#[test]
fn smooth_curves_pass_through_their_knots_and_overshoot_nowhere() {
    let knots = [(0.0, 0.0), (1.0, 0.0), (2.0, 5.0), (3.0, 5.5), (4.0, 1.0)];
    let curve = Table::smooth(&knots, 0.01, Beyond::Zero);
    for (x, y) in knots {
        assert!((curve.at(x) - y).abs() < 1e-9, "{x}: {}", curve.at(x));
    }
    assert!(curve.values().iter().all(|value| (0.0..=5.5).contains(value)));
    assert!(curve.values().windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.15), "no jumps");
}

#[test]
fn a_standard_gives_the_photons_of_the_worked_examples() {
    let star = Spectrum::standard("Feige110").expect("known").light();
    let photons = (star.continuum)(&[550.0, 1250.0]);
    // Photons per second, cm2 and Angstrom; flux times wavelength over hc by hand.
    close(photons[0] / AREA / 1.0e5, 1.88e-2, 0.005);
    close(photons[1] / AREA / 1.0e5, 1.84e-3, 0.005);
    // Electrons per second and pixel in the r order (0.041 nm) at the efficiency of 0.167 with atmosphere.
    close(photons[0] * 0.041 * 0.167, 115.0, 0.02);
    close(photons[1] * 0.058 * 0.12, 11.0, 0.05);
}

#[test]
fn standards_are_found_by_every_spelling_of_the_reference() {
    for (object, name) in [
        ("GD71", "GD71"),
        ("gd 71", "GD71"),
        ("Feige-110", "Feige110"),
        ("FEIGE_110 V=11.8", "Feige110"),
        ("CD-30 17706", "LTT7987"),
        ("CD3810980", "EG274"),
        ("CD-325613", "LTT3218"),
        ("CPD-69 177", "EG21"),
        ("STD,EG274", "EG274"),
        ("LTT 7987", "LTT7987"),
    ] {
        assert_eq!(Standard::find(object).map(|star| star.name), Ok(name), "{object}");
    }
    for object in ["", "CD30_17", "FEIGE_11", "CD-4412736", "Vega"] {
        let error = Standard::find(object).expect_err(object);
        assert!(error.to_string().contains("GD71, LTT3218"), "{error}");
    }
    for star in Standard::all() {
        let nodes = star.flux.wavelengths();
        assert!(nodes[0] < 341.0 && nodes[nodes.len() - 1] > 2105.0 && nodes.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(star.flux.values().iter().all(|&flux| flux > 0.0), "{}", star.name);
    }
}

#[test]
fn standards_have_their_published_magnitudes() {
    // AB magnitude at 1250 nm, as listed with the tables; monochromatic, and smooth enough there for a band.
    for (name, listed) in [("GD71", 14.660), ("GD153", 14.998), ("EG274", 12.564), ("Feige110", 13.444)] {
        let spectrum = Spectrum::standard(name).expect("known");
        assert!((spectrum.magnitude(Band::J) - listed).abs() < 0.06, "{name}: {}", spectrum.magnitude(Band::J));
    }
}

#[test]
fn normalised_spectra_have_their_magnitude_in_every_band() {
    for template in [Template::BlueTransient, Template::SolarStar, Template::FlatFrequency] {
        for band in Band::all() {
            let spectrum = template.spectrum().normalised(band, 17.3).expect("covers every band");
            assert!((spectrum.magnitude(band) - 17.3).abs() < 1e-9);
        }
    }
    // Flat per Hz: the same magnitude everywhere, and 3631 Jy at 0.
    let flat = Template::FlatFrequency.spectrum().normalised(Band::R, 0.0).expect("covers r");
    for band in Band::all() {
        assert!(flat.magnitude(band).abs() < 1e-4, "{band:?}: {}", flat.magnitude(band));
    }
    let photons = (flat.light().continuum)(&[1000.0])[0] / AREA;
    close(photons, 5.48e10 / 1000.0, 0.001);
}

#[test]
fn what_cannot_be_normalised_is_refused() {
    let narrow = Spectrum::parse("narrow", "500 1e-15\n600 1e-15\n").expect("a table");
    assert!(matches!(narrow.normalised(Band::I, 18.0), Err(LightError::Coverage { .. })));
    let dark = Spectrum::parse("dark", "300 0\n2500 0\n").expect("a table");
    assert!(matches!(dark.normalised(Band::R, 18.0), Err(LightError::Coverage { .. })));
    for magnitude in [f64::NAN, -6.0, 36.0] {
        assert!(Template::SolarStar.spectrum().normalised(Band::R, magnitude).is_err());
    }
}

#[test]
fn users_tables_are_read_and_bad_ones_refused_with_their_line() {
    let text = "# my star\nwavelength,flux\n400, 1e-15\n 500\t2e-15 # peak\n\n600;1e-15\n";
    let star = Spectrum::parse("star.csv", text).expect("good");
    assert_eq!(star.flux.sample(&[400.0, 500.0, 600.0, 601.0]), [1e-15, 2e-15, 1e-15, 0.0]);
    close(star.flux.at(450.0), 1.5e-15, 1e-12);
    for (text, line, part) in [
        ("400 1\n500\n", 2, "1 columns"),
        ("400 1\n500 2 3\n", 2, "3 columns"),
        ("400 1\nfive 2\n", 2, "'five 2' is not a pair"),
        ("400 x\n500 1\n", 1, "not a pair"),
        ("400 1\n500 nan\n", 2, "flux NaN"),
        ("400 1\n500 -1\n", 2, "flux -1"),
        ("400 1\n500 inf\n", 2, "flux inf"),
        ("0 1\n500 1\n", 1, "wavelength 0"),
        ("400 1\n# note\n400 1\n", 3, "must rise"),
        ("a b\nc d\n400 1\n", 2, "not a pair"),
    ] {
        match Spectrum::parse("bad.txt", text) {
            Err(LightError::Table { name, line: found, reason }) => {
                assert_eq!((name.as_str(), found), ("bad.txt", line), "{text:?}: {reason}");
                assert!(reason.contains(part), "{text:?}: {reason}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    for text in ["", "# nothing\n", "500 1\n"] {
        assert!(matches!(Spectrum::parse("short", text), Err(LightError::Coverage { .. })), "{text:?}");
    }
}

#[test]
fn templates_are_what_they_are_called() {
    let red = Template::RedObject.spectrum();
    assert!(red.flux.at(540.0) < 1e-5 * red.flux.at(800.0), "absent in u and g");
    let nebula = Template::Nebula.spectrum();
    assert_eq!(nebula.flux.at(600.0), 0.0);
    assert!(nebula.lines.windows(2).all(|pair| pair[0].wavelength < pair[1].wavelength));
    let blue = Template::BlueTransient.spectrum();
    assert!(blue.flux.at(400.0) > 3.0 * blue.flux.at(800.0));
    // Air wavelengths of hydrogen lines: the bottom of the line is where it is known to be.
    let hot = Template::HotStandard.spectrum();
    for known in [486.135, 656.280, 1093.81, 1281.81, 1875.1] {
        let near = grid(known - 1.0, known + 1.0, 0.01);
        let flux = hot.flux.sample(&near);
        let bottom = near.iter().zip(&flux).min_by(|a, b| a.1.total_cmp(b.1)).map_or(0.0, |(&w, _)| w);
        assert!((bottom - known).abs() < 0.06, "{bottom} against {known}");
    }
    assert!(Spectrum::template("cool-giant").is_ok());
}

#[test]
fn extinction_is_the_table_and_then_rayleighs_law() {
    for (w, k) in pairs(include_str!("../../../calibrations/extinction_lasilla.csv")) {
        assert!((extinction(w) - k).abs() < 1e-12, "{w}");
    }
    close(extinction(405.0), 0.285, 1e-9);
    close(extinction(1800.0), 0.01 / 16.0, 1e-9);
    let air = Air { airmass: 2.0, clouds: 0.5, ..Air::default() };
    let share = air.transmission(&Telluric::new(&Seeds::new(1)))(&[500.0])[0];
    close(share, 0.5 * 10.0_f64.powf(-0.4 * 2.0 * 0.13), 1e-5);
}

#[test]
fn telluric_bands_have_their_mean_depth_and_grow_with_airmass_and_water() {
    let telluric = Telluric::new(&Seeds::new(5));
    let bands: Vec<_> = rows(include_str!("../../../calibrations/telluric_bands.csv"))
        .map(|row| (row[0] == "H2O", field::<f64>(&row, 1), field::<f64>(&row, 2), field::<f64>(&row, 3)))
        .collect();
    let depth = |airmass: f64, water: f64, from: f64, to: f64| {
        1.0 - mean(&telluric.transmission(airmass, water)(&grid(from, to, 0.002)))
    };
    for &(water, from, to, wanted) in &bands {
        close(depth(1.0, 3.0, from, to), wanted, 2e-3);
        let doubled = depth(2.0, 3.0, from, to);
        assert!(doubled > wanted && doubled <= 1.0 - (1.0 - wanted) * (1.0 - wanted), "{from}: {doubled}");
        if water {
            assert!((depth(1.0, 6.0, from, to) - doubled).abs() < 1e-9, "water counts as airmass does");
        } else {
            assert!((depth(1.0, 6.0, from, to) - depth(1.0, 3.0, from, to)).abs() < 1e-12);
        }
    }
    // Between the bands the air is clear, and where a band begins nothing jumps.
    let shares = telluric.transmission(1.0, 3.0)(&grid(600.0, 2100.0, 0.01));
    assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
    assert_eq!(telluric.transmission(3.0, 9.0)(&[500.0, 600.0, 650.0, 1050.0, 1740.0]), [1.0; 5]);
    for &(_, from, to, _) in &bands {
        let edges = telluric.transmission(1.0, 3.0)(&[from - 1.999, to + 1.999]);
        assert!(edges.iter().all(|share| *share > 0.999), "{from}: {edges:?}");
    }
}

#[test]
fn telluric_lines_depend_on_their_seed_only() {
    let one = Telluric::new(&Seeds::new(1));
    assert_eq!(one, Telluric::new(&Seeds::new(1)));
    assert_ne!(one, Telluric::new(&Seeds::new(2)));
    let mut own = Seeds::new(2);
    own.effects.insert(Effect::Telluric, 1);
    assert_eq!(one, Telluric::new(&own));
}

#[test]
fn seeing_follows_its_law() {
    let air = Air { seeing: 0.8, airmass: 1.0, ..Air::default() };
    close(air.seeing_at(500.0), 0.8, 1e-12);
    close(air.seeing_at(1000.0), 0.8 * 0.870_55, 1e-5);
    close(Air { airmass: 2.0, ..air }.seeing_at(500.0), 0.8 * 1.515_72, 1e-5);
}

#[test]
fn refraction_agrees_with_filippenkos_table() {
    // Filippenko 1982, table 1: 2 km altitude, 600 mm Hg, 7 degrees, 8 mm Hg of vapour, against 500 nm.
    let air = Air {
        airmass: 1.5,
        pressure: 799.93,
        temperature: 7.0,
        humidity: 1.0,
        guide: 500.0,
        adc: false,
        ..Air::default()
    };
    assert!((air.refraction(400.0) - 0.71).abs() < 0.01, "{}", air.refraction(400.0));
    // The index of Peck and Reeder at the density of this air is another formula for the same thing.
    let density = 799.93 / 1013.25 * 288.15 / 280.15;
    for w in [350.0, 600.0, 700.0, 1000.0, 1600.0] {
        let expected = 206_264.8 * (index_standard(w) - index_standard(500.0)) * density * 1.25_f64.sqrt();
        close(air.refraction(w), expected, 0.01);
    }
    // Over the whole NIR arm at airmass 1.5: about half an arcsecond or less, always towards the zenith in the blue.
    let nir = Air { airmass: 1.5, ..Air::default() };
    let range = nir.refraction(800.0) - nir.refraction(2000.0);
    assert!((0.25..0.6).contains(&range), "{range}");
    assert_eq!(Air { airmass: 1.0, ..nir }.refraction(400.0), 0.0);
}

#[test]
fn the_slit_sees_refraction_at_its_angle_and_vis_behind_the_corrector() {
    let air = Air { airmass: 1.5, ..Air::default() };
    let ends = [350.0, 620.0, 850.0];
    let parallel = air.displacements(Arm::Nir, &ends, 30.0, 30.0);
    for (shift, w) in parallel.iter().zip(ends) {
        assert!((shift.along - air.refraction(w)).abs() < 1e-12 && shift.across.abs() < 1e-12);
    }
    let crossed = air.displacements(Arm::Nir, &ends, 120.0, 30.0);
    assert!(crossed.iter().zip(&parallel).all(|(a, b)| (a.across - b.along).abs() < 1e-9 && a.along.abs() < 1e-9));
    let spread = |air: &Air| {
        let along: Vec<f64> =
            air.displacements(Arm::Vis, &grid(350.0, 850.0, 1.0), 0.0, 0.0).iter().map(|shift| shift.along).collect();
        along.iter().copied().fold(f64::MIN, f64::max) - along.iter().copied().fold(f64::MAX, f64::min)
    };
    assert!((0.1..0.2).contains(&spread(&air)), "{}", spread(&air));
    assert!(spread(&Air { airmass: 2.5, ..air }) <= 0.2);
    assert!(spread(&Air { adc: false, ..air }) > 1.0);
    assert!(air.displacements(Arm::Vis, &[620.0], 77.0, 10.0)[0].along.abs() < 1e-12, "the guide wavelength stays");
}

#[test]
fn air_wavelengths_of_known_lines() {
    // Mercury and argon: vacuum and air wavelengths of NIST.
    for (vacuum, air) in [(1014.2533, 1013.9755), (912.5471, 912.2967), (1327.6264, 1327.2634)] {
        assert!((vacuum / index_standard(vacuum) - air).abs() < 3e-3, "{}", vacuum / index_standard(vacuum));
    }
}

#[test]
fn airglow_sums_to_the_published_brightness() {
    let sum = |from: f64, to: f64| {
        airglow::lines()
            .iter()
            .filter(|line| (from..to).contains(&line.wavelength))
            .map(|line| line.photons)
            .sum::<f64>()
    };
    close(sum(1490.0, 1780.0), 6600.0, 0.01);
    close(sum(1170.0, 1330.0), 1250.0, 0.01);
    // The UVES atlas: 154.5e-16 erg/s/cm2/arcsec2 in the green line of oxygen.
    let green = airglow::lines().iter().find(|line| (line.wavelength - 557.7347).abs() < 0.01).expect("the green line");
    close(green.photons, 154.5e-16 * photons_per_flux(557.7347) / 10.0, 0.01);
    // One scale: neighbouring 20 nm on either side of the join differ by less than their natural scatter.
    assert!((0.3..3.0).contains(&(sum(1003.0, 1033.0) / sum(973.0, 1003.0))));
    let lines = airglow::lines();
    assert!(lines.windows(2).all(|pair| pair[0].wavelength <= pair[1].wavelength));
    assert!(lines.iter().all(|line| (340.0..2120.0).contains(&line.wavelength) && line.photons > 0.0));
    assert!(lines.iter().all(|line| line.group < airglow::groups().len()));
}

#[test]
fn the_airglow_wanders_by_ten_to_thirty_per_cent_in_half_an_hour() {
    let mut changes = vec![Vec::new(); airglow::groups().len()];
    for seed in 0..40 {
        let glow = Airglow::new(&Seeds::new(seed));
        for hour in 0..20 {
            let start = f64::from(hour) * 3600.0;
            let (a, b) = (glow.brightness(start, 0.0), glow.brightness(start + 1800.0, 0.0));
            a.iter().zip(b).zip(&mut changes).for_each(|((a, b), list)| list.push((b / a).ln()));
        }
    }
    for (list, group) in changes.iter().zip(airglow::groups()) {
        let rms = mean(&list.iter().map(|change| change * change).collect::<Vec<_>>()).sqrt();
        assert!((0.15..0.27).contains(&rms), "{group}: {rms}");
    }
    let glow = Airglow::new(&Seeds::new(3));
    assert_eq!(glow, Airglow::new(&Seeds::new(3)));
    let close_by = (glow.brightness(40_000.0, 300.0), glow.brightness(40_300.0, 300.0));
    assert!(close_by.0.iter().zip(&close_by.1).all(|(a, b)| (a / b - 1.0).abs() < 0.35), "no jumps: {close_by:?}");
    assert!(close_by.0 != close_by.1);
    assert!(glow.brightness(-1e9, 60.0).iter().chain(&glow.brightness(1e9, 60.0)).all(|value| value.is_finite()));
}

#[test]
fn the_dark_sky_has_its_magnitudes_and_the_moon_makes_it_blue() {
    close(dark_continuum(1650.0) * 1000.0, 280.0, 0.05);
    close(dark_continuum(550.0), 1.005e8 * 10.0_f64.powf(-0.4 * 21.8), 0.01);
    // By hand from the formula of Krisciunas and Schaefer, with 0.115 mag per airmass: 835 nanolamberts, V = 19.03.
    let moon = Moon { phase: 0.0, zenith_distance: 60.0, separation: 60.0 };
    let v = -2.5 * (moon.photons(550.0, 1.0) / 1.005e8).log10();
    assert!((v - 19.03).abs() < 0.06, "{v}");
    let added = |w: f64| moon.photons(w, 1.0) / dark_continuum(w);
    assert!(added(400.0) > 2.0 * added(800.0) && added(400.0) > 5.0);
    assert!(Moon { phase: 120.0, ..moon }.photons(400.0, 1.0) < 0.1 * moon.photons(400.0, 1.0));
    assert_eq!(Moon { zenith_distance: 91.0, ..moon }.photons(400.0, 1.0), 0.0);
    // Heat: as much as the sky at the red end, nothing in H.
    assert!(thermal(2030.0) > dark_continuum(2030.0) && thermal(1650.0) < 0.1 * dark_continuum(1650.0));
    let glow = Airglow::steady();
    let at = |sky: Sky, w: f64| (sky.light(1.0, &glow, 0.0, 60.0).continuum)(&[w])[0];
    let dark = Sky::default();
    close(at(dark, 700.0), AREA * dark_continuum(700.0), 1e-3);
    let dusk = |depression: f64| at(Sky { sun_depression: Some(depression), ..dark }, 550.0);
    assert!(dusk(6.0) > 1000.0 * dusk(18.0) && dusk(18.0) == at(dark, 550.0));
}

#[test]
fn line_lists_are_sorted_in_range_and_in_air() {
    for (lamp, arm, from, to) in [
        (Lamp::ThAr, Arm::Vis, 335.0, 860.0),
        (Lamp::Ar, Arm::Nir, 780.0, 2100.0),
        (Lamp::Ne, Arm::Nir, 780.0, 2100.0),
        (Lamp::Hg, Arm::Nir, 780.0, 2100.0),
        (Lamp::Xe, Arm::Nir, 780.0, 2100.0),
        (Lamp::D2, Arm::Vis, 400.0, 700.0),
    ] {
        let lines = lamp.light(arm, 1.0).lines;
        assert!(lines.windows(2).all(|pair| pair[0].wavelength <= pair[1].wavelength), "{lamp:?}");
        assert!(lines.iter().all(|line| (from..to).contains(&line.wavelength) && line.photons > 0.0), "{lamp:?}");
    }
    // Air wavelengths of NIST, to a picometre: the table's shift to the red is gone.
    for (lamp, nist) in
        [(Lamp::Hg, 1013.9755), (Lamp::Ar, 912.2967), (Lamp::Ne, 865.4383), (Lamp::Xe, 823.1634), (Lamp::Ar, 1327.2634)]
    {
        let lines = lamp.light(Arm::Nir, 1.0).lines;
        let bright = lines.iter().filter(|line| line.photons > 1e4);
        let nearest = bright.map(|line| (line.wavelength - nist).abs()).fold(f64::MAX, f64::min);
        assert!(nearest < 1.2e-3, "{lamp:?} {nist}: {nearest}");
    }
}

#[test]
fn pencil_lamps_show_traces_of_each_other() {
    let brightest = |lamp: Lamp, near: f64| {
        lamp.light(Arm::Nir, 1.0)
            .lines
            .iter()
            .filter(|line| (line.wavelength - near).abs() < 0.01)
            .map(|line| line.photons)
            .fold(0.0, f64::max)
    };
    close(brightest(Lamp::Xe, 1013.9755), 1e-4 * brightest(Lamp::Hg, 1013.9755), 1e-9);
}

/// Light x efficiency x what a pixel collects.
fn counts(lamp: Lamp, arm: Arm, order: u8, wavelength: f64, collected: f64) -> f64 {
    (lamp.light(arm, 1.0).continuum)(&[wavelength])[0] * efficiency(arm, order, &[wavelength])[0] * collected
}

#[test]
fn flats_have_the_counts_of_the_instrument() {
    // nm per pixel x arcsec per pixel x seconds, through 1.0 arcsec: VIS 20 s, NIR 15 s.
    let i = counts(Lamp::Qth, Arm::Vis, 4, 750.0, 0.0482 * 0.267 * 20.0);
    let r = counts(Lamp::Qth, Arm::Vis, 1, 640.0, 0.0385 * 0.275 * 20.0);
    let u = counts(Lamp::Qth, Arm::Vis, 2, 420.0, 0.0185 * 0.275 * 20.0);
    assert!((25e3..35e3).contains(&i) && (15e3..35e3).contains(&r), "i {i}, r {r}");
    assert!((20.0..50.0).contains(&(i / u)), "i/u {}", i / u);
    let tops: Vec<f64> = (10..=23)
        .map(|order: u8| {
            let top = 19_390.0 / f64::from(order);
            counts(Lamp::Qth, Arm::Nir, order, top, top / 22_400.0 * 0.33 * 15.0)
        })
        .collect();
    let (least, most) = (tops.iter().copied().fold(f64::MAX, f64::min), tops.iter().copied().fold(0.0, f64::max));
    assert!(least > 15e3 && (30e3..60e3).contains(&most) && most < 3.0 * least, "{tops:?}");
    // Pinholes: 0.196 arcsec2 on a trace of about two pixels.
    let hole = counts(Lamp::Qth, Arm::Vis, 4, 750.0, 0.0482 * 0.196 * 10.0) / 2.0;
    let nir_hole = counts(Lamp::Qth, Arm::Nir, 12, 1616.0, 0.072 * 0.196 * 15.0) / 2.2;
    assert!((2e3..20e3).contains(&hole) && (2e3..20e3).contains(&nir_hole), "{hole} {nir_hole}");
}

#[test]
fn arcs_have_many_useful_lines_and_a_few_that_saturate() {
    let peak = |line: &Line, arm: Arm, seconds: f64, pixels: f64| {
        let best = orders(arm).map(|order| efficiency(arm, order, &[line.wavelength])[0]).fold(0.0, f64::max);
        line.photons * best * 0.196 * seconds / pixels
    };
    let vis: Vec<f64> =
        Lamp::ThAr.light(Arm::Vis, 1.0).lines.iter().map(|line| peak(line, Arm::Vis, 30.0, 4.0)).collect();
    let useful = |peaks: &[f64]| peaks.iter().filter(|peak| (1e3..20e3).contains(*peak)).count();
    assert!(useful(&vis) > 150, "{}", useful(&vis));
    assert!((1..120).contains(&vis.iter().filter(|&&peak| peak > 39e3).count()));
    let nir: Vec<f64> = Lamp::PENCILS
        .iter()
        .flat_map(|lamp| lamp.light(Arm::Nir, 1.0).lines)
        .map(|line| peak(&line, Arm::Nir, 15.0, 5.0))
        .collect();
    assert!(useful(&nir) > 350, "{}", useful(&nir));
    let saturated = nir.iter().filter(|&&peak| peak > 100e3).count();
    assert!((3..60).contains(&saturated), "{saturated}");
}

#[test]
fn the_deuterium_lamp_falls_to_the_red_with_lines_beyond_480() {
    let light = Lamp::D2.light(Arm::Vis, 2.0);
    let continuum = (light.continuum)(&[360.0, 420.0, 600.0, 800.0]);
    assert!(continuum.windows(2).all(|pair| pair[0] > 1.3 * pair[1]));
    // Deuterium's lines lie 2.7e-4 to the blue of hydrogen's.
    let hydrogen = [656.2797, 486.1333, 434.0472];
    for line in hydrogen {
        let shifted = line / 1.000_272_07;
        assert!(light.lines.iter().any(|found| (found.wavelength - shifted).abs() < 2e-3), "{shifted}");
    }
}

#[test]
fn vis_efficiency_is_the_measured_one_above_the_atmosphere() {
    for (order, w, listed) in
        [(2, 400.0, 0.1295), (3, 485.0, 0.1826), (1, 600.0, 0.2309), (4, 735.0, 0.2492), (4, 820.0, 0.0918)]
    {
        close(efficiency(Arm::Vis, order, &[w])[0], listed, 1e-6);
    }
    // Times the air at airmass 1.1 it is what was measured with the atmosphere.
    for (order, w, measured) in [(3, 500.0, 0.1587), (1, 575.0, 0.1886), (2, 380.0, 0.0684)] {
        close(efficiency(Arm::Vis, order, &[w])[0] * 10.0_f64.powf(-0.44 * extinction(w)), measured, 0.01);
    }
}

#[test]
fn nir_orders_keep_a_tenth_of_their_top_at_their_ends() {
    // Limits on the detector, nm.
    for (order, from, to) in [
        (10, 1860.2, 2029.7),
        (16, 1164.0, 1271.0),
        (20, 932.0, 1018.2),
        (22, 847.5, 926.2),
        (23, 810.8, 886.2),
        (24, 795.9, 839.0),
    ] {
        let wavelengths = grid(from, to, 0.2);
        let values = efficiency(Arm::Nir, order, &wavelengths);
        let top = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        assert!(least >= 0.1 * top && (0.02..0.2).contains(&top), "order {order}: {least} of {top}");
    }
}

#[test]
fn efficiencies_are_blaze_times_envelope_smooth_and_zero_beyond() {
    for arm in [Arm::Vis, Arm::Nir] {
        for order in orders(arm) {
            let wavelengths = grid(300.0, 2200.0, 0.25);
            let values = efficiency(arm, order, &wavelengths);
            let product: Vec<f64> =
                blaze(arm, order, &wavelengths).iter().zip(envelope(arm, &wavelengths)).map(|(a, b)| a * b).collect();
            assert!(values.iter().zip(&product).all(|(a, b)| (a - b).abs() < 1e-4), "{arm} {order}");
            assert!(values.iter().all(|value| (0.0..0.3).contains(value)));
            assert!(values.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.01), "{arm} {order} jumps");
            assert!(values[0] == 0.0 && values[values.len() - 1] == 0.0);
        }
    }
    assert_eq!(orders(Arm::Vis).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(orders(Arm::Nir).count(), 15);
    assert_eq!(orders(Arm::Acq).count(), 0);
    assert_eq!(efficiency(Arm::Nir, 9, &[1900.0]), [0.0]);
    let (vis, nir) = (dichroic(Arm::Vis, &[700.0, 820.0, 900.0]), dichroic(Arm::Nir, &[700.0, 820.0, 900.0]));
    assert!(vis.iter().zip(&nir).all(|(a, b)| (a + b - 1.0).abs() < 1e-12) && nir[1] == 0.5 && nir[2] == 1.0);
}

#[test]
fn the_cameras_zero_points_follow_from_widths_and_efficiencies() {
    for band in Band::all() {
        let filter = band.filter();
        assert_eq!((Band::parse(band.as_str()), filter.band), (Ok(band), band));
        let Some(camera) = filter.camera else { continue };
        let zero_point = 2.5 * filter.zero_flux().expect("a camera").log10();
        assert!((zero_point - camera.zero_point).abs() < 0.03, "{band:?}: {zero_point}");
        close(filter.electrons(camera.zero_point, 0.0).expect("a camera"), 1.0, 1e-9);
    }
    assert_eq!(Band::parse("SDSS_g"), Ok(Band::G));
    assert!(Band::parse("K").is_err());
}

#[test]
fn light_adds_up_and_scales() {
    let lamp = Lamp::Ne.light(Arm::Nir, 1.0);
    let both = Light::sum([lamp.clone(), Lamp::Qth.light(Arm::Nir, 1.0), Lamp::Ar.light(Arm::Nir, 1.0)]);
    assert!(both.lines.windows(2).all(|pair| pair[0].wavelength <= pair[1].wavelength));
    let half = both.clone().through(std::sync::Arc::new(|wavelengths| vec![0.5; wavelengths.len()]));
    assert_eq!((half.continuum)(&[1000.0])[0], 0.5 * (both.continuum)(&[1000.0])[0]);
    assert_eq!(half.lines[7].photons, 0.5 * both.lines[7].photons);
    assert_eq!(both.clone().scaled(0.5).lines, half.lines);
    assert!(Lamp::Qth.light(Arm::Acq, 1.0).lines.is_empty());
    assert_eq!((Light::dark().continuum)(&[1.0, 2.0]), [0.0, 0.0]);
}

#[test]
fn impossible_conditions_are_refused_by_name() {
    assert_eq!(Air::default().check(), Ok(()));
    assert_eq!(Sky::default().check(), Ok(()));
    let error = Air { airmass: 0.9, ..Air::default() }.check().expect_err("impossible");
    assert_eq!(error.to_string(), "airmass = 0.9 is not possible: expected 1 to 10");
    assert!(Air { seeing: f64::NAN, ..Air::default() }.check().is_err());
    assert!(Sky { sun_depression: Some(-3.0), ..Sky::default() }.check().is_err());
    let moon = Some(Moon { phase: 190.0, zenith_distance: 10.0, separation: 10.0 });
    assert!(Sky { moon, ..Sky::default() }.check().is_err());
}
