//! What templates take, what they refuse, and what comes of them.

use serde_json::json;

use super::*;
use crate::model::Program;

fn param(kind: Kind, default: Option<Value>) -> Param {
    Param { kind, default, env: None, description: None }
}

fn args(args: &[&str]) -> wire::JobSpec {
    wire::JobSpec { args: Some(args.iter().map(ToString::to_string).collect()), ..wire::JobSpec::default() }
}

fn render() -> Template {
    let params = [
        ("width".to_owned(), param(Kind::Integer { min: 1, max: 4096 }, Some(json!(800)))),
        ("x".to_owned(), param(Kind::Number { min: Some(-2.0), max: Some(2.0) }, Some(json!(-0.5)))),
        ("title".to_owned(), Param { env: Some("TITLE".to_owned()), ..param(Kind::Text { most: 20 }, None) }),
        ("smooth".to_owned(), param(Kind::Boolean, Some(json!(true)))),
        ("palette".to_owned(), param(Kind::Choice(vec!["fire".into(), "ice".into()]), Some(json!("fire")))),
    ];
    let base = wire::JobSpec {
        env: [("LEVEL".to_owned(), "1".to_owned())].into(),
        artifacts: vec!["out.png".to_owned()],
        timeout_secs: Some(60.0),
        ..args(&["render", "--width={width}", "{title}", "{{x}}={x}"])
    };
    Template::new("render", base, params.into()).unwrap()
}

fn with(params: Value) -> wire::JobSpec {
    let params = serde_json::from_value(params).unwrap();
    wire::JobSpec { template: Some("render".to_owned()), params, ..wire::JobSpec::default() }
}

#[test]
fn values_become_arguments_and_variables() {
    let hostile = "$(id); \"'{x}";
    let spec = render().fill(with(json!({"width": 640, "title": hostile, "smooth": false}))).unwrap();
    let Program::Args(args) = &spec.program else { panic!("{:?}", spec.program) };
    assert_eq!(args, &["render", "--width=640", hostile, "{x}=-0.5"]);
    let env = |name: &str| spec.env[name].as_str();
    assert_eq!((env("GANGLINE_PARAM_WIDTH"), env("TITLE"), env("LEVEL")), ("640", hostile, "1"));
    assert_eq!((env("GANGLINE_PARAM_SMOOTH"), env("GANGLINE_PARAM_PALETTE")), ("false", "fire"));
    assert_eq!((spec.timeout_ms, spec.artifacts.as_slice()), (Some(60_000), &["out.png".to_owned()][..]));
}

#[test]
fn a_wrong_parameter_is_named_with_what_was_expected() {
    for (params, field, expected) in [
        (json!({}), "params.title", "params.title is required: a string of at most 20 bytes"),
        (json!({"title": null}), "params.title", "params.title is required"),
        (json!({"title": "x".repeat(21)}), "params.title", "params.title must be a string of at most 20 bytes, got"),
        (json!({"title": "a\0"}), "params.title", "params.title must be a string"),
        (json!({"title": 5}), "params.title", "params.title must be a string of at most 20 bytes, got 5"),
        (json!({"title": "", "width": 0}), "params.width", "params.width must be an integer from 1 to 4096, got 0"),
        (json!({"title": "", "width": 1e300}), "params.width", "params.width must be an integer"),
        (json!({"title": "", "width": "12px"}), "params.width", "params.width must be an integer"),
        (json!({"title": "", "width": [1]}), "params.width", "params.width must be an integer"),
        (json!({"title": "", "x": 2.5}), "params.x", "params.x must be a number from -2 to 2, got 2.5"),
        (json!({"title": "", "x": "nan"}), "params.x", "params.x must be a number"),
        (json!({"title": "", "smooth": 1}), "params.smooth", "params.smooth must be true or false, got 1"),
        (
            json!({"title": "", "palette": "mud"}),
            "params.palette",
            "params.palette must be one of fire, ice, got \"mud\"",
        ),
        (
            json!({"title": "", "depth": 1}),
            "params.depth",
            "the template render has no parameter \"depth\"; it has palette,",
        ),
    ] {
        let error = render().fill(with(params.clone())).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{params}");
        assert!(error.message.starts_with(expected), "{params}: {}", error.message);
    }
}

#[test]
fn numbers_may_come_as_text() {
    let spec = render().fill(with(json!({"title": "", "width": "640", "x": "1.5", "smooth": "false"}))).unwrap();
    assert_eq!(spec.env["GANGLINE_PARAM_WIDTH"], "640");
    assert_eq!((spec.env["GANGLINE_PARAM_X"].as_str(), spec.env["GANGLINE_PARAM_SMOOTH"].as_str()), ("1.5", "false"));
}

