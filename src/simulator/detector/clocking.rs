//! From the exposed area to the raw image: transfer of the charge with what stays behind, and summation on the chip.

use ndarray::Array2;

use super::effects::Effects;
use super::setup::Camera;
use super::sizes::Sizes;
use super::wells::full_well;

/// The charge of one exposure on its way to the amplifier.
pub(super) struct Register<'a> {
    camera: &'a Camera,
    charge: &'a Array2<f32>,
    parallel: f64,
    serial: f64,
    /// Electrons from which a pixel counts as full.
    full: f32,
}

impl<'a> Register<'a> {
    pub fn new(camera: &'a Camera, charge: &'a Array2<f32>, effects: &Effects) -> Register<'a> {
        let sizes = Sizes::of(camera.arm);
        Register {
            camera,
            charge,
            // No strength may leave more than half of the charge behind over the whole way.
            parallel: (sizes.cti.0 * effects.cti).min(1.0e-4),
            serial: (sizes.cti.1 * effects.cti).min(5.0e-4),
            full: full_well(sizes, effects) as f32,
        }
    }

    /// Electrons of one row of the raw image. Calls `full` for the columns in which a pixel's well is full.
    ///
    /// To first order a packet loses a share of itself at each transfer to the one behind: after `n` transfers the
    /// share is `n` x the inefficiency, and it is found one row or column later.
    pub fn row(&self, row: usize, mut full: impl FnMut(usize)) -> Vec<f64> {
        let (_, columns) = self.camera.shape();
        let mut electrons = vec![0.0; columns];
        let ((first, end), _) = self.camera.science();
        if row < first || row >= end {
            return electrons;
        }
        let (_, left) = self.camera.margins();
        let (bin_x, bin_y) = (self.camera.binning.x, self.camera.binning.y);
        let prescan = left * bin_x;
        for y in (row - first) * bin_y..(row - first + 1) * bin_y {
            let here = self.charge.row(y);
            let before = y.checked_sub(1).map(|before| self.charge.row(before));
            let (loses, gains) = (self.parallel * (y + 1) as f64, self.parallel * y as f64);
            let mut trail = 0.0;
            for (x, &charge) in here.iter().enumerate() {
                let at = left + x / bin_x;
                if charge >= self.full {
                    full(at);
                }
                let followed = before.as_ref().map_or(0.0, |before| f64::from(before[x]));
                let packet = f64::from(charge) * (1.0 - loses) + followed * gains;
                let stays = packet * self.serial * (prescan + x + 1) as f64;
                electrons[at] += packet - stays + trail;
                trail = stays;
            }
            // What stays behind the last exposed column is read in the first of the overscan, where there is one.
            if let Some(overscan) = electrons.get_mut(left + here.len() / bin_x) {
                *overscan += trail;
            }
        }
        electrons
    }
}
