//! Which files are templates, and what is said of those that are wrong.

use super::*;

#[test]
fn the_built_in_template_is_there_without_a_directory() {
    let templates = Templates::load(None).unwrap();
    assert_eq!(templates.known().keys().collect::<Vec<_>>(), ["fractal"]);
}

#[test]
fn every_key_of_a_file_is_understood() {
    let text = "args = ['a', '{size}']\nimage = 'i'\ncwd = 'sub'\nname = 'n'\ntags = ['t']\npriority = 2\n\
        timeout = '10m'\nqueue-timeout = '1h'\ngrace = 5\nartifacts = ['*.png']\n[env]\nA = 'b'\n\
        [requires]\nlabels = { zone = 'eu' }\ncpus = 0.5\nmemory = '1GiB'\ngpus = 1\n\
        [params.size]\ntype = 'integer'\nmin = 1\nmax = 9\ndefault = 3\nenv = 'SIZE'\ndescription = 'how large'\n\
        [params.ratio]\ntype = 'number'\nmin = 0\ndefault = 0.5\n[params.mode]\ntype = 'choice'\nchoices = ['x', 'y']\n\
        [params.note]\ntype = 'string'\nmax-length = 5\n[params.fast]\ntype = 'boolean'";
    let template = parse("t", Path::new("t.toml"), text).unwrap();
    let params = [("mode", "y"), ("note", "n"), ("fast", "true")];
    let params = params.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let spec = template.fill(wire::JobSpec { params, ..wire::JobSpec::default() }).unwrap();
    assert_eq!((spec.env["SIZE"].as_str(), spec.env["GANGLINE_PARAM_MODE"].as_str()), ("3", "y"));
    assert_eq!((spec.timeout_ms, spec.grace_ms, spec.requires.memory_bytes), (Some(600_000), Some(5_000), 1 << 30));
}

#[test]
fn a_wrong_file_is_named_with_its_key() {
    for (text, expected) in [
        ("command = 1", "t.toml, line 1: command: invalid type: integer `1`, expected a string"),
        ("command = 'x'\ncolour = 1", "t.toml, line 2: colour: unknown field `colour`"),
        ("command", "t.toml, line 1: "),
        ("", "t.toml: command: command, args or image is required"),
        ("command = 'x'\n[params.a]\ntype = 'colour'", "t.toml, line 3: params.a.type: unknown variant `colour`"),
        (
            "command = 'x'\n[params.a]\ntype = 'string'\nmin = 1",
            "t.toml: params.a.min: this type of parameter has none",
        ),
        ("command = 'x'\n[params.a]\ntype = 'integer'\nmin = 0.5", "t.toml: params.a.min: expected an integer"),
        ("command = 'x'\n[params.a]\ntype = 'choice'", "t.toml: params.a.choices: a choice needs choices"),
        ("args = ['sh', '-c', '{a}']\n[params.a]\ntype = 'string'", "t.toml: args[2]: a parameter cannot be part"),
        ("command = 'x'\n[params.a]\ntype = 'number'\ndefault = nan", "t.toml: params.a.default: expected a number"),
        ("command = 'x'\ntimeout = 'soon'", "t.toml, line 2: timeout: invalid value"),
    ] {
        let error = parse("t", Path::new("t.toml"), text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text:?} gave {error:?}");
    }
}

#[test]
fn files_are_templates_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("build.toml", "command = 'make'");
    write("fractal.toml", "command = 'mine'");
    write("notes.txt", "not a template");
    let templates = Templates::load(Some(dir.path())).unwrap();
    assert_eq!(templates.known().keys().collect::<Vec<_>>(), ["build", "fractal"]);

    write("a b.toml", "command = 'make'");
    assert!(Templates::load(Some(dir.path())).unwrap_err().to_string().contains("file name"));
    assert!(matches!(Templates::load(Some(&dir.path().join("none"))), Err(TemplateError::Read { .. })));
}
