//! A worker in sixty lines: `cargo run --example worker`, with a token of the role `worker` in
//! `GANGLINE_TOKEN`. It runs scripts one at a time and sends what they print once they end.
//!
//! What it leaves out is what `gangline worker` is for: live output, cancel, input, terminals,
//! a reconnect that takes running jobs along.

use std::error::Error;
use std::time::Duration;

use gangline::base::secret::Secret;
use gangline::base::tls::Trust;
use gangline::config::DEFAULT_URL;
use gangline::link::{Link, dial};
use gangline::protocol::StreamName;
use gangline::protocol::agent::{
    AgentJobOrder, AgentJobReport, AgentOutput, AgentReport, Assign, AttemptEnd, AttemptRef, Heartbeat,
};
use gangline::protocol::chunk::Chunk;
use gangline::protocol::codec::{ToAgent, encode, read_at_agent};
use gangline::protocol::job::Reason;
use gangline::protocol::limits::CHUNK_BYTES;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("GANGLINE_URL").unwrap_or_else(|_| DEFAULT_URL.to_owned());
    let token = std::env::var("GANGLINE_TOKEN").ok().map(Secret::new);
    let Link { hello, mut sender, mut receiver } = dial(&url.parse()?, token.as_ref(), &Trust::default()).await?;

    // `boot` lets the dispatcher tell a new start of this worker from an old one.
    let register = serde_json::json!({ "workerId": "example", "boot": hello.now, "slots": 1 });
    sender.send(encode(&AgentReport::Register(serde_json::from_value(register)?))).await?;

    let mut heartbeat = tokio::time::interval(Duration::from_secs(10));
    let mut held = Vec::new();
    loop {
        let text = tokio::select! {
            text = receiver.recv() => text?,
            _ = heartbeat.tick() => {
                // Nothing but this renews the lease of a job.
                let beat = Heartbeat { jobs: held.clone(), ..Heartbeat::default() };
                sender.send(encode(&AgentReport::Heartbeat(beat))).await?;
                continue;
            }
        };
        let assign = match read_at_agent(&text) {
            Ok((ToAgent::Job(AgentJobOrder::Assign(assign)), _)) => assign,
            Ok((ToAgent::Error(error), _)) | Err((_, error)) => return Err(error.into()),
            Ok(_) => continue,
        };
        let Assign { job_id, attempt, spec, .. } = *assign;
        sender.send(encode(&AgentJobReport::Accept(AttemptRef { job_id, attempt }))).await?;
        held.push((job_id, attempt));
        let script = spec.command.unwrap_or_else(|| spec.args.unwrap_or_default().join(" "));
        let output = tokio::process::Command::new("/bin/sh").arg("-c").arg(script).output().await?;

        let mut n = 0;
        for (stream, bytes) in [(StreamName::Stdout, output.stdout), (StreamName::Stderr, output.stderr)] {
            for (index, bytes) in bytes.chunks(CHUNK_BYTES).enumerate() {
                n += 1;
                let (text, base64) = Chunk::of(bytes).into_fields();
                let offset = (index * CHUNK_BYTES) as u64;
                let chunk = AgentOutput { job_id, attempt, n, stream, offset, text, base64, time: None };
                sender.feed(encode(&AgentJobReport::Output(chunk))).await?;
            }
        }
        let (exit_code, reason) = (output.status.code(), Reason::Exit);
        let end = AttemptEnd { job_id, attempt, n: n + 1, exit_code, reason, error_message: None, time: None };
        sender.send(encode(&AgentJobReport::End(end))).await?;
        held.clear();
    }
}
