use std::collections::BTreeMap;

use ndarray::Array2;

use super::super::random::{Effect, Seeds};
use super::field::distance;
use super::*;

const CENTRE: Direction = Direction { ra: 150.1, dec: -2.3 };

fn seeds() -> Seeds {
    Seeds::new(5)
}

/// A field that holds these objects and nothing else.
fn lonely(objects: Vec<Object>) -> Field {
    let params = FieldParams { objects, stars: Some(0.0), galaxies: false, ..FieldParams::default() };
    Field::new(CENTRE, params, seeds()).expect("a possible field")
}

fn star(offset: [f64; 2], magnitude: f64) -> Object {
    Object { offset, magnitude, ..Object::default() }
}

/// An evenly lit camera under a black sky.
fn even() -> (CameraParams, Shot) {
    let camera = CameraParams { field: 1000.0, roll_off: 0.0, reference: [511.8, 512.3], ..CameraParams::default() };
    (camera, Shot { sky_brighter: -3.0, ..Shot::default() })
}

/// Electrons above the sky, in f64.
fn above_sky(light: &CameraLight) -> Array2<f64> {
    light.electrons.mapv(|electrons| f64::from(electrons) - light.truth.sky)
}

/// Sum, and centroid (x, y), within `radius` of a place.
fn moments(image: &Array2<f64>, [x0, y0]: [f64; 2], radius: f64) -> (f64, [f64; 2]) {
    let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
    for ((row, column), &light) in image.indexed_iter() {
        let (dx, dy) = (column as f64 - x0, row as f64 - y0);
        if dx * dx + dy * dy <= radius * radius {
            sum += light;
            x += light * dx;
            y += light * dy;
        }
    }
    (sum, [x0 + x / sum, y0 + y / sum])
}

#[test]
fn sky_and_pixels_are_inverse_for_every_orientation() {
    for (ra, dec, rotation, mirrored) in
        [(0.01, 0.0, 0.0, false), (359.99, -70.0, 37.0, true), (83.6, 89.9, 200.0, false), (200.0, -33.0, -91.0, true)]
    {
        let shot = Shot { rotator: rotation, pointing_error: [50.0, -80.0], ..Shot::default() };
        let wcs = CameraParams { mirrored, ..CameraParams::default() }.wcs(Direction { ra, dec }, &shot);
        for pixel in [[0.0, 0.0], [1023.0, 0.0], [0.0, 1023.0], [511.5, 511.5], [523.5, 502.5], [777.3, 12.9]] {
            let back = wcs.to_pixel(wcs.to_sky(pixel)).expect("in front");
            assert!((back[0] - pixel[0]).abs() < 1e-6 && (back[1] - pixel[1]).abs() < 1e-6, "{pixel:?} {back:?}");
        }
    }
}

#[test]
fn north_is_up_and_east_is_left_until_the_rotator_turns() {
    let place = |shot: &Shot, camera: &CameraParams, offset: [f64; 2]| {
        let wcs = camera.wcs(CENTRE, shot);
        let at = wcs.to_pixel(CENTRE.offset(offset[0], offset[1])).expect("in front");
        [(at[0] - camera.reference[0]) * 0.205, (at[1] - camera.reference[1]) * 0.205]
    };
    let near = |at: [f64; 2], expected: [f64; 2]| {
        assert!((at[0] - expected[0]).abs() < 0.01 && (at[1] - expected[1]).abs() < 0.01, "{at:?} {expected:?}");
    };
    let straight = CameraParams { distortion: 0.0, ..CameraParams::default() };
    let turned = Shot { rotator: 80.0, rotator_error: 10.0, ..Shot::default() };
    near(place(&Shot::default(), &straight, [20.0, 0.0]), [-20.0, 0.0]);
    near(place(&Shot::default(), &straight, [0.0, 20.0]), [0.0, 20.0]);
    near(place(&turned, &straight, [20.0, 0.0]), [0.0, -20.0]);
    near(place(&turned, &straight, [0.0, 20.0]), [-20.0, 0.0]);
    near(place(&Shot::default(), &CameraParams { mirrored: true, ..straight.clone() }, [20.0, 0.0]), [20.0, 0.0]);
    // The telescope points too far east: everything appears farther west.
    near(place(&Shot { pointing_error: [30.0, 0.0], ..Shot::default() }, &straight, [0.0; 2]), [30.0, 0.0]);
    // The header's matrix says the same: east and north of a step in x and y.
    let [[east_x, east_y], [north_x, north_y]] = straight.wcs(CENTRE, &turned).cd();
    near([east_x * 3600.0 / 0.205, east_y * 3600.0 / 0.205], [0.0, -1.0]);
    near([north_x * 3600.0 / 0.205, north_y * 3600.0 / 0.205], [-1.0, 0.0]);
    // Distortion at the corner is what was asked for, and a third of a pixel at most.
    let corner = [0.0, 0.0];
    let sky = CameraParams::default().wcs(CENTRE, &Shot::default()).to_sky(corner);
    let plain = straight.wcs(CENTRE, &Shot::default()).to_pixel(sky).expect("in front");
    let moved = (plain[0] * plain[0] + plain[1] * plain[1]).sqrt();
    assert!((moved - 0.25).abs() < 0.01, "{moved}");
}

