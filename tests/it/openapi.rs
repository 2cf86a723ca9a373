//! The documents that the server gives of itself, held against the server: every route is called with what its description
//! allows and with what it does not.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::support::TestServer;
use crate::support::process::{Process, free_address, token};

/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      unsupported_method,allow_header_conformance";

/// Cases that are made up for each route. Beside them come those at the edges of its description.
const CASES: &str = "25";

#[tokio::test]
async fn every_route_answers_as_its_document_says_whatever_it_is_sent() {
    let home = tempfile::TempDir::new().expect("a directory");
    let (home, address) = (home.path(), free_address());
    let _server = Process::serve(home, address, &[]).await;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (program, config) = (here.join(".venv/bin/schemathesis"), here.join("tests/it/schemathesis.toml"));
    let token = token(home, "admin.token");
    let mut command = Command::new(&program);
    command.arg("--config-file").arg(config);
    command.args(["run", &format!("http://{address}/openapi.json"), "--checks", CHECKS, "--continue-on-failure"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", CASES, "--no-color", "--seed", "1"]);
    command.args(["-H", &format!("Authorization: Bearer {token}")]);
    command.stdin(Stdio::null()).kill_on_drop(true).current_dir(std::env::temp_dir());
    let told = tokio::time::timeout(Duration::from_secs(400), command.output()).await.expect("it ends");
    let told = told.unwrap_or_else(|error| panic!("{}: {error}; `make setup` fetches it", program.display()));
    let words = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{words}\n{}", String::from_utf8_lossy(&told.stderr));
    assert!(!words.contains("Unresolvable references"), "{words}");
}

#[tokio::test]
async fn the_documents_name_every_way_in() {
    let server = TestServer::start().await;
    let openapi = server.web().get("/openapi.json", "").await;
    assert_eq!((openapi.status, &openapi.json["openapi"]), (200, &Value::from("3.1.0")));
    for path in ["/healthz", "/api/uploads", "/uploads/{id}/{name}", "/api/jobs/{job}/artifacts/{path}"] {
        assert!(openapi.json["paths"][path].is_object(), "{path}");
    }
    let asyncapi = server.web().get("/asyncapi.json", "").await;
    assert_eq!((asyncapi.status, &asyncapi.json["asyncapi"]), (200, &Value::from("3.0.0")));
    assert_eq!(asyncapi.json["channels"]["socket"]["address"], "/ws");
}
