//! Flags into a job's spec.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::args::RunArgs;
use super::super::failure::Failure;
use crate::config::Span;
use crate::protocol::spec::{JobSpec, OnLost, Requires, Tty};

/// The spec that `args` describe. `size` is the terminal's, `env` looks up a variable here.
pub(super) fn of(
    args: &RunArgs,
    size: Option<(u16, u16)>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<JobSpec, Failure> {
    let secs = |span: Option<Span>| span.map(|Span(duration): Span| duration.as_secs_f64());
    let (command, argv) = program(&args.command);
    if args.timeout.is_some_and(|Span(limit)| limit == Duration::ZERO) {
        return Err(Failure::usage("--timeout must be more than 0"));
    }
    if args.template.is_none() && !args.params.is_empty() {
        return Err(Failure::usage("--param goes with --template"));
    }
    Ok(JobSpec {
        command,
        args: argv,
        image: args.image.clone(),
        env: variables(&args.env, env)?,
        cwd: args.cwd.clone(),
        name: args.name.clone(),
        tags: args.tags.clone(),
        template: args.template.clone(),
        // Numbers, too: the dispatcher knows which type each has.
        params: args.params.iter().map(|param| (param.key.clone(), param.value.clone().into())).collect(),
        stdin: args.interactive,
        tty: tty(args.tty, size),
        requires: Requires {
            worker_id: args.worker.clone(),
            labels: args.labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect(),
            cpus: args.cpus,
            memory_bytes: args.memory.map(|size| size.0),
            gpus: args.gpus,
            gpu_ids: None,
        },
        priority: args.priority.unwrap_or_default(),
        timeout_secs: secs(args.timeout),
        queue_timeout_secs: secs(args.queue_timeout),
        grace_secs: secs(args.grace),
        on_lost: if args.requeue { OnLost::Requeue } else { OnLost::Fail },
        max_attempts: args.max_attempts,
        artifacts: args.artifacts.clone(),
        ..JobSpec::default()
    })
}

/// One word is a shell script, several are a program and its arguments.
pub(in crate::cli) fn program(words: &[String]) -> (Option<String>, Option<Vec<String>>) {
    match words {
        [] => (None, None),
        [script] => (Some(script.clone()), None),
        argv => (None, Some(argv.to_vec())),
    }
}

/// A terminal of the size of the one here, where there is one.
pub(in crate::cli) fn tty(wanted: bool, size: Option<(u16, u16)>) -> Tty {
    match (wanted, size) {
        (false, _) => Tty::Switch(false),
        (true, None) => Tty::Switch(true),
        (true, Some((cols, rows))) => Tty::Size { cols, rows },
    }
}

/// Environment variables, given as `KEY=VALUE`, or as `KEY` to take the value from here.
pub(in crate::cli) fn variables(
    given: &[String],
    env: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    for variable in given {
        match variable.split_once('=') {
            Some(("", _)) => return Err(Failure::usage(format!("--env {variable:?}: expected KEY=VALUE or KEY"))),
            Some((key, value)) => {
                variables.insert(key.to_owned(), value.to_owned());
            }
            None => match env(variable) {
                Some(value) => {
                    variables.insert(variable.clone(), value);
                }
                None => return Err(Failure::usage(format!("--env {variable}: it is not set here"))),
            },
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn spec(args: &[&str], size: Option<(u16, u16)>) -> Result<JobSpec, Failure> {
        let cli = Cli::try_parse_from([&["gangline", "run"], args].concat()).unwrap();
        let Command::Run(run) = cli.command else { panic!("not a run") };
        of(&run, size, |name| (name == "HERE").then(|| "from here".to_owned()))
    }

    #[test]
    fn one_word_is_a_script_and_several_are_arguments() {
        let script = spec(&["make && make test"], None).unwrap();
        assert_eq!((script.command.as_deref(), script.args), (Some("make && make test"), None));
        let argv = spec(&["--", "make", "-j4"], None).unwrap();
        assert_eq!((argv.command, argv.args), (None, Some(vec!["make".to_owned(), "-j4".to_owned()])));
        let image = spec(&["--image", "alpine"], None).unwrap();
        assert_eq!((image.command, image.args, image.image.as_deref()), (None, None, Some("alpine")));
    }

    #[test]
    fn flags_become_fields() {
        let flags = [
            "-e",
            "A=b=c",
            "-e",
            "HERE",
            "--label",
            "gpu=a100",
            "--gpus",
            "2",
            "--cpus",
            "0.5",
            "--memory",
            "1GiB",
            "--timeout",
            "10m",
            "--grace",
            "0s",
            "--priority",
            "-3",
            "--requeue",
            "--max-attempts",
            "5",
            "-t",
            "x",
        ];
        let spec = spec(&flags, Some((100, 30))).unwrap();
        assert_eq!(spec.env["A"], "b=c");
        assert_eq!(spec.env["HERE"], "from here");
        assert_eq!(spec.requires.labels["gpu"], "a100");
        assert_eq!((spec.requires.gpus, spec.requires.cpus), (Some(2), Some(0.5)));
        assert_eq!(spec.requires.memory_bytes, Some(1 << 30));
        assert_eq!((spec.timeout_secs, spec.grace_secs, spec.priority), (Some(600.0), Some(0.0), -3));
        assert_eq!((spec.on_lost, spec.max_attempts), (OnLost::Requeue, Some(5)));
        assert_eq!(spec.tty, Tty::Size { cols: 100, rows: 30 });
    }

    #[test]
    fn a_template_stands_in_the_place_of_a_command() {
        let spec = spec(&["--template", "fractal", "--param", "width=64", "--param", "x=-0.5"], None).unwrap();
        assert_eq!((spec.template.as_deref(), &spec.params["width"]), (Some("fractal"), &"64".into()));
        assert_eq!((spec.command, spec.args, &spec.params["x"]), (None, None, &"-0.5".into()));
        for wrong in [&["--template", "t", "x"][..], &["--template", "t", "--image", "i"]] {
            assert!(Cli::try_parse_from([&["gangline", "run"], wrong].concat()).is_err(), "{wrong:?}");
        }
        assert!(self::spec(&["--param", "a=b", "x"], None).is_err());
    }

    #[test]
    fn a_variable_that_is_not_here_cannot_be_taken_along() {
        assert!(spec(&["-e", "NOWHERE", "x"], None).is_err());
        assert!(spec(&["-e", "=x", "x"], None).is_err());
        assert!(spec(&["--timeout", "0", "x"], None).is_err());
    }
}