#[test]
fn a_star_gives_its_photons_at_its_place() {
    let (camera, shot) = even();
    for (offset, filter) in [([0.0, 0.0], Filter::R), ([-11.03, 7.77], Filter::U), ([30.21, -25.4], Filter::V)] {
        let shot = Shot { filter, cloud: 0.3, ..shot.clone() };
        let light = expose(&camera, &shot, &lonely(vec![star(offset, 15.0)])).expect("an image");
        let truth = &light.truth.sources[0];
        let magnitude = truth.magnitudes.of(filter);
        let budget = 20.0 * 10_f64.powf(0.4 * (filter.zero_point() - magnitude - filter.extinction() * 1.2 - 0.3));
        assert!((truth.electrons / budget - 1.0).abs() < 1e-12);
        let image = above_sky(&light);
        let (sum, _) = moments(&image, truth.pixel, 2000.0);
        assert!((sum / budget - 1.0).abs() < 1e-3, "{filter:?}: {sum} of {budget}");
        let (_, centroid) = moments(&image, truth.pixel, 25.0);
        for axis in [0, 1] {
            assert!((centroid[axis] - truth.pixel[axis]).abs() < 0.005, "{filter:?}: {centroid:?} {:?}", truth.pixel);
        }
    }
}

#[test]
fn a_star_has_the_moffat_profile_of_the_seeing() {
    let (camera, shot) = even();
    let light = expose(&camera, &shot, &lonely(vec![star([3.3, 4.4], 14.0)])).expect("an image");
    let (truth, image) = (&light.truth.sources[0], above_sky(&light));
    let fwhm = 0.9 * 1.2_f64.powf(0.6) * (617.0_f64 / 500.0).powf(-0.2) / 0.205;
    assert!((light.truth.fwhm / fwhm - 1.0).abs() < 1e-12);
    // Light within a radius of a Moffat profile of beta 3: 1 - (1 + r^2 / alpha^2)^-2.
    let alpha = fwhm / (2.0 * (2_f64.powf(1.0 / 3.0) - 1.0).sqrt());
    for radius in [6.0_f64, 12.0, 20.0, 30.0] {
        let (sum, _) = moments(&image, truth.pixel, radius);
        let expected = 1.0 - (1.0 + (radius / alpha).powi(2)).powi(-2);
        // The circle's ragged edge follows the pixels.
        let ragged = 3.0 * radius.sqrt() * 2.0 / (std::f64::consts::PI * alpha * alpha)
            * (1.0 + (radius / alpha).powi(2)).powi(-3);
        assert!((sum / truth.electrons - expected).abs() < ragged + 2e-5, "{radius}: {}", sum / truth.electrons);
    }
    // One pixel, by brute force.
    let [x, y] = [truth.pixel[0].round() + 2.0, truth.pixel[1].round() - 1.0];
    let mut pixel = 0.0;
    for sub in 0..10_000 {
        let [dx, dy] = [
            x - truth.pixel[0] + ((sub % 100) as f64 - 49.5) / 100.0,
            y - truth.pixel[1] + ((sub / 100) as f64 - 49.5) / 100.0,
        ];
        pixel +=
            2.0 / (std::f64::consts::PI * alpha * alpha) * (1.0 + (dx * dx + dy * dy) / alpha / alpha).powi(-3) / 1e4;
    }
    let drawn = image[(y as usize, x as usize)] / truth.electrons;
    assert!((drawn / pixel - 1.0).abs() < 2e-4, "{drawn} {pixel}");
}

