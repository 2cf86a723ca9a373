//! The engine's ways, without one: streams that are cut anywhere, and what a container may do.

use std::collections::BTreeMap;
use std::path::Path;

use bollard::Docker;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::recipe::{JobRecipe, same_ports};
use super::*;
use crate::config::ContainerSettings;
use crate::model::spec::Requires;
use crate::model::{JobSpec, Program};
use crate::protocol::container::spec::Port;

/// One piece as the engine sends it.
fn piece(stream: u8, bytes: &[u8]) -> Vec<u8> {
    let mut piece = vec![stream, 0, 0, 0];
    piece.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    piece.extend(bytes);
    piece
}

/// What two readers make of a connection that brings `parts` one by one.
async fn read_both(parts: Vec<Vec<u8>>) -> (Vec<u8>, Vec<u8>, Option<String>) {
    let (mut engine, connection) = tokio::io::duplex(16);
    let (mut stdout, mut stderr, words) = console::both(Box::new(connection));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let send = async move {
        for part in parts {
            engine.write_all(&part).await.unwrap();
        }
    };
    let (read, also_read, ()) = tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err), send);
    read.and(also_read).unwrap();
    (out, err, words.complaint())
}

proptest! {
    #[test]
    fn streams_come_apart_as_they_went_in(
        pieces in prop::collection::vec((1u8..=2, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes: Vec<u8> = pieces.iter().flat_map(|(stream, bytes)| piece(*stream, bytes)).collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let parts = at.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (out, err, _) = runtime.block_on(read_both(parts));
        let of = |wanted| pieces.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, bytes)| bytes).copied().collect::<Vec<_>>();
        prop_assert_eq!((out, err), (of(1), of(2)));
    }
}

#[tokio::test]
async fn what_init_has_to_complain_of_is_told_from_what_programs_say() {
    let complaint = b"[FATAL tini (7)] exec nosuch failed: No such file or directory\n";
    let (_, err, words) = read_both(vec![piece(2, complaint)]).await;
    assert_eq!((&*err, words.as_deref()), (&complaint[..], Some("\"nosuch\": No such file or directory")));
    for (said, told) in [
        ("unable to start container process: exec: \"a\": not found: unknown", "\"a\": not found"),
        (
            "container_linux.go:380: starting container process caused: exec: \"a\": not found: unknown",
            "\"a\": not found",
        ),
        (
            "unable to start container process: chdir to cwd (\"/x\") set in config.json failed: no such file or directory: unknown",
            "in \"/x\": no such file or directory",
        ),
        ("unable to start container process: no more: unknown", "the program: no more"),
        ("cannot exec in a stopped container: unknown", "the program: exec failed: cannot exec in a stopped container"),
    ] {
        let complaint = format!("OCI runtime exec failed: exec failed: {said}\r\n");
        assert_eq!(read_both(vec![piece(1, complaint.as_bytes())]).await.2.as_deref(), Some(told));
    }
    assert_eq!(read_both(vec![piece(1, b"hello\n"), piece(2, complaint)]).await.2, None);
}

#[tokio::test]
async fn a_terminals_bytes_are_left_alone() {
    let (mut engine, connection) = tokio::io::duplex(16);
    let (mut terminal, _) = console::terminal(Box::new(connection));
    let bytes = piece(1, b"looks like a piece, and is none");
    let sent = bytes.clone();
    let mut read = Vec::new();
    let (_, ()) = tokio::join!(terminal.read_to_end(&mut read), async move { engine.write_all(&sent).await.unwrap() });
    assert_eq!(read, bytes);
}

