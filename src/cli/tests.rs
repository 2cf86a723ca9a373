//! The grammar: what is taken, what is refused.

use clap::{CommandFactory, Parser};

use super::args::{Cli, Command, RunArgs};

fn run(args: &[&str]) -> RunArgs {
    let cli = Cli::try_parse_from([&["gangline", "run"], args].concat()).unwrap();
    match cli.command {
        Command::Run(run) => *run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_grammar_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn a_commands_own_flags_are_not_ours() {
    assert_eq!(run(&["--", "ls", "--json"]).command, ["ls", "--json"]);
    assert_eq!(run(&["ls", "-t", "--help"]).command, ["ls", "-t", "--help"]);
    let run = run(&["-it", "-e", "A=b", "--priority", "-3", "--", "sh"]);
    assert!(run.interactive && run.tty);
    assert_eq!((run.command, run.env, run.priority), (vec!["sh".to_owned()], vec!["A=b".to_owned()], Some(-3)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for args in [
        &["run"][..],
        &["run", "--timeout", "soon", "--", "ls"],
        &["run", "--max-attempts", "2", "--", "ls"],
        &["logs", "--stdout", "--stderr", "7"],
        &["logs", "nonsense"],
        &["ps", "--status", "asleep"],
        &["token", "create"],
        &["user", "add", "ada", "--password-stdin", "--password-file", "f"],
        &["protocol"],
    ] {
        let error = Cli::try_parse_from([&["gangline"], args].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{args:?}");
    }
}

#[test]
fn containers_have_their_words() {
    let parse = |args: &[&str]| Cli::try_parse_from([&["gangline", "container"], args].concat());
    for verb in ["show", "start", "stop", "restart", "kill", "rm", "logs", "attach", "stats"] {
        assert!(parse(&[verb, "c1", "--json"]).unwrap().json, "{verb}");
    }
    for verb in ["start", "stop", "restart", "kill", "rm"] {
        assert!(parse(&[verb, "web", "7", "ctr-7-c51f0c33"]).is_ok(), "{verb} takes several");
        assert!(parse(&[verb]).is_err(), "{verb} needs one");
    }
    assert!(parse(&["ls"]).is_ok() && parse(&["stats"]).is_ok() && parse(&["rm", "-f", "web"]).is_ok());
    assert!(!parse(&["exec", "c1", "jq", "--json"]).unwrap().json, "it is the program's");
    for wrong in [
        &["create"][..],
        &["create", "nginx", "--nmae", "web"],
        &["create", "nginx", "--port", "0"],
        &["create", "nginx", "--cpus", "0"],
        &["create", "nginx", "--cpus", "0.0001"],
        &["create", "nginx", "--cpus", "NaN"],
        &["create", "nginx", "--memory", "0"],
        &["create", "nginx", "--mount", "www:relative"],
        &["create", "nginx", "--restart", "sometimes"],
        &["ls", "--status", "asleep"],
        &["exec", "web"],
        &["exec"],
        &["stop", "--grace", "soon", "web"],
    ] {
        assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
}