#[test]
fn aberrations_and_bad_guiding_keep_light_and_place() {
    let (camera, shot) = even();
    let spread = [
        Shot { defocus: 3.0, ..shot.clone() },
        Shot { coma: 2.0, coma_angle: 30.0, ..shot.clone() },
        Shot { trail: 4.0, trail_angle: -60.0, ..shot.clone() },
        Shot { seeing: 3.0, ..shot.clone() },
        Shot { seeing: 0.35, airmass: 1.0, defocus: 1.0, coma: 1.0, trail: 1.0, ..shot.clone() },
    ];
    for shot in spread {
        let light = expose(&camera, &shot, &lonely(vec![star([1.03, 2.02], 14.0)])).expect("an image");
        let (truth, image) = (&light.truth.sources[0], above_sky(&light));
        let (sum, centroid) = moments(&image, truth.pixel, 400.0);
        assert!((sum / truth.electrons - 1.0).abs() < 1e-3, "{shot:?}: {}", sum / truth.electrons);
        assert!((centroid[0] - truth.pixel[0]).abs() < 0.02, "{shot:?}: {centroid:?}");
        assert!((centroid[1] - truth.pixel[1]).abs() < 0.02, "{shot:?}: {centroid:?}");
        let (core, _) = moments(&image, truth.pixel, 1.5 * 0.9 / 0.205);
        // Of the undisturbed star nine tenths are in there.
        assert!(core / sum < 0.88 || shot.seeing < 0.5, "{shot:?}: {}", core / sum);
    }
}

#[test]
fn a_donut_is_dark_in_its_middle_and_a_trail_is_long() {
    let (camera, shot) = even();
    let image = |shot: &Shot| {
        let light = expose(&camera, shot, &lonely(vec![star([0.0; 2], 13.0)])).expect("an image");
        (above_sky(&light), light.truth.sources[0].pixel)
    };
    let (donut, [x, y]) = image(&Shot { defocus: 5.0, seeing: 0.6, ..shot.clone() });
    let (x, y) = (x.round() as usize, y.round() as usize);
    assert!(donut[(y, x)] < 0.3 * donut[(y, x + 8)], "{} {}", donut[(y, x)], donut[(y, x + 8)]);
    let (trail, _) = image(&Shot { trail: 6.0, trail_angle: 90.0, ..shot });
    assert!(trail[(y + 10, x)] > 20.0 * trail[(y, x + 10)]);
}

#[test]
fn turning_the_rotator_by_a_right_angle_turns_the_image() {
    let params = FieldParams { target: Some(star([30.0, 10.0], 14.0)), stars: Some(20.0), ..FieldParams::default() };
    let field = Field::new(CENTRE, params, seeds()).expect("a field");
    let camera = CameraParams { reference: [511.5, 511.5], ..CameraParams::default() };
    let image = |shot: &Shot| expose(&camera, shot, &field).expect("an image").electrons;
    let (straight, turned) =
        (image(&Shot::default()), image(&Shot { rotator: 60.0, rotator_error: 30.0, ..Shot::default() }));
    let brightest = straight.iter().copied().fold(0.0, f32::max);
    assert!(brightest > 10_000.0);
    for ((y, x), electrons) in straight.indexed_iter() {
        // A quarter turn from x towards y.
        let there = turned[(x, SIDE - 1 - y)];
        assert!((electrons - there).abs() < 1e-5 * brightest, "({x}, {y}): {electrons} {there}");
    }
}

