//! Closed forms: what comes out of a detector is what was put in. Chips are drawn once, since that takes a while.

use std::sync::LazyLock;

use super::*;
use crate::instrument::Binning;

static CHIPS: LazyLock<[Detector; 3]> =
    LazyLock::new(|| [Arm::Vis, Arm::Nir, Arm::Acq].map(|arm| Detector::new(arm, Effects::default(), &Seeds::new(11))));

fn detector(arm: Arm, effects: Effects) -> Detector {
    let [vis, nir, acq] = &*CHIPS;
    match arm {
        Arm::Vis => vis.with_effects(effects),
        Arm::Nir => nir.with_effects(effects),
        Arm::Acq => acq.with_effects(effects),
    }
}

fn camera(arm: Arm, mode: u8, x: usize, y: usize, exptime: f64) -> Camera {
    Camera::new(arm, mode, Binning { x, y }, exptime).expect("a setup that exists")
}

/// An exposure of a detector that remembers nothing.
fn take(detector: &Detector, camera: &Camera, exptime: f64, light: Option<&Array2<f32>>, number: u64) -> Exposed {
    let scene = detector.scene(camera, exptime, light).expect("light of the right shape");
    detector.expose(&scene, number, 0.0, &mut Persistence::default())
}

/// ADU of the raw image.
fn adu(exposed: &Exposed) -> Array2<f64> {
    match &exposed.pixels {
        Pixels::U16(pixels) => pixels.mapv(f64::from),
        Pixels::F32(pixels) => pixels.mapv(f64::from),
    }
}

/// ADU of the area that sees light.
fn science(exposed: &Exposed, camera: &Camera) -> Array2<f64> {
    let ((row0, row1), (column0, column1)) = camera.science();
    adu(exposed).slice(s![row0..row1, column0..column1]).to_owned()
}

/// Mean and variance.
fn moments<'a>(values: impl IntoIterator<Item = &'a f64, IntoIter: Clone>) -> (f64, f64) {
    let values = values.into_iter();
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / n)
}

/// Rows that get light in tests of noise: enough for a per cent, and the rest of the frame costs nothing.
const LIT: usize = 600;

/// Light that rises in steps along the columns, so that one pair of flats holds a whole photon-transfer curve.
fn steps(arm: Arm, levels: &[f32]) -> Array2<f32> {
    let (rows, columns) = Sizes::of(arm).area;
    let mut light = Array2::zeros((rows, columns));
    for ((_, column), pixel) in light.slice_mut(s![..LIT, ..]).indexed_iter_mut() {
        *pixel = levels[column * levels.len() / columns];
    }
    light
}

/// Noise and what is needed to see it only: no pattern that a pair of frames does not share.
fn noise_only() -> Effects {
    Effects { photon_noise: true, read_noise: 1.0, ..Effects::none() }
}

/// Gain (e/ADU) and read noise (e) from a pair of flats with steps, by the straight line through variance against mean.
/// The bias level is known, so that the line is that of the photons.
fn photon_transfer(detector: &Detector, camera: &Camera, exptime: f64, levels: &[f32]) -> (f64, f64) {
    let light = steps(camera.arm, levels);
    let scene = detector.scene(camera, exptime, Some(&light)).expect("light of the right shape");
    let pair = [1, 2].map(|number| {
        let exposed = detector.expose(&scene, number, 0.0, &mut Persistence::default());
        science(&exposed, camera) - exposed.truth.offset / camera.gain
    });
    let zero = Sizes::of(camera.arm).bias;
    let columns = pair[0].ncols();
    let difference = &pair[0] - &pair[1];
    let (mut sums, mut n) = ([0.0; 4], 0.0);
    for step in 0..levels.len() {
        let (from, to) = (step * columns / levels.len() + 1, (step + 1) * columns / levels.len() - 1);
        let (mean, _) = moments(pair[0].slice(s![..LIT, from..to]).iter());
        let (_, twice) = moments(difference.slice(s![..LIT, from..to]).iter());
        let (x, y) = (mean - zero, twice / 2.0 - 1.0 / 12.0 * f64::from(u8::from(camera.arm != Arm::Nir)));
        // The error of a variance grows with it.
        let weight = 1.0 / (y * y);
        for (sum, term) in sums.iter_mut().zip([x, y, x * x, x * y]) {
            *sum += weight * term;
        }
        n += weight;
    }
    let slope = (n * sums[3] - sums[0] * sums[1]) / (n * sums[2] - sums[0] * sums[0]);
    let floor = (sums[1] - slope * sums[0]) / n;
    (1.0 / slope, floor.sqrt() / slope)
}

