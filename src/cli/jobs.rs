//! `show`, `cancel`, `wait`, `rerun`: one job at a time.

use super::each::each;
use super::exit::Status;
use super::failure::Failure;
use super::{Context, render};
use crate::client::{Client, ClientError, FollowEvent, Follower, Patience};
use crate::config::Span;
use crate::model::EntryKind;
use crate::model::job::is_over;
use crate::protocol::job::{JobRecord, Submit};
use crate::protocol::{After, JobRef};

pub(super) async fn show(context: &Context, job: JobRef) -> Result<Status, Failure> {
    let job = Client::connect(&context.client()?).await?.get(job).await?;
    if context.json {
        render::json(&job)?;
    } else {
        render::line(&describe(&job))?;
    }
    Ok(Status::Success)
}

pub(super) async fn cancel(context: &Context, jobs: Vec<JobRef>, grace: Option<Span>) -> Result<Status, Failure> {
    let grace = grace.map(|grace| grace.0.as_secs_f64());
    each(context, "jobId", jobs, async |client, job| client.cancel(job, grace).await).await
}

pub(super) async fn wait(context: &Context, job: JobRef) -> Result<Status, Failure> {
    let settings = context.client()?;
    // Only the end matters, so nothing of what went before is asked for.
    let mut follower =
        Follower::follow(&settings, job, After::Tail, Patience::default()).await.map_err(unsuccessful)?;
    let mut end = None;
    while let Some(event) = follower.next().await? {
        if let FollowEvent::Entry(entry) = event
            && let EntryKind::End { reason, exit_code, .. } = entry.kind
        {
            end = Some(Status::of_job(reason, exit_code));
        }
    }
    follower.close().await;
    if let Some(status) = end
        && !context.json
    {
        return Ok(status);
    }
    // It was over before; or its record is wanted as well.
    let mut client = Client::connect(&settings).await.map_err(unsuccessful)?;
    let record = client.get(job).await.map_err(unsuccessful)?;
    if context.json {
        render::json(&record)?;
    }
    Ok(status_of(&record))
}

/// What `wait` says when it does not get as far as a job's end: 125 is the dispatcher's refusal.
/// That there is none to ask, or nothing to show it, is a failure as of any other command.
fn unsuccessful(error: ClientError) -> Failure {
    let refused = match &error {
        ClientError::NoToken(_) => false,
        ClientError::Link(_) => error.code().is_some(),
        ClientError::Refused(_)
        | ClientError::Ended(_)
        | ClientError::NoReply { .. }
        | ClientError::Hole { .. }
        | ClientError::Unexpected(_) => true,
    };
    let failure = Failure::from(error);
    if refused { failure.refused() } else { failure }
}

/// The status of `run` and `wait` for a job that is over.
fn status_of(job: &JobRecord) -> Status {
    match job.reason {
        Some(reason) if is_over(job.status) => Status::of_job(reason, job.exit_code),
        Some(_) | None => Status::Refused,
    }
}

pub(super) async fn rerun(context: &Context, job: JobRef) -> Result<Status, Failure> {
    let mut client = Client::connect(&context.client()?).await?;
    let spec =
        client.get(job).await?.spec.ok_or_else(|| Failure::failed("the dispatcher did not tell the job's spec"))?;
    let mut spec = *spec;
    // Nobody is here to type, and a program that waits for input would wait for ever.
    spec.stdin = false;
    let key = Some(uuid::Uuid::new_v4().to_string());
    let submitted = client.submit(Submit { spec, key, follow: None }).await?;
    if context.json {
        render::json(&submitted)?;
    } else {
        render::line(&submitted.job_id.to_string())?;
    }
    Ok(Status::Success)
}

fn describe(job: &JobRecord) -> String {
    let mut lines = Vec::new();
    let mut say = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<12} {value}"));
        }
    };
    let moment = |at: Option<u64>| at.map(render::moment).unwrap_or_default();
    let number = |number: Option<i32>| number.map(|number| number.to_string()).unwrap_or_default();
    say("job", format!("{} (number {})", job.job_id, job.task_id));
    say("name", render::shorten(job.name.as_deref().unwrap_or_default(), 1000));
    say("status", render::word(&job.status));
    say("reason", job.reason.map(|reason| render::word(&reason)).unwrap_or_default());
    say("exit code", number(job.exit_code));
    say("error", render::shorten(job.error_message.as_deref().unwrap_or_default(), 4000));
    say("waits for", job.waiting_for.clone().unwrap_or_default());
    say("command", render::shorten(&render::command(job), 4000));
    say("image", job.image.clone().unwrap_or_default());
    say("tags", job.tags.join(", "));
    say("account", job.account.clone());
    say("worker", job.worker_id.as_ref().map(ToString::to_string).unwrap_or_default());
    say("attempt", job.attempt.to_string());
    let gpus: Vec<String> = job.gpu_ids.iter().map(u32::to_string).collect();
    say("GPUs", gpus.join(", "));
    say("submitted", moment(Some(job.created_at)));
    say("started", moment(job.started_at));
    say("ended", moment(job.completed_at));
    say("took", render::run_time(job));
    say("stdout", render::size(job.stdout_bytes));
    say("stderr", render::size(job.stderr_bytes));
    lines.join("\n")
}