#[test]
fn light_is_linear_in_sources_and_time() {
    let (camera, shot) = even();
    let image = |objects, exptime| {
        above_sky(&expose(&camera, &Shot { exptime, ..shot.clone() }, &lonely(objects)).expect("an image"))
    };
    let (one, two) = (star([4.0, 5.0], 16.0), star([-3.0, 9.0], 15.0));
    let both = image(vec![one.clone(), two.clone()], 10.0);
    let sum = image(vec![one.clone()], 10.0) + image(vec![two], 10.0);
    let scale = both.iter().copied().fold(0.0, f64::max);
    assert!(both.iter().zip(&sum).all(|(both, sum)| (both - sum).abs() < 1e-6 * scale + 0.01));
    let (short, long) = (image(vec![one.clone()], 10.0), image(vec![one], 30.0));
    assert!(short.iter().zip(&long).all(|(short, long)| (3.0 * short - long).abs() < 1e-6 * scale + 0.03));
}

#[test]
fn a_moving_object_leaves_its_light_along_its_way() {
    let (camera, shot) = even();
    let moving = Object { rate: [-1800.0, 0.0], ..star([0.0; 2], 14.0) };
    let light = expose(&camera, &shot, &lonely(vec![moving])).expect("an image");
    let (truth, image) = (&light.truth.sources[0], above_sky(&light));
    let (sum, centroid) = moments(&image, truth.pixel, 300.0);
    assert!((sum / truth.electrons - 1.0).abs() < 1e-3);
    assert!((centroid[0] - truth.pixel[0]).abs() < 0.02 && (centroid[1] - truth.pixel[1]).abs() < 0.02);
    // Ten arcseconds: 49 pixels to the west, half of them on each side.
    let (x, y) = (truth.pixel[0].round() as usize, truth.pixel[1].round() as usize);
    let level = image[(y, x)];
    assert!((image[(y, x + 18)] / level - 1.0).abs() < 0.02 && (image[(y, x - 18)] / level - 1.0).abs() < 0.02);
    assert!(image[(y, x + 34)] < 0.1 * level);
    // One that is far outside in the middle of the exposure, and crosses the field at its end.
    let satellite = Object { rate: [0.0, 180_000.0], ..star([20.0, -400.0], 8.0) };
    let light = expose(&camera, &shot, &lonely(vec![satellite])).expect("an image");
    let column = above_sky(&light).slice(ndarray::s![600, ..]).to_vec();
    let brightest = (0..SIDE).max_by(|&a, &b| column[a].total_cmp(&column[b])).expect("columns");
    assert!(column[brightest] > 100.0 && brightest.abs_diff(414) < 2, "{brightest} {}", column[brightest]);
}

#[test]
fn a_galaxy_gives_its_light_where_and_how_it_should() {
    let (camera, shot) = even();
    for (half_light, index) in [(2.0, 1.0), (5.0, 1.0), (2.0, 4.0)] {
        let shape = Shape { half_light, axis_ratio: 0.4, position_angle: 90.0, index };
        let light = expose(&camera, &shot, &lonely(vec![Object { shape: Some(shape), ..star([5.0, 3.0], 14.0) }]));
        let light = light.expect("an image");
        let (truth, image) = (&light.truth.sources[0], above_sky(&light));
        let (sum, centroid) = moments(&image, truth.pixel, 500.0);
        assert!((sum / truth.electrons - 1.0).abs() < 1e-3, "{half_light} {index}: {}", sum / truth.electrons);
        assert!((centroid[0] - truth.pixel[0]).abs() < 0.02 && (centroid[1] - truth.pixel[1]).abs() < 0.02);
        // Longer axis to the east, which is along x.
        let (x, y) = (truth.pixel[0].round() as usize, truth.pixel[1].round() as usize);
        assert!(image[(y, x + 20)] > 2.0 * image[(y + 20, x)]);
    }
}