#[test]
fn photon_transfer_gives_the_gain_and_read_noise_of_every_mode() {
    for (arm, mode, exptime, ron) in [
        (Arm::Vis, 1, 10.0, 2.8),
        (Arm::Vis, 2, 10.0, 7.0),
        (Arm::Vis, 3, 10.0, 3.8),
        (Arm::Vis, 4, 10.0, 5.5),
        (Arm::Nir, 3, 10.0, 15.0),
        (Arm::Nir, 3, 300.0, 7.3),
        (Arm::Acq, 0, 10.0, 2.9),
    ] {
        let camera = camera(arm, mode, 1, 1, exptime);
        let (gain, noise) =
            photon_transfer(&detector(arm, noise_only()), &camera, exptime, &[0.0, 300.0, 3000.0, 30_000.0]);
        assert!((gain / camera.gain - 1.0).abs() < 0.01, "{arm} {mode}: gain {gain}");
        assert!((noise / ron - 1.0).abs() < 0.02, "{arm} {mode}: read noise {noise}");
    }
}

#[test]
fn the_usual_ccd_still_shows_its_gain_in_pairs_of_flats() {
    // Non-linearity k bends the curve: at the top level N the gain is off by some k N, here 0.1 per cent.
    let camera = camera(Arm::Vis, 2, 1, 1, 10.0);
    let usual = detector(Arm::Vis, Effects { cosmic_rays: 0.0, ..Effects::default() });
    let (gain, noise) = photon_transfer(&usual, &camera, 10.0, &[0.0, 300.0, 3000.0]);
    assert!((gain / 2.0 - 1.0).abs() < 0.01, "{gain}");
    // Drift of the rows and pick-up add a little.
    assert!((noise / 7.0 - 1.0).abs() < 0.02, "{noise}");
}

#[test]
fn the_usual_bias_has_the_level_and_noise_of_its_mode() {
    for (mode, x, y) in [(1, 1, 1), (2, 2, 1), (3, 2, 2)] {
        let camera = camera(Arm::Vis, mode, x, y, 0.0);
        let bias = take(&detector(Arm::Vis, Effects::default()), &camera, 0.0, None, 5);
        let mut residual = adu(&bias) * camera.gain - bias.truth.offset;
        residual.zip_mut_with(&bias.truth.expected, |residual, &expected| *residual -= f64::from(expected));
        let (mean, variance) = moments(residual.iter());
        let noise = camera.ron.hypot(camera.gain / 12_f64.sqrt());
        assert!(mean.abs() < 0.02 && (variance.sqrt() / noise - 1.0).abs() < 0.01, "{mode}: {mean} {variance}");
        assert!((bias.truth.level / camera.gain - 1000.0).abs() < 3.0);
        assert!(bias.truth.cosmics.is_empty() && bias.truth.saturated.is_empty() && bias.truth.up.is_empty());
    }
}

