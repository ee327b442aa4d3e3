//! Faults of the header that its cards can carry. What FITS forbids outright (NaN, bytes outside ASCII) is done to the
//! bytes of the file.

use super::Fault;
use crate::fits::Header;
use crate::instrument::Arm;
use crate::simulator::plan::Lamp;

const CONAD: &str = "ESO DET OUT1 CONAD";
const GAIN: &str = "ESO DET OUT1 GAIN";

/// Change the cards as the fault says. Faults of another level change nothing here.
pub(in crate::simulator) fn apply(fault: &Fault, header: &mut Header, arm: Arm) {
    match fault {
        Fault::KeywordMissing { keyword } => header.remove(keyword),
        Fault::WrongValue { keyword, value } => header.set(keyword, value.clone(), ""),
        Fault::WrongArm => {
            let other = if arm == Arm::Vis { Arm::Nir } else { Arm::Vis };
            header.set("ESO SEQ ARM", other.as_str(), "");
        }
        Fault::WrongLamp { lamp } => {
            for lit in Lamp::ALL {
                header.remove(&format!("ESO INS {} NAME", lit.keyword()));
                header.remove(&format!("ESO INS {} ST", lit.keyword()));
            }
            header.set(&format!("ESO INS {} NAME", lamp.keyword()), lamp.label(), "");
            header.set(&format!("ESO INS {} ST", lamp.keyword()), true, "");
        }
        Fault::WrongSlit { slit } => {
            let keyword = if arm == Arm::Vis { "ESO INS VISE NAME" } else { "ESO INS NISE NAME" };
            header.set(keyword, slit.as_str(), "");
        }
        Fault::SwappedGain => {
            if let (Some(conad), Some(gain)) = (header.get(CONAD).cloned(), header.get(GAIN).cloned()) {
                header.set(CONAD, gain, "");
                header.set(GAIN, conad, "");
            }
        }
        _ => {}
    }
}