#[test]
fn the_sky_has_its_brightness_and_the_field_its_shape() {
    let camera = CameraParams::default();
    let light = expose(&camera, &Shot::default(), &lonely(vec![])).expect("an image");
    let expected = 20.0 * 0.205 * 0.205 * 10_f64.powf(0.4 * (26.4 - 21.2));
    assert!((light.truth.sky / expected - 1.0).abs() < 1e-12);
    let at = |x: usize, y: usize| f64::from(light.electrons[(y, x)]) / expected;
    assert!((at(511, 511) - 1.0).abs() < 1e-5);
    assert!((at(511 + 490, 511) - (1.0 - 0.05 * (490.0_f64 / 512.2).powi(2))).abs() < 2e-3, "{}", at(1001, 511));
    assert!(at(5, 5) < 0.01);
    let hole = CameraParams { hole: Some(Hole::default()), ..camera };
    let light = expose(&hole, &Shot::default(), &lonely(vec![])).expect("an image");
    assert_eq!(light.electrons[(502, 523)], 0.0);
    assert!(light.electrons[(502, 530)] > 0.9 * expected as f32);
}

#[test]
fn fringes_are_in_z_and_y_only_and_flats_are_flat() {
    let camera = CameraParams { field: 1000.0, roll_off: 0.0, ..CameraParams::default() };
    let contrast = |filter| {
        let light = expose(&camera, &Shot { filter, ..Shot::default() }, &lonely(vec![])).expect("an image");
        let relative = light.electrons.mapv(|electrons| f64::from(electrons) / light.truth.sky - 1.0);
        relative.iter().fold(0.0_f64, |most, value| most.max(value.abs()))
    };
    assert!(contrast(Filter::R) < 1e-6);
    assert!((contrast(Filter::Z) - 0.01).abs() < 1e-4);
    assert!((contrast(Filter::Y) - 0.03).abs() < 3e-4);

    let flat = twilight(&CameraParams::default(), &Twilight::default(), Filter::G, &seeds()).expect("a flat");
    assert!((f64::from(flat[(511, 511)]) / 25_000.0 - 1.0).abs() < 1e-4);
    // 5 per cent lower at the edge of the field, and brighter where the sky is.
    let (left, right) = (f64::from(flat[(511, 21)]), f64::from(flat[(511, 1001)]));
    assert!(((left + right) / 2.0 / 25_000.0 - 0.954).abs() < 0.002, "{left} {right}");
    assert!((right - left) / 25_000.0 > 0.007);
}

#[test]
fn visits_see_the_same_stars_and_other_places_others() {
    let names = |field: &Field, around| -> BTreeMap<String, Direction> {
        field.sources(around, 6.0).into_iter().map(|source| (source.name, source.direction)).collect()
    };
    let field = |centre, seeds| Field::new(centre, FieldParams::default(), seeds).expect("a field");
    let here = names(&field(CENTRE, seeds()), CENTRE);
    assert!(here.len() > 50);
    assert_eq!(here, names(&field(CENTRE, seeds()), CENTRE));
    // Five arcminutes away the overlap is the same, and the rest is not.
    let there = CENTRE.offset(300.0, 0.0);
    let overlap = names(&field(there, seeds()), there);
    let shared = here.iter().filter(|(_, direction)| distance(**direction, there) < 359.9);
    let mut number = 0;
    for (name, direction) in shared {
        assert_eq!(overlap.get(name), Some(direction));
        number += 1;
    }
    assert!(number > 10 && number < here.len());
    let elsewhere = Direction { ra: 10.0, ..CENTRE };
    assert!(names(&field(elsewhere, seeds()), elsewhere).keys().all(|name| !here.contains_key(name)));
    let mut other = seeds();
    other.effects.insert(Effect::Field, 6);
    assert_ne!(here, names(&field(CENTRE, other), CENTRE));
    let mut noise = seeds();
    noise.effects.insert(Effect::Photons, 6);
    assert_eq!(here, names(&field(CENTRE, noise), CENTRE));
}

#[test]
fn star_counts_follow_the_galactic_latitude() {
    // The pole, 20 degrees, and the plane near (l, b) = (300, 0).
    for (centre, low, high) in [
        (Direction { ra: 12.86, dec: -27.13 }, 4.0, 8.0),
        (Direction { ra: 289.0, dec: -35.0 }, 20.0, 40.0),
        (Direction { ra: 187.9, dec: -62.8 }, 280.0, 400.0),
    ] {
        let latitude = centre.galactic_latitude();
        let field =
            Field::new(centre, FieldParams { galaxies: false, faintest: 19.0, ..FieldParams::default() }, seeds());
        // A cone of 12 arcmin has 47 times the area of the round field.
        let number = field.expect("a field").sources(centre, 12.0).len() as f64 / 47.02;
        assert!(number > low && number < high, "latitude {latitude}: {number}");
    }
}