#[test]
fn binning_sums_the_charge_of_the_same_detector_and_reads_it_once() {
    let quiet =
        detector(Arm::Vis, Effects { photon_noise: false, read_noise: 0.0, cosmic_rays: 0.0, ..Effects::default() });
    let light = Array2::from_shape_fn((4096, 808), |(row, column)| ((row * 7 + column * 13) % 500) as f32);
    let whole = quiet.scene(&camera(Arm::Vis, 1, 1, 1, 100.0), 100.0, Some(&light)).expect("a scene");
    for (x, y) in [(2, 1), (2, 2)] {
        let setup = camera(Arm::Vis, 1, x, y, 100.0);
        let binned = quiet.scene(&setup, 100.0, Some(&light)).expect("a scene");
        assert_eq!(binned.expected.dim(), (4096 / y, 908 / x));
        for (row, column) in [(0, 0), (5, 24), (5, 25), (700, 100), (2047, 428), (1000, 429), (1000, 453)] {
            let parts = whole.expected.slice(s![row * y..(row + 1) * y, column * x..(column + 1) * x]);
            let levels = |scene: &Scene, row: usize, column: usize| {
                let mut level = vec![0.0; scene.expected.ncols()];
                let pattern = &scene.levels;
                pattern.add(&scene.camera, row, &mut level);
                level[column]
            };
            let charge: f64 = parts
                .indexed_iter()
                .map(|((dy, dx), &e)| f64::from(e) - levels(&whole, row * y + dy, column * x + dx))
                .sum();
            let found = f64::from(binned.expected[(row, column)]) - levels(&binned, row, column);
            assert!((found - charge).abs() < 1e-2, "{x}x{y} ({row}, {column}): {found} for {charge}");
        }
        let (hot, again) = (whole.hot.sum(), binned.hot.sum());
        assert!((hot / again - 1.0).abs() < 1e-4);
    }
    // One read noise for four pixels, and the variance of four pixels' photons.
    let setup = camera(Arm::Vis, 2, 2, 2, 10.0);
    let light = steps(Arm::Vis, &[1000.0]);
    let flat = take(&detector(Arm::Vis, noise_only()), &setup, 10.0, Some(&light), 1);
    let (mean, variance) = moments(science(&flat, &setup).slice(s![..LIT / 2, ..]).iter());
    assert!(((mean - 1000.0) * 2.0 / 4000.0 - 1.0).abs() < 1e-3);
    assert!((variance * 4.0 / (4000.0 + 49.0 + 4.0 / 12.0) - 1.0).abs() < 0.01, "{variance}");
}

#[test]
fn overscan_and_prescan_share_the_drift_of_the_rows() {
    let camera = camera(Arm::Vis, 1, 1, 1, 0.0);
    let effects = Effects { row_drift: 30.0, bias_step: 50.0, ..Effects::default() };
    let bias = take(&detector(Arm::Vis, effects), &camera, 0.0, None, 1);
    assert!((bias.truth.offset / camera.gain - 50.0).abs() < 1.5);
    let mut residual = adu(&bias) * camera.gain - bias.truth.offset;
    residual.zip_mut_with(&bias.truth.expected, |residual, &expected| *residual -= f64::from(expected));
    for columns in [0..50, 858..908, 50..858] {
        let errors: Vec<f64> = bias
            .truth
            .rows
            .iter()
            .enumerate()
            .map(|(row, drift)| moments(residual.slice(s![row, columns.clone()]).iter()).0 - drift)
            .collect();
        let (mean, variance) = moments(&errors);
        let expected = 2.81 * 2.81 / columns.len() as f64;
        assert!(mean.abs() < 0.05 && (variance / expected - 1.0).abs() < 0.1, "{columns:?}: {mean} {variance}");
    }
    let (_, variance) = moments(&bias.truth.rows);
    assert!((3.0..7.0).contains(&variance.sqrt()), "{variance}");
}

#[test]
fn charge_that_stays_behind_is_found_in_the_overscan() {
    let camera = camera(Arm::Vis, 1, 1, 1, 1.0);
    let light = Array2::from_elem((4096, 808), 10_000.0);
    let trailing = detector(Arm::Vis, Effects { cti: 1.0, ..Effects::none() });
    let scene = trailing.scene(&camera, 1.0, Some(&light)).expect("a scene");
    // 858 transfers at 1e-5; the charge itself loses 4096 transfers at 1e-6 at most, and gains as much from below.
    let first = f64::from(scene.expected[(2000, 858)]) - 600.0;
    assert!((first - 85.8).abs() < 0.2, "{first}");
    assert_eq!(scene.expected[(2000, 859)], 600.0);
    let total = f64::from(scene.expected.row(2000).sum()) - 600.0 * 908.0;
    assert!((total / 8.08e6 - 1.0).abs() < 1e-5, "{total}");
}

