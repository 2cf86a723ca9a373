//! Layers of settings against each other, and what a mistake in one of them is told.

use std::time::Duration;

use clap::{Args, FromArgMatches};

use super::*;
use crate::protocol::plugin::{Hook, Policy};

fn no_env(_: &str) -> Option<String> {
    None
}

/// Options as if these flags had been given.
fn flags<T: Args + FromArgMatches>(args: &[&str]) -> T {
    let command = T::augment_args(clap::Command::new("test").no_binary_name(true));
    T::from_arg_matches(&command.try_get_matches_from(args).unwrap()).unwrap()
}

fn config_of(text: &str) -> (tempfile::TempDir, Config) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gangline.toml");
    std::fs::write(&path, text).unwrap();
    let common = CommonOptions { config: Some(path), ..CommonOptions::default() };
    let config = Config::load(common, no_env).unwrap();
    (dir, config)
}

fn server(config: &Config, args: &[&str]) -> Result<ServerSettings, ConfigError> {
    config.server(flags(args), LimitOptions::default(), DrainOption::default())
}

#[test]
fn flags_outrank_the_file_and_the_file_outranks_defaults() {
    let (_dir, config) = config_of(
        "data-dir = '/srv/gangline'\n[server]\nlisten = '0.0.0.0:80'\nlease = '1m'\ndurability = 'full'\n\
         [limits]\noutput-bytes = '1MiB'\nqueue = 7\n",
    );
    let settings = server(&config, &["--listen", "127.0.0.1:81"]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:81");
    assert_eq!(settings.lease, Duration::from_secs(60));
    assert_eq!(settings.durability, Durability::Full);
    assert_eq!(settings.heartbeat, Duration::from_secs(10));
    assert_eq!(settings.data_dir, Path::new("/srv/gangline"));
    assert_eq!((settings.limits.output_bytes, settings.limits.queue), (1 << 20, 7));
    assert_eq!(settings.limits.follows, Limits::default().follows);
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let (_dir, config) = config_of("");
    assert_eq!(format!("{:?}", server(&config, &["--listen=127.0.0.1:3000"]).unwrap().limits), {
        format!("{:?}", Limits::default())
    });
    assert_eq!(config.client().unwrap().url, DEFAULT_URL);
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_place() {
    let cases = [
        ("colour = 1", "line 1: colour: unknown field `colour`, expected one of `url`"),
        ("[server]\nlisten = 5", "line 2: server.listen: invalid type: integer `5`, expected socket address"),
        (
            "\n[limits]\noutput-bytes = '1 parsec'",
            "line 3: limits.output-bytes: invalid value: string \"1 parsec\", expected a size",
        ),
        ("[server]\nlease = 'soon'", "line 2: server.lease: invalid value: string \"soon\", expected a duration"),
        ("[worker]\nlabels = 1", "line 2: worker.labels: invalid type: integer `1`, expected a map"),
        ("[server", "line 1: "),
    ];
    for (text, expected) in cases {
        let error = file::parse(Path::new("gangline.toml"), text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("gangline.toml, {expected}")), "{text:?} gave {error:?}");
    }
}

#[test]
fn a_named_file_must_be_there() {
    let common = CommonOptions { config: Some("/nowhere/g.toml".into()), ..CommonOptions::default() };
    let error = Config::load(common, no_env).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nowhere/g.toml"), "{error}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let (_dir, config) = config_of("");
    for args in [&["--lease=5s"][..], &["--heartbeat=100ms"], &["--threads=0"]] {
        assert!(matches!(server(&config, args), Err(ConfigError::Contradiction(_))), "{args:?}");
    }
    for args in [&["--tls-cert=c.pem"][..], &["--tls-key=k.pem"]] {
        assert!(matches!(server(&config, args), Err(ConfigError::Contradiction(_))), "{args:?}");
    }
    assert!(server(&config, &["--open", "--open-anywhere", "--listen=0.0.0.0:3000"]).unwrap().open);
    assert!(!server(&config, &["--open=false"]).unwrap().open);
}

#[test]
fn a_plugin_has_a_section_of_its_own() {
    let (_dir, config) = config_of(
        "[[plugin]]\nname = 'prices'\nhooks = ['job.submit', 'job.end']\npolicy = 'closed'\ntimeout = '500ms'\n\
         command = ['node', 'p.mjs']\n[[plugin]]\nname = 'pager'\nhooks = ['worker.offline']\n",
    );
    let plugins = server(&config, &[]).unwrap().plugins;
    let prices = PluginSettings {
        name: "prices".parse().unwrap(),
        hooks: vec![Hook::JobSubmit, Hook::JobEnd],
        policy: Policy::Closed,
        timeout: Duration::from_millis(500),
        command: vec!["node".to_owned(), "p.mjs".to_owned()],
    };
    assert_eq!(plugins[0], prices);
    let PluginSettings { policy, timeout, command, .. } = &plugins[1];
    assert_eq!((*policy, *timeout, command.is_empty()), (Policy::Open, Duration::from_secs(2), true));
}

#[test]
fn a_plugin_that_cannot_be_is_named() {
    for (text, expected) in [
        ("hooks = ['job.end', 'job.edn']", "line 3: plugin[0].hooks[1]: unknown variant `job.edn`"),
        ("hooks = ['job.end']\npolicy = 'ajar'", "line 4: plugin[0].policy: unknown variant `ajar`"),
        ("", "line 1: plugin[0]: missing field `hooks`"),
    ] {
        let text = format!("[[plugin]]\nname = 'a'\n{text}");
        let error = file::parse(Path::new("gangline.toml"), &text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("gangline.toml, {expected}")), "{text:?} gave {error:?}");
    }
    for (text, expected) in [
        ("hooks = []", "plugin a: hooks must name at least one"),
        ("hooks = ['job.end']\ntimeout = '2m'", "plugin a: timeout must be more than 0 and at most 60s"),
        ("hooks = ['job.end']\ncommand = ['']", "plugin a: command begins with the name of a program"),
        ("hooks = ['job.end']\n[[plugin]]\nname = 'a'\nhooks = ['job.end']", "plugin a: there are two of this name"),
    ] {
        let (_dir, config) = config_of(&format!("[[plugin]]\nname = 'a'\n{text}"));
        assert_eq!(server(&config, &[]).unwrap_err().to_string(), expected);
    }
}