#[test]
fn cells_cover_the_sky_once_even_at_the_poles_and_at_ra_zero() {
    for centre in
        [Direction { ra: 0.0, dec: 0.05 }, Direction { ra: 77.0, dec: -90.0 }, Direction { ra: 359.97, dec: 89.97 }]
    {
        let params = FieldParams { stars: Some(200.0), galaxies: false, faintest: 19.0, ..FieldParams::default() };
        let sources = Field::new(centre, params, seeds()).expect("a field").sources(centre, 6.0);
        let names: std::collections::BTreeSet<&String> = sources.iter().map(|source| &source.name).collect();
        assert_eq!(names.len(), sources.len());
        let expected = 200.0 / 9.62 * std::f64::consts::PI * 36.0;
        assert!((sources.len() as f64 / expected - 1.0).abs() < 0.08, "{centre:?}: {}", sources.len());
        // All around.
        for quarter in 0..4 {
            let count = sources.iter().filter(|source| {
                let [x, y] = source.direction.seen_from(centre).expect("near");
                (y.atan2(x) / std::f64::consts::FRAC_PI_2).floor().rem_euclid(4.0) as usize == quarter
            });
            assert!((count.count() as f64 / expected * 4.0 - 1.0).abs() < 0.15);
        }
    }
}

#[test]
fn proper_motion_moves_stars_from_the_catalogues_epoch() {
    let (camera, shot) = even();
    let fast = Object { proper_motion: [500.0, -300.0], ..star([0.0; 2], 15.0) };
    let at = |epoch: f64| {
        let light = expose(&camera, &Shot { epoch, ..shot.clone() }, &lonely(vec![fast.clone()])).expect("an image");
        light.truth.sources[0].pixel
    };
    let (then, now) = (at(CATALOGUE_EPOCH), at(CATALOGUE_EPOCH + 10.0));
    // 5 arcsec to the east is to the left.
    assert!((now[0] - then[0] + 5.0 / 0.205).abs() < 0.01, "{then:?} {now:?}");
    assert!((now[1] - then[1] + 3.0 / 0.205).abs() < 0.01, "{then:?} {now:?}");
}

#[test]
fn aperture_photometry_of_the_truth_gives_the_zero_point() {
    let objects = vec![star([40.0, 5.0], 14.0), star([-35.0, 30.0], 15.5), star([10.0, -50.0], 16.5)];
    let params = FieldParams { objects, stars: Some(1.0), galaxies: false, ..FieldParams::default() };
    let field = Field::new(CENTRE, params, seeds()).expect("a field");
    let shot = Shot { cloud: 0.4, ..Shot::default() };
    let light = expose(&CameraParams::default(), &shot, &field).expect("an image");
    let image = light.electrons.mapv(f64::from);
    let radius = 6.0 * light.truth.fwhm;
    let alpha = light.truth.fwhm / 1.019_7;
    let captured = 1.0 - (1.0 + (radius / alpha).powi(2)).powi(-2);
    let mut zero_points = Vec::new();
    for source in light.truth.sources.iter().filter(|source| source.magnitudes.r < 18.0 && source.illumination > 0.9) {
        let neighbours = light.truth.sources.iter().filter(|other| {
            let [x, y] = [other.pixel[0] - source.pixel[0], other.pixel[1] - source.pixel[1]];
            (x * x + y * y).sqrt() < 3.0 * radius && other.magnitudes.r < source.magnitudes.r + 5.0
        });
        if neighbours.count() > 1 {
            continue;
        }
        let mut sum = 0.0;
        for ((y, x), electrons) in image.indexed_iter() {
            let (dx, dy) = (x as f64 - source.pixel[0], y as f64 - source.pixel[1]);
            if dx * dx + dy * dy <= radius * radius {
                sum += electrons / illumination::illumination(&CameraParams::default(), x as f64, y as f64)
                    - light.truth.sky;
            }
        }
        zero_points.push(source.magnitudes.r + 2.5 * (sum / captured / shot.exptime).log10());
    }
    assert!(zero_points.len() >= 3, "{zero_points:?}");
    for zero_point in &zero_points {
        let expected = 26.4 - 0.09 * 1.2 - 0.4;
        assert!((zero_point - expected).abs() < 0.02, "{zero_points:?}");
        assert!((light.truth.zero_point - expected).abs() < 1e-12);
    }
}