#[test]
fn a_bright_spot_runs_along_its_column_only_and_keeps_its_charge() {
    let camera = camera(Arm::Vis, 2, 1, 1, 1.0);
    let mut light = Array2::zeros((4096, 808));
    light[(2000, 300)] = 5.3e6;
    light[(2001, 300)] = 1000.0;
    let effects = Effects { saturation: true, blooming: true, ..Effects::none() };
    let exposed = take(&detector(Arm::Vis, effects), &camera, 1.0, Some(&light), 1);
    let charge = exposed.truth.expected.mapv(|electrons| f64::from(electrons) - 2000.0);
    assert!((charge.sum() - 5.301e6).abs() < 1.0);
    assert!((charge.column(350).sum() - 5.301e6).abs() < 1.0);
    // 25 wells are full; the next at each end holds three quarters, which is above the converter's limit, too.
    assert_eq!(charge.iter().filter(|&&electrons| electrons == 200_000.0).count(), 25);
    assert_eq!(exposed.truth.saturated.len(), 27);
    assert!(exposed.truth.saturated.iter().all(|&(row, column)| column == 350 && (1985..2016).contains(&row)));
    assert_eq!(adu(&exposed)[(2000, 350)], 65_535.0);

    let clipped = detector(Arm::Vis, Effects { saturation: true, ..Effects::none() });
    let exposed = take(&clipped, &camera, 1.0, Some(&light), 1);
    assert_eq!(exposed.truth.saturated, vec![(2000, 350)]);
}

#[test]
fn persistence_follows_bright_exposures_only_and_falls_with_time() {
    let camera = camera(Arm::Nir, 3, 1, 1, 10.0);
    let detector = detector(Arm::Nir, Effects { persistence: 1.0, saturation: true, ..Effects::none() });
    let mut light = Array2::from_elem((2040, 2040), 100.0);
    light[(100, 200)] = 90_000.0;
    light[(101, 200)] = 50_000.0;
    light[(102, 200)] = 1.0e7;
    let bright = detector.scene(&camera, 10.0, Some(&light)).expect("a scene");
    let dark = detector.scene(&camera, 10.0, None).expect("a scene");
    let mut memory = Persistence::default();
    detector.expose(&dark, 1, 0.0, &mut memory);
    assert!(memory.is_empty());
    let first = detector.expose(&bright, 2, 100.0, &mut memory);
    assert!(!memory.is_empty() && first.truth.expected == *bright.expected());
    for (start, lower, upper) in [(120.0, 10.0, 20.0_f64), (210.0, 100.0, 110.0), (1110.0, 1000.0, 1010.0)] {
        let after = detector.expose(&dark, 3, start, &mut memory).truth.expected;
        let released = 1.0e-3 * 90_000.0 * (upper / lower).ln();
        assert!((f64::from(after[(104, 204)]) / released - 1.0).abs() < 1e-5, "{start}");
        // A full well is remembered as full, a faint pixel not at all.
        assert!((after[(106, 204)] / after[(104, 204)] - 10.0 / 9.0).abs() < 1e-5);
        assert_eq!(after[(105, 204)], 0.0);
    }
    let later = detector.expose(&dark, 4, 1.0e6, &mut memory);
    assert!(Arc::ptr_eq(&later.truth.expected, dark.expected()));
}

