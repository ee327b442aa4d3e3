//! The data product cards and the template of each kind of frame.

use crate::instrument::Arm;
use crate::simulator::kind::FrameKind;
use crate::simulator::night::TemplatePlan;

/// How the header of a kind differs from others.
pub(super) struct Kind {
    pub catg: &'static str,
    pub dpr_type: &'static str,
    pub tech: &'static str,
    /// Template id; `{arm}` stands for the arm.
    template: &'static str,
}

impl Kind {
    /// `ESO TPL ID` of a template of this kind.
    pub fn template_id(&self, template: &TemplatePlan) -> String {
        let id = match (template.arm, template.kind) {
            (Arm::Acq, FrameKind::Bias) => "SOXS_img_cal_Bias",
            (Arm::Acq, FrameKind::Dark) => "SOXS_img_cal_Dark",
            _ => self.template,
        };
        let attenuated = if template.attenuated { "Att" } else { "" };
        format!("{}{attenuated}", id.replace("{arm}", template.arm.as_str()))
    }
}

/// The row of a template; `kind` differs from the template's for its lamp-off partners.
pub(super) fn of(template: &TemplatePlan, kind: FrameKind) -> Kind {
    let row = |catg, dpr_type, tech, template| Kind { catg, dpr_type, tech, template };
    let cal = |dpr_type, tech, template| row("CALIB", dpr_type, tech, template);
    let object = if template.asynchronous { "OBJECT,ASYNC" } else { "OBJECT" };
    let partner_of = if kind == FrameKind::LampOff { template.kind } else { kind };
    use FrameKind as K;
    let told = match partner_of {
        K::Bias => cal("BIAS", "IMAGE", "SOXS_gen_cal_{arm}Bias"),
        K::Dark => cal("DARK", "IMAGE", "SOXS_gen_cal_{arm}Dark"),
        K::PinholeArc => cal("LAMP,WAVE", "ECHELLE,PINHOLE", "SOXS_slt_cal_{arm}ArcsPinhole"),
        K::PinholeFlat => cal("LAMP,FLAT", "ECHELLE,PINHOLE", "SOXS_slt_cal_{arm}LampFlatPinhole"),
        K::SlitFlat | K::LampOff => cal("LAMP,FLAT", "ECHELLE,SLIT", "SOXS_slt_cal_{arm}LampFlat"),
        K::DeuteriumFlat => cal("LAMP,DFLAT", "ECHELLE,SLIT", "SOXS_slt_cal_{arm}LampFlat"),
        K::MultiPinholeArc => cal("LAMP,WAVE", "ECHELLE,MULTI-PINHOLE", "SOXS_slt_cal_{arm}ArcsMultiplePinhole"),
        K::SlitArc => cal("LAMP,WAVE", "ECHELLE,SLIT", "SOXS_slt_cal_{arm}Arcs"),
        K::StandardStare => cal("STD,FLUX", "ECHELLE,SLIT,STARE", "SOXS_slt_cal_SpecphotStdStare"),
        K::StandardNod => cal("STD,FLUX", "ECHELLE,SLIT,NODDING", "SOXS_slt_cal_SpecphotNod"),
        K::TelluricStare => cal("STD,TELLURIC", "ECHELLE,SLIT,STARE", "SOXS_slt_cal_TelluricStdStare"),
        K::TelluricNod => cal("STD,TELLURIC", "ECHELLE,SLIT,NODDING", "SOXS_slt_cal_TelluricStdNod"),
        K::ObjectStare => row("SCIENCE", object, "ECHELLE,SLIT,STARE", "SOXS_slt_obs_StareSynchro"),
        K::ObjectNod => row("SCIENCE", object, "ECHELLE,SLIT,NODDING", "SOXS_slt_obs_AutoNodOnSlit"),
        K::ObjectOffset => row("SCIENCE", object, "ECHELLE,SLIT,OFFSET", "SOXS_slt_obs_AutoOffsetOnSlit"),
        K::Acquisition => row("ACQUISITION", object, "IMAGE", "SOXS_img_acq"),
        K::TwilightFlat => cal("FLAT,SKY", "IMAGE", "SOXS_img_cal_Flat"),
        K::Imaging => row("SCIENCE", object, "IMAGE", "SOXS_img_obs"),
    };
    // A partner without light shows no spectrum: the technique says so, and nothing else does.
    Kind { tech: if kind == FrameKind::LampOff { "IMAGE" } else { told.tech }, ..told }
}

/// The slit or mask in the beam; empty for the camera.
pub(in crate::simulator) fn slit_of(template: &TemplatePlan) -> &str {
    match template.kind {
        _ if template.arm == Arm::Acq => "",
        FrameKind::Bias | FrameKind::Dark => "BLANK",
        FrameKind::PinholeArc | FrameKind::PinholeFlat => "PINHOLE",
        FrameKind::MultiPinholeArc => "MULTPIN",
        _ => &template.slit,
    }
}