#[test]
fn the_extract_reads_back_as_the_stars_that_are_there() {
    let known = Object {
        name: "fast, \"red\"".to_string(),
        teff: 3550.0,
        proper_motion: [-250.0, 130.0],
        catalogued: true,
        ..star([100.0, -50.0], 14.0)
    };
    let params = FieldParams { target: Some(star([0.0; 2], 15.0)), objects: vec![known], ..FieldParams::default() };
    // Near the corner of four files.
    let centre = Direction { ra: 30.02, dec: -0.01 };
    let field = Field::new(centre, params, seeds()).expect("a field");
    let files = extract(&field, 6.0);
    assert_eq!(files, extract(&field, 6.0));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["029+00.rc2", "029-01.rc2", "030+00.rc2", "030-01.rc2"]);

    let mut sources = field.sources(centre, 6.0);
    sources.retain(|source| source.catalogued && source.magnitudes.r <= 19.5);
    let rows: Vec<(&String, &String)> =
        files.iter().flat_map(|(file, rows)| rows.iter().map(move |row| (file, row))).collect();
    assert_eq!(rows.len(), sources.len());
    let mut pulls = Vec::new();
    for (file, row) in rows {
        let columns: Vec<&str> = row.split(',').collect();
        assert_eq!(columns.len(), 44);
        let hexadecimal = [24, 28, 32, 36];
        for (index, column) in columns.iter().enumerate() {
            if hexadecimal.contains(&index) {
                assert!(u32::from_str_radix(column, 16).is_ok_and(|bits| bits > 0) && column.len() == 2, "{column}");
            } else {
                assert!(column.parse::<i64>().is_ok(), "column {index}: {column}");
            }
        }
        let number = |index: usize| columns[index].parse::<f64>().expect("a number");
        let (ra, dec) = (number(0) / 1e8, number(1) / 1e8);
        assert_eq!(*file, format!("{:03}{:+03}.rc2", ra.floor(), dec.floor()));
        let near =
            |source: &&Source| (source.direction.ra - ra).abs() < 6e-9 && (source.direction.dec - dec).abs() < 6e-9;
        let source = sources.iter().find(near).expect("a star there");
        let m = &source.magnitudes;
        for (value, error, truth) in [
            (4, 5, source.proper_motion[0] * 100.0),
            (6, 7, source.proper_motion[1] * 100.0),
            (21, 22, m.g * 1000.0),
            (25, 26, m.r * 1000.0),
            (29, 30, m.i * 1000.0),
            (33, 34, m.z * 1000.0),
            (38, 39, m.j * 1000.0),
            (40, 41, m.h * 1000.0),
            (42, 43, m.k * 1000.0),
        ] {
            if number(value) == 0.0 {
                assert!(value >= 38 && number(error) == 0.0, "only faint stars lack J, H, K");
                continue;
            }
            pulls.push((number(value) - truth) / number(error));
        }
        assert!((number(14) - source.teff).abs() <= 0.5);
        assert!(number(18) <= number(19) && number(19) <= number(20) && number(20) <= 999.0);
    }
    assert!(pulls.iter().all(|pull| pull.abs() < 5.0));
    let rms = (pulls.iter().map(|pull| pull * pull).sum::<f64>() / pulls.len() as f64).sqrt();
    assert!((rms - 1.0).abs() < 0.1, "{rms}");
}