#[test]
fn reference_pixels_show_the_levels_of_rows_and_channels() {
    let camera = camera(Arm::Nir, 3, 1, 1, 300.0);
    let effects = Effects { channels: 20.0, row_drift: 20.0, read_noise: 1.0, ..Effects::none() };
    let frame = take(&detector(Arm::Nir, effects), &camera, 300.0, None, 9);
    let electrons = adu(&frame) * camera.gain - frame.truth.offset;
    assert_eq!(frame.truth.channels.len(), 32);
    for (channel, level) in frame.truth.channels.iter().enumerate() {
        let columns = channel * 64..(channel + 1) * 64;
        // Reference rows, without the drift that is theirs alone; 512 pixels each.
        let found: f64 = (0..4)
            .chain(2044..2048)
            .map(|row| electrons.slice(s![row, columns.clone()]).mean().expect("pixels") - frame.truth.rows[row])
            .sum::<f64>()
            / 8.0;
        assert!((found - level).abs() < 5.0 * 7.3 / 512_f64.sqrt(), "channel {channel}: {found} for {level}");
    }
    let (_, rms) = moments(&frame.truth.rows);
    assert!((20.0..60.0).contains(&rms.sqrt()), "{rms}");
    for row in [0, 4, 1000, 2047] {
        let border: f64 = (0..4)
            .chain(2044..2048)
            .map(|column| electrons[(row, column)] - frame.truth.channels[column / 64])
            .sum::<f64>()
            / 8.0;
        assert!((border - frame.truth.rows[row]).abs() < 5.0 * 7.3 / 8_f64.sqrt(), "row {row}");
    }
}

#[test]
fn cosmic_rays_come_at_their_rate_and_hit_the_exposed_area() {
    for (arm, mode) in [(Arm::Vis, 1), (Arm::Nir, 3)] {
        let camera = camera(arm, mode, 1, 1, 1000.0);
        let rate = Sizes::of(arm).rays.rate;
        let seeds = Seeds::new(3);
        // Without sharing, and far apart: chains of touching pixels are tracks.
        let alone = Effects { diffusion: 0.0, ..Effects::default() };
        let mut tracks = 0;
        for number in 0..4 {
            let hits = cosmics::rays(&seeds, arm, number, 1000.0, &alone);
            let mut left: std::collections::BTreeSet<(usize, usize)> = hits.keys().copied().collect();
            while let Some(start) = left.pop_first() {
                tracks += 1;
                let mut open = vec![start];
                while let Some((row, column)) = open.pop() {
                    let (rows, columns) = (row.saturating_sub(2)..row + 3, column.saturating_sub(2)..column + 3);
                    for near in rows.flat_map(|row| columns.clone().map(move |column| (row, column))) {
                        if left.remove(&near) {
                            open.push(near);
                        }
                    }
                }
            }
            let charges: Vec<f64> = hits.values().copied().collect();
            assert!(charges.iter().all(|electrons| (1.0..1.0e6).contains(electrons)));
        }
        let expected = 4000.0 * rate;
        assert!((f64::from(tracks) - expected).abs() < 4.0 * expected.sqrt(), "{arm}: {tracks} for {expected}");
        let frame = take(&detector(arm, Effects { cosmic_rays: 1.0, ..Effects::none() }), &camera, 1000.0, None, 1);
        let ((row0, row1), (column0, column1)) = camera.science();
        assert!(frame.truth.cosmics.len() > 500);
        for &(row, column) in &frame.truth.cosmics {
            assert!((row0..row1).contains(&row) && (column0..column1).contains(&column));
        }
    }
}

#[test]
fn another_seed_of_the_cosmic_rays_moves_only_the_pixels_that_they_hit() {
    let camera = camera(Arm::Nir, 3, 1, 1, 60.0);
    let one = detector(Arm::Nir, Effects::default());
    let mut seeds = one.seeds.clone();
    seeds.effects.insert(Effect::Cosmics, 99);
    let other = Detector { seeds, ..one.clone() };
    let (a, b) = (take(&one, &camera, 60.0, None, 4), take(&other, &camera, 60.0, None, 4));
    let hit: std::collections::BTreeSet<_> = a.truth.cosmics.iter().chain(&b.truth.cosmics).copied().collect();
    assert_ne!(a.truth.cosmics, b.truth.cosmics);
    let (a, b) = (adu(&a), adu(&b));
    let moved = a.indexed_iter().filter(|(at, value)| b[*at] != **value).map(|(at, _)| at);
    assert!(moved.clone().count() > 100);
    assert!(moved.into_iter().all(|at| hit.contains(&at)));
}