fn engine() -> Engine {
    let docker = Docker::connect_with_http("tcp://127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION).unwrap();
    Engine { docker, address: String::new(), rootless: false, has_init: true, is_docker: true, sizes_terminals: true }
}

#[test]
fn a_job_cannot_lift_what_is_forbidden() {
    let spec = JobSpec {
        env: BTreeMap::from([("privileged".to_owned(), "true".to_owned())]),
        requires: Requires { milli_cpus: 1500, memory_bytes: 1, ..Requires::default() },
        ..JobSpec::new(Program::Args(vec!["a".to_owned(), "b".to_owned()]))
    };
    let (worker, settings) = ("w".parse().unwrap(), ContainerSettings::default());
    let recipe = JobRecipe {
        job: "job-1-00000001".parse().unwrap(),
        attempt: 2,
        spec: &spec,
        image: "i",
        workspace: Path::new("/home/work/1"),
        cwd: Path::new("sub"),
        env: vec!["A=b".to_owned()],
        gpus: vec!["GPU-1".to_owned()],
        labels: Labels { worker: &worker, home: Path::new("/home") },
        settings: &settings,
    };
    let body = recipe.body(&engine());
    assert_eq!((body.entrypoint, body.cmd), (Some(vec!["a".to_owned()]), Some(vec!["b".to_owned()])));
    assert_eq!(body.working_dir.as_deref(), Some("/workspace/sub"));
    let host = body.host_config.unwrap();
    assert_eq!((host.privileged, host.readonly_rootfs, host.pids_limit), (Some(false), Some(true), Some(1024)));
    assert_eq!((host.network_mode.as_deref(), host.cap_add), (Some("none"), Some(vec![])));
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.security_opt, Some(vec!["no-new-privileges:true".to_owned()]));
    assert_eq!((host.nano_cpus, host.memory), (Some(1_500_000_000), Some(6 << 20)));
    assert_eq!(host.memory_swap, host.memory, "no swap beside it");
    assert_eq!(host.device_requests.unwrap()[0].device_ids, Some(vec!["GPU-1".to_owned()]));
    assert_eq!(host.mounts.unwrap().len(), 1, "nothing but the workspace");
    let labels = body.labels.unwrap();
    assert_eq!((&*labels[KIND], &*labels[ID], &*labels[ATTEMPT]), ("job", "job-1-00000001", "2"));
}

#[test]
fn ports_that_were_chosen_are_asked_for_again_and_those_that_were_asked_for_stay() {
    let wanted = |ports: &[&str]| ports.iter().map(|port| port.parse().unwrap()).collect::<Vec<Port>>();
    let bound = |container, host, protocol| BoundPort { container, host, address: String::new(), protocol };
    let before = [
        bound(53, 32_001, Protocol::Udp),
        bound(80, 32_001, Protocol::Tcp),
        bound(80, 32_002, Protocol::Tcp),
        bound(81, 90, Protocol::Tcp),
    ];
    for (asked, again) in [
        (&["80", "53/udp"][..], &["32001:80", "32001:53/udp"][..]),
        (&["80", "80", "80"], &["32001:80", "32002:80", "80"]),
        (&["53", "8080:80"], &["53", "8080:80"]),
        (&["80", "32001:90"], &["32002:80", "32001:90"]),
        (&["81", "90:90/udp"], &["90:81", "90:90/udp"]),
    ] {
        assert_eq!(same_ports(&wanted(asked), &before), wanted(again), "{asked:?}");
    }
    assert_eq!(same_ports(&wanted(&["80"]), &[]), wanted(&["80"]));
}

#[test]
fn a_port_is_told_as_it_is_reached_over_ipv4() {
    let binding =
        |address: &str, port: &str| PortBinding { host_ip: Some(address.to_owned()), host_port: Some(port.to_owned()) };
    let hosts = |bindings: &[PortBinding]| bound("80/tcp", Some(bindings)).map(|port| port.host).collect::<Vec<_>>();
    assert_eq!(hosts(&[binding("0.0.0.0", "32771"), binding("::", "32770")]), [32_771]);
    assert_eq!(hosts(&[binding("::", "32770")]), [32_770]);
    assert_eq!(hosts(&[binding("", "32769")]), [32_769]);
}

#[test]
fn the_engines_words_are_understood() {
    assert!(matches!(EngineError::said("write /x: no space left on device"), EngineError::NoSpace(_)));
    let taken = "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated";
    assert!(matches!(EngineError::said(taken), EngineError::PortTaken(_)));
    assert!(matches!(EngineError::said("whatever"), EngineError::Refused(_)));
}