#[test]
fn neighbours_set_the_isolation_radii() {
    // 1 magnitude fainter at 4 arcsec, as bright at 10, 3 magnitudes brighter at 20.
    let objects = [([0.0, 0.0], 15.0), ([4.0, 0.0], 16.0), ([0.0, 10.0], 15.0), ([-20.0, 0.0], 12.0)];
    let known = |(offset, magnitude)| Object { catalogued: true, ..star(offset, magnitude) };
    let files = extract(&lonely(objects.map(known).to_vec()), 6.0);
    let row = files.values().flatten().find(|row| row.starts_with("15010000000,-230000000,")).expect("the first star");
    let radii: Vec<&str> = row.split(',').skip(18).take(3).collect();
    assert_eq!(radii, ["40", "100", "200"]);
}

#[test]
fn the_table_of_sources_has_all_of_them_at_full_precision() {
    let named = Object { name: "a, \"b\"".to_string(), ..star([1.0, 2.0], 15.0) };
    let light = expose(&CameraParams::default(), &Shot::default(), &lonely(vec![named])).expect("an image");
    let table = light.truth.csv();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].len(), rows[1].len());
    let column = rows[0].iter().position(|name| *name == "electrons").expect("a column");
    assert_eq!(rows[1][column].parse::<f64>(), Ok(light.truth.sources[0].electrons));
}

#[test]
fn any_number_of_threads_draws_the_same_image() {
    let params = FieldParams { stars: Some(60.0), target: Some(star([0.0; 2], 6.0)), ..FieldParams::default() };
    let field = Field::new(CENTRE, params, seeds()).expect("a field");
    let shot = Shot { filter: Filter::Z, defocus: 1.5, trail: 1.0, ..Shot::default() };
    let draw = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| expose(&CameraParams::default(), &shot, &field).expect("an image"))
    };
    let (one, eight) = (draw(1), draw(8));
    assert!(one.electrons.iter().zip(&eight.electrons).all(|(a, b)| a.to_bits() == b.to_bits()));
    assert_eq!(one.truth, eight.truth);
}

#[test]
fn impossible_figures_are_refused_with_their_name() {
    let refused =
        |camera: CameraParams, shot: Shot| expose(&camera, &shot, &lonely(vec![])).expect_err("impossible").to_string();
    let camera = CameraParams::default;
    assert_eq!(
        refused(camera(), Shot { exptime: f64::NAN, ..Shot::default() }),
        "shot: exptime is NaN, expected 0 to 86400"
    );
    assert!(refused(camera(), Shot { airmass: 0.0, ..Shot::default() }).starts_with("shot: airmass is 0,"));
    assert!(refused(CameraParams { scale: 0.0, ..camera() }, Shot::default()).starts_with("camera: scale is 0,"));
    let dec = Field::new(Direction { ra: 1.0, dec: 91.0 }, FieldParams::default(), seeds()).expect_err("no such place");
    assert!(dec.to_string().starts_with("field: dec is 91,"));
    let target = |object| {
        let params = FieldParams { target: Some(object), ..FieldParams::default() };
        Field::new(CENTRE, params, seeds()).expect_err("no such object").to_string()
    };
    assert!(target(star([0.0; 2], f64::INFINITY)).starts_with("object \"target\": magnitude is inf,"));
    let moving = Object { rate: [1.0, 0.0], shape: Some(Shape::default()), ..Object::default() };
    assert!(target(moving).starts_with("object \"target\" has a shape and a rate"));
    let fast = lonely(vec![Object { rate: [1e6, 0.0], ..Object::default() }]);
    let error = expose(&camera(), &Shot { exptime: 600.0, ..Shot::default() }, &fast).expect_err("too far");
    assert!(error.to_string().contains("way during the exposure"), "{error}");
}

#[test]
fn a_plan_names_only_what_differs() {
    let shot: Shot = toml::from_str("filter = \"V\"\nexptime = 5.0\npointing_error = [60.0, -100.0]").expect("a shot");
    assert_eq!(shot, Shot { filter: Filter::V, exptime: 5.0, pointing_error: [60.0, -100.0], ..Shot::default() });
    let field: FieldParams =
        toml::from_str("stars = 500\n[target]\nmagnitude = 18.2\n[target.magnitudes]\ng = 19.5").expect("a field");
    assert_eq!(field.target.expect("a target").magnitudes, BTreeMap::from([(Filter::G, 19.5)]));
    assert!(toml::from_str::<CameraParams>("scales = 0.2").is_err());
}