/// A data directory with both tokens and one more file that holds a token.
fn tokens() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, token) in [("admin.token", "admin\n"), ("worker.token", "worker\n"), ("other", "  other \n")] {
        std::fs::write(dir.path().join(name), token).unwrap();
    }
    std::fs::write(dir.path().join("gangline.toml"), "token = 'file'").unwrap();
    dir
}

fn token(common: CommonOptions, env: &[(&str, &str)]) -> Option<String> {
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Config::load(common, env).unwrap().client().unwrap().token.map(|token| token.expose().to_owned())
}

#[test]
fn a_token_comes_from_the_nearest_layer_that_has_one() {
    let dir = tokens();
    let base = CommonOptions { data_dir: Some(dir.path().into()), ..CommonOptions::default() };
    let with_file = CommonOptions { config: Some(dir.path().join("gangline.toml")), ..base.clone() };
    let env = [("GANGLINE_TOKEN", "variable")];
    let other = dir.path().join("other");
    let env_file = [("GANGLINE_TOKEN_FILE", other.to_str().unwrap())];
    let flag_file = CommonOptions { token_file: Some(other.clone()), ..with_file.clone() };
    let flag = CommonOptions { token: Some("flag".to_owned()), ..flag_file.clone() };

    assert_eq!(token(flag, &env).as_deref(), Some("flag"));
    assert_eq!(token(flag_file, &env).as_deref(), Some("other"));
    assert_eq!(token(with_file.clone(), &env).as_deref(), Some("variable"));
    assert_eq!(token(with_file.clone(), &env_file).as_deref(), Some("other"));
    assert_eq!(token(with_file, &[("GANGLINE_TOKEN", "")]).as_deref(), Some("file"));
    assert_eq!(token(base, &[]).as_deref(), Some("admin"));
}

#[test]
fn a_token_that_lies_around_does_not_leave_this_machine() {
    let dir = tokens();
    let at = |url: &str| CommonOptions {
        url: Some(url.to_owned()),
        data_dir: Some(dir.path().into()),
        ..CommonOptions::default()
    };
    let elsewhere = at("ws://example.org/ws");
    assert_eq!(token(elsewhere.clone(), &[]), None, "not even where someone named its directory");
    assert_eq!(token(at("ws://127.0.0.1:1/ws"), &[]).as_deref(), Some("admin"));
    let file = dir.path().join("admin.token");
    assert_eq!(token(elsewhere, &[("GANGLINE_TOKEN_FILE", file.to_str().unwrap())]).as_deref(), Some("admin"));
}

#[test]
fn the_worker_in_up_has_its_token_at_any_address() {
    let dir = tokens();
    let common =
        CommonOptions { data_dir: Some(dir.path().into()), token: Some("mine".into()), ..CommonOptions::default() };
    let config = Config::load(common, no_env).unwrap();
    let url = "ws://192.0.2.1:3000/ws".to_owned();
    let settings =
        config.local_worker(WorkerOptions::default(), DrainOption::default(), url.clone(), Trust::default()).unwrap();
    assert_eq!((settings.url, settings.token.unwrap().expose()), (url, "worker"));
}

#[test]
fn no_token_at_all_is_fine_and_an_empty_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let common = CommonOptions { data_dir: Some(dir.path().into()), ..CommonOptions::default() };
    assert_eq!(token(common.clone(), &[]), None);
    std::fs::write(dir.path().join("admin.token"), "\n").unwrap();
    assert!(matches!(Config::load(common, no_env).unwrap().client(), Err(ConfigError::NoToken { .. })));
}

#[test]
fn what_containers_may_do_is_a_section_of_its_own() {
    let (_dir, config) = config_of(
        "[worker.container]\nengine = 'unix:///x'\nnetwork = 'bridge'\ncapabilities = ['CHOWN']\npids-limit = 0\nread-only = false\n",
    );
    let worker = |args: &[&str]| config.worker(flags(args), DrainOption::default());
    let containers = worker(&["--container-network", "lab"]).unwrap().containers;
    assert_eq!(containers.engine, EngineChoice::At("unix:///x".to_owned()));
    assert_eq!((&*containers.network, containers.read_only, containers.pids_limit), ("lab", false, None));
    assert_eq!(containers.capabilities, ["CHOWN"]);
    assert!(!containers.privileged && !containers.new_privileges);
    assert_eq!(worker(&["--container-engine", "none"]).unwrap().containers.engine, EngineChoice::Off);
    let error = worker(&["--container-engine", "docker"]).unwrap_err().to_string();
    assert!(error.contains("unix:///PATH"), "{error}");
}
