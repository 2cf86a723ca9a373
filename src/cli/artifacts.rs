//! `artifacts`: the files that a job left.

use std::path::PathBuf;

use comfy_table::Cell;

use super::exit::Status;
use super::failure::Failure;
use super::{Context, render};
use crate::client::{Client, Files};
use crate::protocol::JobRef;

pub(super) async fn run(context: &Context, job: JobRef, output: Option<PathBuf>) -> Result<Status, Failure> {
    let settings = context.client()?;
    // Asked first, so that a job or a dispatcher that is not there is told as by all others.
    let job = Client::connect(&settings).await?.get(job).await?.job_id;
    let files = Files::new(&settings)?;
    let artifacts = files.artifacts(job).await?;
    let Some(directory) = output else {
        if context.json {
            return render::json_lines(&artifacts);
        }
        let rows = artifacts.iter().map(|artifact| {
            vec![
                Cell::new(render::shorten(&artifact.path, 1000)),
                Cell::new(render::size(artifact.bytes)),
                Cell::new(&artifact.content_type),
            ]
        });
        render::line(&render::table(&["PATH", "SIZE", "TYPE"], rows.collect()))?;
        return Ok(Status::Success);
    };
    for artifact in &artifacts {
        let path = files.download(job, artifact, &directory).await?;
        render::done(context.json, "path", &path.to_string_lossy())?;
    }
    Ok(Status::Success)
}
