//! Which kind a frame is: the first of the table whose conditions hold.

use super::rules::{Kind, PLACEHOLDERS, Rules, applies, canonical};
use crate::fits::Header;
use crate::instrument::{Arm, Usage};

/// What the kinds ask about.
pub(super) struct Facts<'a> {
    pub arm: Arm,
    pub catg: &'a str,
    pub dpr_type: &'a str,
    pub tech: &'a str,
    pub slit: &'a str,
    pub lamps: &'a [&'a str],
    pub lamp: &'a str,
    pub header: &'a Header,
}

/// What follows for a frame.
pub(super) struct KindVerdict {
    pub kind: String,
    pub usage: Usage,
    pub recipe: Option<String>,
    pub reason: String,
}

impl Facts<'_> {
    /// The first kind that fits, or what becomes of the rest.
    pub fn verdict(&self, rules: &Rules) -> KindVerdict {
        match rules.kinds.iter().find(|kind| self.fits(kind, rules)) {
            Some(kind) => KindVerdict {
                kind: kind.name.get_ref().clone(),
                usage: kind.usage,
                recipe: kind.recipe.clone(),
                reason: self.fill(&kind.reason),
            },
            None => KindVerdict {
                kind: rules.otherwise.name.clone(),
                usage: Usage::Ignore,
                recipe: None,
                reason: self.fill(&rules.otherwise.reason),
            },
        }
    }

    fn fits(&self, kind: &Kind, rules: &Rules) -> bool {
        let is_one_of = |allowed: &Option<Vec<String>>, found: &str| {
            allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|value| value == found))
        };
        kind.arms.as_ref().is_none_or(|arms| arms.contains(&self.arm))
            && is_one_of(&kind.catg, self.catg)
            && is_one_of(&kind.dpr_type, self.dpr_type)
            && is_one_of(&kind.tech, self.tech)
            && is_one_of(&kind.slit, self.slit)
            && is_one_of(&kind.lamp, self.lamp)
            && kind
                .lamp_lacks
                .as_ref()
                .is_none_or(|lacks| !lacks.iter().any(|lamp| self.lamps.contains(&lamp.as_str())))
            && kind.mark.as_ref().is_none_or(|mark| self.is_marked(mark, rules))
    }

    fn is_marked(&self, name: &str, rules: &Rules) -> bool {
        rules.marks.iter().filter(|mark| mark.name == name && applies(&mark.arms, self.arm)).any(|mark| {
            let values = mark.keywords.iter().filter_map(|keyword| self.header.get(keyword));
            values.into_iter().any(|value| canonical(&value.to_string()).contains(&mark.contains))
        })
    }

    /// The reason with its placeholders filled in, in one pass so that a header cannot smuggle in a placeholder.
    fn fill(&self, reason: &str) -> String {
        let or_none = |text: &str| if text.is_empty() { "none".to_string() } else { text.to_string() };
        let values = [
            self.arm.to_string(),
            or_none(self.catg),
            or_none(self.dpr_type),
            or_none(self.tech),
            or_none(self.slit),
            or_none(self.lamp),
        ];
        let mut filled = String::new();
        let mut rest = reason;
        while let Some(open) = rest.find('{') {
            let (before, tail) = rest.split_at(open);
            filled.push_str(before);
            let matched = PLACEHOLDERS.iter().zip(&values).find(|(placeholder, _)| tail.starts_with(**placeholder));
            let Some((placeholder, value)) = matched else {
                // Refused when the rules are read.
                rest = tail;
                break;
            };
            filled.push_str(value);
            rest = tail.get(placeholder.len()..).unwrap_or("");
        }
        filled.push_str(rest);
        filled
    }
}
