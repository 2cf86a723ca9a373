//! What a form needs to know of a template.

use std::collections::BTreeMap;

use serde_json::Number;

use super::{Kind, Param, Template};
use crate::protocol::template::{ParamRecord, ParamType, TemplateRecord};

impl Template {
    /// As peers see it.
    pub fn record(&self) -> TemplateRecord {
        let Self { name, description, base: _, params } = self;
        TemplateRecord { name: name.clone(), description: description.clone(), params: records(params) }
    }
}

fn records(params: &BTreeMap<String, Param>) -> Vec<ParamRecord> {
    params.iter().map(|(name, param)| record(name, param)).collect()
}

fn record(name: &str, param: &Param) -> ParamRecord {
    let Param { kind, default, env: _, description } = param;
    let plain = ParamRecord {
        name: name.to_owned(),
        r#type: ParamType::Boolean,
        required: default.is_none(),
        default: default.clone(),
        description: description.clone(),
        min: None,
        max: None,
        max_length: None,
        choices: None,
    };
    // A bound that is no bound is not said.
    let bound = |bound: Option<f64>| bound.and_then(Number::from_f64);
    match kind {
        Kind::Text { most } => ParamRecord { r#type: ParamType::String, max_length: Some(*most), ..plain },
        Kind::Integer { min, max } => ParamRecord {
            r#type: ParamType::Integer,
            min: (*min != i64::MIN).then(|| (*min).into()),
            max: (*max != i64::MAX).then(|| (*max).into()),
            ..plain
        },
        Kind::Number { min, max } => {
            ParamRecord { r#type: ParamType::Number, min: bound(*min), max: bound(*max), ..plain }
        }
        Kind::Boolean => plain,
        Kind::Choice(choices) => ParamRecord { r#type: ParamType::Choice, choices: Some(choices.clone()), ..plain },
    }
}
