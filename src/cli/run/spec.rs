//! Flags into a job's spec.

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
    let (command, argv) = match args.command.as_slice() {
        [] => (None, None),
        [script] => (Some(script.clone()), None),
        argv => (None, Some(argv.to_vec())),
    };
    if args.timeout.is_some_and(|Span(limit)| limit == Duration::ZERO) {
        return Err(Failure::usage("--timeout must be more than 0"));
    }
    let tty = match (args.tty, size) {
        (false, _) => Tty::Switch(false),
        (true, None) => Tty::Switch(true),
        (true, Some((cols, rows))) => Tty::Size { cols, rows },
    };
    let mut variables = std::collections::BTreeMap::new();
    for variable in &args.env {
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
    Ok(JobSpec {
        command,
        args: argv,
        image: args.image.clone(),
        env: variables,
        cwd: args.cwd.clone(),
        name: args.name.clone(),
        tags: args.tags.clone(),
        stdin: args.interactive,
        tty,
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