#[test]
fn what_is_said_beside_a_template_comes_on_top() {
    let asked = wire::JobSpec {
        name: Some("mine".to_owned()),
        env: [("LEVEL".to_owned(), "2".to_owned()), ("GANGLINE_PARAM_WIDTH".to_owned(), "forged".to_owned())].into(),
        artifacts: vec!["log".to_owned(), "out.png".to_owned()],
        priority: 3,
        timeout_secs: Some(5.0),
        ..with(json!({"title": ""}))
    };
    let spec = render().fill(asked).unwrap();
    assert_eq!((spec.name.as_deref(), spec.priority, spec.timeout_ms), (Some("mine"), 3, Some(5000)));
    assert_eq!((spec.env["LEVEL"].as_str(), spec.env["GANGLINE_PARAM_WIDTH"].as_str()), ("2", "800"));
    assert_eq!(spec.artifacts, ["out.png", "log"]);

    for twice in [
        wire::JobSpec { command: Some("true".to_owned()), ..with(json!({})) },
        wire::JobSpec { args: Some(vec!["true".to_owned()]), ..with(json!({})) },
        wire::JobSpec { image: Some("alpine".to_owned()), ..with(json!({})) },
    ] {
        assert!(render().fill(twice).is_err());
    }
}

#[test]
fn a_job_of_a_template_can_be_submitted_once_more() {
    let first = render().fill(with(json!({"title": "t", "width": 10}))).unwrap();
    let again = first.as_submitted();
    assert_eq!((again.template.as_deref(), &again.params["width"]), (Some("render"), &json!(10)));
    assert_eq!(render().fill(again).unwrap(), first);
    assert_eq!(wire::JobSpec::from(&first).template, None, "a worker is told what to run");
}

#[test]
fn no_value_gets_into_a_shells_script() {
    let template = |elements: &[&str]| {
        Template::new("t", args(elements), [("x".to_owned(), param(Kind::Text { most: 9 }, None))].into())
    };
    for spliced in [
        &["sh", "-c", "echo {x}"][..],
        &["/bin/bash", "-ec", "echo {x}"],
        &["env", "A=b", "bash", "-e", "-c", "{x}"],
        &["sh", "-{x}", "true"],
        &["{x}"],
        &["echo", "{y}"],
        &["echo", "{"],
        &["echo", "a}"],
    ] {
        assert!(template(spliced).is_err(), "{spliced:?}");
    }
    for safe in [&["sh", "-c", "echo \"$1\"", "sh", "--x={x}"][..], &["sh", "script.sh", "{x}"], &["gcc", "-c", "{x}"]]
    {
        assert!(template(safe).is_ok(), "{safe:?}");
    }
    let command = wire::JobSpec { command: Some("echo {x} ${HOME}".to_owned()), ..wire::JobSpec::default() };
    let template = Template::new("t", command, [("x".to_owned(), param(Kind::Text { most: 9 }, None))].into()).unwrap();
    let asked = wire::JobSpec { params: [("x".to_owned(), json!("`id`"))].into(), ..wire::JobSpec::default() };
    assert_eq!(template.fill(asked).unwrap().program, Program::Shell("echo {x} ${HOME}".to_owned()));
}

#[test]
fn a_template_that_cannot_work_names_its_field() {
    let number = |min, max| Kind::Number { min: Some(min), max: Some(max) };
    let env = |variable: &str| Param { env: Some(variable.to_owned()), ..param(Kind::Boolean, None) };
    for (params, field) in [
        (vec![("x", param(Kind::Integer { min: 2, max: 1 }, None))], "params.x"),
        (vec![("x", param(number(f64::NAN, 1.0), None))], "params.x"),
        (vec![("x", param(Kind::Choice(Vec::new()), None))], "params.x"),
        (vec![("x", param(number(0.0, 1.0), Some(json!(2))))], "params.x.default"),
        (vec![("1x", param(Kind::Boolean, None))], "params.1x"),
        (vec![("x", env("A=B"))], "params.x.env"),
        (vec![("x", env("A")), ("y", env("A"))], "params.y.env"),
    ] {
        let params = params.into_iter().map(|(name, param)| (name.to_owned(), param)).collect();
        let error = Template::new("t", args(&["true"]), params).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field));
    }
    for (base, field) in [
        (wire::JobSpec::default(), "command"),
        (wire::JobSpec { cwd: Some("/".to_owned()), ..args(&["true"]) }, "cwd"),
        (wire::JobSpec { command: Some("x".to_owned()), ..args(&["true"]) }, "args"),
    ] {
        assert_eq!(Template::new("t", base, BTreeMap::new()).unwrap_err().field.as_deref(), Some(field));
    }
}