#[test]
fn an_effect_that_is_off_leaves_the_noise_of_the_others_alone() {
    let camera = camera(Arm::Acq, 0, 1, 1, 20.0);
    let light = Array2::from_elem((1024, 1024), 200.0);
    let all = Effects { cosmic_rays: 0.0, ..Effects::default() };
    let usual = take(&detector(Arm::Acq, all.clone()), &camera, 20.0, Some(&light), 4);
    let electrons = |effects: Effects| take(&detector(Arm::Acq, effects), &camera, 20.0, Some(&light), 4);
    // Without hot pixels: nothing outside of their rows moves, since each row has its own streams.
    let (cool, warm) = (adu(&electrons(Effects { hot_pixels: 0.0, ..all.clone() })), adu(&usual));
    let hot: Vec<usize> = detector(Arm::Acq, all.clone()).chip().hot.iter().map(|spot| spot.row).collect();
    assert!(warm.indexed_iter().all(|((row, column), adu)| hot.contains(&row) || cool[(row, column)] == *adu));
    assert_ne!(cool, warm);
    // Twice the read noise: the counts of photons stay, so the difference is the read noise once.
    let loud = electrons(Effects { read_noise: 2.0, ..all.clone() });
    let (_, variance) = moments((adu(&loud) - adu(&usual)).iter());
    assert!((variance / (2.9 * 2.9 + 2.0 / 12.0) - 1.0).abs() < 0.02, "{variance}");
    // No photon noise: the difference is that noise, and the read noise cancels.
    let still = electrons(Effects { photon_noise: false, ..all });
    let difference = adu(&usual) - adu(&still);
    let photons: f64 = usual.truth.expected.iter().map(|&e| f64::from(e) - 500.0).sum::<f64>() / (1024.0 * 1024.0);
    let (_, variance) = moments(difference.iter());
    assert!((variance / (photons + 2.0 / 12.0) - 1.0).abs() < 0.02, "{variance} for {photons}");
}

#[test]
fn the_expected_image_is_the_mean_of_many_frames() {
    let camera = camera(Arm::Acq, 0, 1, 1, 100.0);
    let light = Array2::from_shape_fn((1024, 1024), |(row, column)| ((row + 3 * column) % 700) as f32 * 40.0);
    let effects = Effects { cosmic_rays: 0.0, frame_drift: 0.0, row_drift: 0.0, ..Effects::default() };
    let detector = detector(Arm::Acq, effects);
    let scene = detector.scene(&camera, 100.0, Some(&light)).expect("a scene");
    let frames = 6;
    let mut sum = Array2::<f64>::zeros((1024, 1024));
    for number in 0..frames {
        sum += &adu(&detector.expose(&scene, number, 0.0, &mut Persistence::default()));
    }
    let pulls: Vec<f64> = sum
        .iter()
        .zip(scene.expected.iter())
        .map(|(sum, &expected)| {
            let expected = f64::from(expected);
            // Where the pixel counts N (1 - k N), the photons' noise is scaled by 1 - 2 k N.
            let scale = 1.0 - 2.0e-7 * (expected - 500.0);
            let variance = (expected - 500.0) * scale + 2.9 * 2.9 + 1.0 / 12.0;
            (sum / frames as f64 - expected) / (variance / frames as f64).sqrt()
        })
        .collect();
    let (mean, variance) = moments(&pulls);
    assert!(mean.abs() < 0.005 && (variance - 1.0).abs() < 0.01, "{mean} {variance}");
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    let mut light = Array2::zeros((2040, 2040));
    light.slice_mut(s![500..600, ..]).fill(61_000.0);
    let draw = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let detector = Detector::new(Arm::Nir, Effects::default(), &Seeds::new(2));
            let camera = camera(Arm::Nir, 3, 1, 1, 20.0);
            let scene = detector.scene(&camera, 20.0, Some(&light)).expect("a scene");
            let mut memory = Persistence::default();
            [1, 2].map(|number| detector.expose(&scene, number, 30.0 * number as f64, &mut memory))
        })
    };
    let (one, eight) = (draw(1), draw(8));
    assert!(one == eight);
    assert_ne!(one[0].pixels, one[1].pixels);
}

