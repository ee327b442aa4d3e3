//! The tables that are shipped, and what a broken one is told.

use super::*;

const VIS_TEXT: &str = include_str!("../../../calibrations/format_vis.toml");
const NIR_TEXT: &str = include_str!("../../../calibrations/format_nir.toml");

/// Order, wavelength, x, y and lamp of the published positions of the middle pinhole.
fn published(arm: Arm) -> Vec<(u8, f64, [f64; 2], String)> {
    let text = match arm {
        Arm::Vis => include_str!("../../../calibrations/positions_vis.csv"),
        _ => include_str!("../../../calibrations/positions_nir.csv"),
    };
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("order"))
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let number = |at: usize| cells[at].parse::<f64>().unwrap();
            (number(0) as u8, number(1), [number(2), number(3)], cells[4].to_string())
        })
        .collect()
}

#[test]
fn embedded_tables_are_valid() {
    for (text, arm, count) in [(VIS_TEXT, Arm::Vis, 4), (NIR_TEXT, Arm::Nir, 15)] {
        let format = SpectralFormat::parse(text).unwrap();
        assert_eq!((format.arm(), format.orders().len(), format.pinholes().len()), (arm, count, 9));
        assert_eq!(&format, SpectralFormat::of(arm));
    }
    assert_eq!(SpectralFormat::of(Arm::Vis).shape(), (4096, 808));
    assert_eq!(SpectralFormat::of(Arm::Vis).order(3).unwrap().name(), "g");
    assert!(SpectralFormat::of(Arm::Nir).order(9).is_none());
    assert!(SpectralFormat::of(Arm::Acq).orders().is_empty());
}

#[test]
fn stated_residuals_are_those_of_the_published_positions() {
    for arm in [Arm::Vis, Arm::Nir] {
        let format = SpectralFormat::of(arm);
        let table = published(arm);
        for order in format.orders() {
            let (mut lines, mut used, mut squares) = (0, 0, [0.0, 0.0]);
            for (_, wavelength, [x, y], lamp) in table.iter().filter(|row| row.0 == order.number()) {
                if arm == Arm::Nir && !["XeI", "NeI", "ArI"].contains(&lamp.as_str()) {
                    continue;
                }
                let offset = lamp.get(..2).and_then(|lamp| format.lamp_offset(lamp)).unwrap_or_default();
                let there = order.position(*wavelength, 0.0);
                let off = [x - offset[0] - there.x, y - offset[1] - there.y];
                lines += 1;
                if off.iter().all(|value| value.abs() < format.clip()) {
                    used += 1;
                    squares = [squares[0] + off[0] * off[0], squares[1] + off[1] * off[1]];
                }
            }
            let fit = order.fit();
            assert_eq!((lines, used), (fit.lines, fit.used), "{arm} {}", order.name());
            for (sum, stated) in squares.iter().zip(fit.rms) {
                let rms = (sum / f64::from(used as u32)).sqrt();
                assert!((rms - stated).abs() < 6e-4, "{arm} {}: {rms} is stated as {stated}", order.name());
            }
        }
    }
}

#[test]
fn derivatives_are_those_of_the_positions() {
    for arm in [Arm::Vis, Arm::Nir] {
        for order in SpectralFormat::of(arm).orders() {
            let [blue, red] = order.wavelengths();
            for (part, slit) in [(0.0, -6.0), (0.3, 2.0), (1.0, 6.0)] {
                let wavelength = blue + part * (red - blue);
                let (at, step) = (order.position(wavelength, slit), 1e-4);
                let (plus, minus) = (order.position(wavelength + step, slit), order.position(wavelength - step, slit));
                assert!(((plus.x - minus.x) / (2.0 * step) - at.dx_dw).abs() < 1e-6);
                assert!(((plus.y - minus.y) / (2.0 * step) - at.dy_dw).abs() < 1e-6);
                let (plus, minus) = (order.position(wavelength, slit + step), order.position(wavelength, slit - step));
                assert!(((plus.x - minus.x) / (2.0 * step) - at.dx_ds).abs() < 1e-6);
                assert!(((plus.y - minus.y) / (2.0 * step) - at.dy_ds).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn inversion_returns_to_where_it_came_from() {
    for arm in [Arm::Vis, Arm::Nir] {
        let format = SpectralFormat::of(arm);
        for order in format.orders() {
            let [blue, red] = order.wavelengths();
            for step in 0..=20 {
                for slit in [-8.0, -6.0, -1.3, 0.0, 4.0, 8.0] {
                    let wavelength = blue + (red - blue) * f64::from(step) / 20.0;
                    let there = order.position(wavelength, slit);
                    let (w, s) = order.invert(there.x, there.y).unwrap();
                    let again = order.position(w, s);
                    assert!((again.x - there.x).abs() < 1e-8 && (again.y - there.y).abs() < 1e-8);
                    assert!((s - slit).abs() < 1e-8, "{arm} {} {w} {s}", order.name());
                }
            }
            assert_eq!(order.invert(f64::NAN, 3.0), None);
            assert_eq!(order.invert(1e6, -1e6), None);
        }
    }
}

#[test]
fn a_bad_table_names_its_key() {
    let broken = |from: &str, to: &str| {
        assert!(VIS_TEXT.contains(from), "{from}");
        SpectralFormat::parse(&VIS_TEXT.replacen(from, to, 1)).unwrap_err().to_string()
    };
    assert!(broken("slit_length = 12.0", "slit_lenght = 12.0").contains("slit_lenght"));
    assert!(broken("slit_length = 12.0", "slit_length = -1.0").contains("slit_length = -1"));
    assert!(broken("[524.5, 685.0]", "[685.0, 524.5]").contains("order 1.wavelengths"));
    assert!(broken("[538.0, 675.0]", "[500.0, 675.0]").contains("order 1.useful"));
    assert!(broken("number = 2", "number = 7").contains("ascending"));
    assert!(broken("-5.5, -4.125", "-4.125, -5.5").contains("pinholes"));
    assert!(broken("size = [808, 4096]", "size = [0, 4096]").contains("size"));
    let shorn: String =
        NIR_TEXT.lines().filter(|line| !line.starts_with("phase_half")).map(|l| format!("{l}\n")).collect();
    assert!(SpectralFormat::parse(&shorn).unwrap_err().to_string().contains("phase_half_range"));
}
