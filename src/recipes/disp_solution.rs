//! First dispersion solution: where each wavelength falls, from an arc through a single pinhole.

use super::arc::{self, ArcParameters, ArcRules};
use super::contract::{Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::pages;
use crate::instrument::format::SpectralFormat;
use crate::instrument::{Arm, FrameMeta};
use crate::reduction::geometry::fit::Ties;
use crate::reduction::geometry::guess;

const NAME: &str = "disp_solution";
const TECH: &str = "ECHELLE,PINHOLE";
const RULES: ArcRules = ArcRules { recipe: NAME, tech: TECH };

/// The recipe `disp_solution`.
#[derive(Clone, Copy, Debug)]
pub struct DispersionSolution;

impl Recipe for DispersionSolution {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
        ArcParameters::read(NAME, parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        self.check_parameters(parameters)?;
        arc::check(frames, RULES).map(|_| ())
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        arc::peak_bytes(frames)
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        let parameters = ArcParameters::read(NAME, parameters)?;
        let frame = arc::prepare(&input, RULES)?;
        let published = guess::published(SpectralFormat::of(frame.arm));
        // the few lines of an order help each other in an echelle; the VIS channels share nothing
        let ties = if frame.arm == Arm::Nir { Ties::Echelle } else { Ties::Independent };
        let solved = arc::solve_arc(
            NAME,
            &frame,
            true,
            &published,
            &published,
            &parameters.options(ties, 0, arc::FROM_PUBLISHED),
        )?;
        let tables = solved.tables(RULES, frame.frames)?;
        let pages = vec![pages::arc::single(&frame, &solved.solution.fit.map, &tables)];
        let mut remarks = frame.remarks;
        remarks.extend(solved.remarks());
        Ok(RecipeOutput { tables, qc: solved.qc(), remarks, pages, ..RecipeOutput::default() })
    }
}