#[test]
fn response_and_defects_have_the_size_that_the_table_says() {
    let chip = |arm| detector(arm, Effects::default()).chip().clone();
    let (vis, nir) = (chip(Arm::Vis), chip(Arm::Nir));
    assert_eq!((vis.hot.len(), vis.dead.len(), vis.bright_columns.len(), vis.traps.len()), (50, 20, 2, 1));
    assert_eq!(nir.dead.len(), 8300);
    assert!((28_900..29_131).contains(&nir.hot.len()) && (4_100..4_162).contains(&nir.blinking.len()));
    // Dead pixels come in clusters: most have a dead neighbour, where 0.2 per cent spread evenly would have 1 in 60.
    let dead: std::collections::BTreeSet<_> = nir.dead.iter().map(|spot| (spot.row, spot.column)).collect();
    let near =
        dead.iter().filter(|(row, column)| dead.contains(&(row + 1, *column)) || dead.contains(&(*row, column + 1)));
    assert!(near.count() > 4000);
    let rms = |chip: &Chip, columns: std::ops::Range<usize>, effects: &Effects| {
        let rows: Vec<f64> = (100..200).flat_map(|row| chip.response(row, effects)[columns.clone()].to_vec()).collect();
        moments(&rows).1.sqrt()
    };
    let pixels = Effects { prnu: 1.0, ..Effects::none() };
    assert!((rms(&vis, 500..800, &pixels) / 0.006 - 1.0).abs() < 0.02);
    assert!((rms(&vis, 305..320, &pixels) / 0.009 - 1.0).abs() < 0.05);
    assert!((rms(&nir, 0..2040, &pixels) / 0.015 - 1.0).abs() < 0.02);
    let large: Vec<f64> = (0..2040)
        .step_by(20)
        .flat_map(|row| nir.response(row, &Effects { illumination: 1.0, ..Effects::none() }))
        .collect();
    assert!((0.003..0.008).contains(&moments(&large).1.sqrt()));
    assert_eq!(nir.response(7, &Effects::none()), vec![1.0; 2040]);
    // The camera: the corner is dark, the middle is not, and rings of dust lie on it.
    let acq = chip(Arm::Acq);
    let shade = Effects { roll_off: 1.0, ..Effects::none() };
    assert!(acq.response(512, &shade)[512] > 0.999 && acq.response(0, &shade)[0] < 0.5);
    let dusty = Effects { dust: 1.0, ..Effects::none() };
    let deepest = (0..1024).flat_map(|row| acq.response(row, &dusty)).fold(1.0, f64::min);
    assert!((0.85..0.98).contains(&deepest), "{deepest}");
}

#[test]
fn fringes_are_locked_to_the_wavelength_and_grow_to_the_red() {
    let detector = detector(Arm::Vis, Effects::default());
    let chip = detector.chip();
    assert_eq!(chip.fringe(600.0, 2000.0, 650.0, 1.0), 1.0);
    assert_eq!(chip.fringe(600.0, 2000.0, 800.0, 0.0), 1.0);
    // Along the red order the wavelength rises by 0.05 to 0.035 nm a row; count the crests between 790 and 845 nm.
    let trace: Vec<f64> = (0..1400)
        .map(|row| {
            let y = f64::from(row);
            chip.fringe(650.0, 2600.0 + y, 790.0 + 0.039 * y, 1.0)
        })
        .collect();
    let crests = trace.windows(3).filter(|three| three[1] > three[0] && three[1] >= three[2]).count();
    let period = 1400.0 / crests as f64;
    assert!((20.0..40.0).contains(&period), "{period}");
    let highest = |part: &[f64]| part.iter().fold(0.0_f64, |high, value| high.max((value - 1.0).abs()));
    let (blue, red) = (highest(&trace[..200]), highest(&trace[1200..]));
    assert!((0.02..0.03).contains(&blue) && (0.044..0.05).contains(&red), "{blue} {red}");
    assert_eq!(self::detector(Arm::Nir, Effects::default()).chip().fringe(5.0, 5.0, 900.0, 1.0), 1.0);
}

