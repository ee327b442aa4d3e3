//! Which read modes and binnings the detectors have, and where a raw image holds what.
//!
//! Figures are those of the instrument's pages where published; the rest (gains of the read modes 3 and 4, read-out times)
//! is assumed and only has to be plausible.

use super::sizes::Sizes;
use crate::instrument::{Arm, Binning};

/// A read mode of the CCD.
struct ReadMode {
    id: u8,
    name: &'static str,
    /// Electrons per ADU.
    gain: f64,
    /// Electrons.
    ron: f64,
    /// Seconds for the unbinned window.
    readout: f64,
}

/// Slow and fast, high and low gain.
const VIS_MODES: [ReadMode; 4] = [
    ReadMode { id: 1, name: "1pt_100k_hg", gain: 0.6, ron: 2.8, readout: 60.0 },
    ReadMode { id: 2, name: "1pt_400k_lg", gain: 2.0, ron: 7.0, readout: 20.0 },
    ReadMode { id: 3, name: "1pt_100k_lg", gain: 1.12, ron: 3.8, readout: 60.0 },
    ReadMode { id: 4, name: "1pt_400k_hg", gain: 0.9, ron: 5.5, readout: 20.0 },
];

const VIS_BINNINGS: [(usize, usize); 3] = [(1, 1), (2, 1), (2, 2)];
/// Unbinned columns of prescan, and as many of overscan.
pub(super) const VIS_PRESCAN: usize = 50;
/// Reference pixels on each side: they see the electronics, not the sky.
const NIR_BORDER: usize = 4;
/// Read noise of ramps, electrons: up to 10 s, then falling with the number of reads, down to that of long ramps.
const NIR_RON: (f64, f64, f64) = (15.0, 10.0, 7.3);

/// A detector in one setup.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// Which detector.
    pub arm: Arm,
    /// `ESO DET READ CURID`.
    pub mode: u8,
    /// `ESO DET READ CURNAME`.
    pub mode_name: &'static str,
    /// Pixels that are summed on the chip.
    pub binning: Binning,
    /// Electrons per ADU.
    pub gain: f64,
    /// Electrons.
    pub ron: f64,
    /// Seconds from the end of an exposure to the start of the next.
    pub readout: f64,
}

impl Camera {
    /// The camera of an arm in a read mode (not used for ACQ) and binning; `exptime` in seconds, since the read noise of
    /// infrared ramps depends on it. The error says what does not exist, and what does.
    pub fn new(arm: Arm, mode: u8, binning: Binning, exptime: f64) -> Result<Camera, String> {
        let Binning { x, y } = binning;
        if arm != Arm::Vis && (x, y) != (1, 1) {
            return Err(format!("binning {x}x{y}, only VIS bins"));
        }
        let camera = |mode_name, gain, ron, readout| Camera { arm, mode, mode_name, binning, gain, ron, readout };
        match arm {
            Arm::Vis => {
                if !VIS_BINNINGS.contains(&(x, y)) {
                    return Err(format!("binning {x}x{y}, expected 1x1, 2x1 or 2x2"));
                }
                let found = VIS_MODES.iter().find(|known| known.id == mode);
                let known = found.ok_or_else(|| format!("read mode {mode}, expected 1 to 4"))?;
                Ok(camera(known.name, known.gain, known.ron, known.readout / (x * y) as f64))
            }
            // Long ramps have many reads, which average the noise down.
            Arm::Nir if mode == 3 => {
                let (short, until, long) = NIR_RON;
                Ok(camera("UpTheRamp", 2.3, (short * (until / exptime.max(until)).sqrt()).max(long), 10.0))
            }
            Arm::Nir => Err(format!("read mode {mode}, expected 3")),
            Arm::Acq => Ok(camera("Normal", 1.0, 2.9, 2.0)),
        }
    }

    /// Raw image as (rows, columns).
    pub fn shape(&self) -> (usize, usize) {
        let (rows, columns) = self.area();
        match self.arm {
            Arm::Vis => (rows / self.binning.y, (columns + 2 * VIS_PRESCAN) / self.binning.x),
            Arm::Nir => (rows + 2 * NIR_BORDER, columns + 2 * NIR_BORDER),
            Arm::Acq => (rows, columns),
        }
    }

    /// Rows and columns of the exposed area, unbinned: the shape of the light that falls on the detector.
    pub fn area(&self) -> (usize, usize) {
        Sizes::of(self.arm).area
    }

    /// Rows and columns of the area that sees light, as half-open ranges of the raw image.
    pub fn science(&self) -> ((usize, usize), (usize, usize)) {
        let (rows, columns) = self.shape();
        let (row, column) = self.margins();
        ((row, rows - row), (column, columns - column))
    }

    /// Raw rows below, and raw columns left of the area that sees light.
    pub(super) fn margins(&self) -> (usize, usize) {
        match self.arm {
            Arm::Vis => (0, VIS_PRESCAN / self.binning.x),
            Arm::Nir => (NIR_BORDER, NIR_BORDER),
            Arm::Acq => (0, 0),
        }
    }

    /// Where a pixel of the exposed, unbinned area ends up: row and column of the raw image.
    pub(super) fn raw(&self, row: usize, column: usize) -> (usize, usize) {
        let (below, left) = self.margins();
        (below + row / self.binning.y, left + column / self.binning.x)
    }
}