#[test]
fn the_infrared_dark_does_not_scale_and_its_read_noise_falls_with_the_ramp() {
    let quiet = detector(Arm::Nir, Effects { dark: 1.0, pedestal: 1.0, ..Effects::none() });
    let at = |exptime: f64| {
        let scene = quiet.scene(&camera(Arm::Nir, 3, 1, 1, exptime), exptime, None).expect("a scene");
        f64::from(scene.expected[(1024, 1024)])
    };
    for exptime in [2.0, 10.0, 300.0] {
        let expected = 2.0 + 3.0 * (-exptime / 20.0_f64).exp() + 0.008 * exptime;
        assert!((at(exptime) - expected).abs() < 0.01 * expected, "{exptime}");
    }
    let ron = |exptime| camera(Arm::Nir, 3, 1, 1, exptime).ron;
    assert_eq!((ron(2.0), ron(10.0), ron(300.0)), (15.0, 15.0, 7.3));
    assert!((ron(20.0) - 15.0 / 2_f64.sqrt()).abs() < 1e-12);
}

#[test]
fn unstable_pixels_jump_in_some_frames_only() {
    let detector = detector(Arm::Nir, Effects { blinking: 1.0, ..Effects::none() });
    let camera = camera(Arm::Nir, 3, 1, 1, 5.0);
    let scene = detector.scene(&camera, 5.0, None).expect("a scene");
    let unstable = scene.defects.iter().filter(|mark| **mark & defect::UNSTABLE > 0).count();
    assert_eq!(unstable, detector.chip().blinking.len());
    let frames = [1, 2].map(|number| detector.expose(&scene, number, 0.0, &mut Persistence::default()));
    assert_ne!(frames[0].truth.up, frames[1].truth.up);
    for frame in &frames {
        assert!((frame.truth.up.len() as f64 / unstable as f64 - 0.3).abs() < 0.04);
        let moved: Vec<_> = adu(frame).indexed_iter().filter(|(_, adu)| **adu != 0.0).map(|(at, _)| at).collect();
        assert_eq!(moved, frame.truth.up);
    }
}

#[test]
fn strengths_come_from_a_plan_and_misspelt_or_absurd_ones_are_found() {
    let parsed: Effects = toml::from_str("cosmic_rays = 20\nblooming = false").expect("a table");
    assert_eq!(parsed, Effects { cosmic_rays: 20.0, blooming: false, ..Effects::default() });
    assert!(toml::from_str::<Effects>("cosmic_ray = 20").is_err());
    assert!(parsed.out_of_range().is_empty() && Effects::none().out_of_range().is_empty());
    let absurd = Effects { prnu: -1.0, cti: f64::NAN, bias_step: f64::INFINITY, ..parsed };
    assert_eq!(absurd.out_of_range(), ["prnu", "cti", "bias_step"]);
}

#[test]
fn light_of_the_wrong_shape_and_setups_of_another_arm_are_refused() {
    let light = Array2::zeros((4096, 908));
    let error = detector(Arm::Vis, Effects::none()).scene(&camera(Arm::Vis, 1, 1, 1, 1.0), 1.0, Some(&light));
    assert!(matches!(error, Err(DetectorError::Shape { found: (4096, 908), expected: (4096, 808), .. })));
    let error = detector(Arm::Vis, Effects::none()).scene(&camera(Arm::Nir, 3, 1, 1, 1.0), 1.0, None);
    assert!(matches!(error, Err(DetectorError::Arm { .. })));
}
