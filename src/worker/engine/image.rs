//! Images: at hand, or fetched while the job waits, with word of how far that is.

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::{Engine, EngineError};

/// Word of a pull comes once in this time, for pulls of thousands of layers, too.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    /// Sees to it that `image` is at hand; what is done meanwhile goes to `tell`, a line at a time. Dropped half-way it
    /// breaks the pull off.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be had now.
    pub(crate) async fn provide(&self, image: &str, mut tell: impl FnMut(&str)) -> Result<(), EngineError> {
        match self.docker.inspect_image(image).await {
            Ok(_) => return Ok(()),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => (),
            Err(error) => return Err(not_had(image, error)),
        }
        tell(&format!("pulling image {image}"));
        let (name, tag) = name_and_tag(image);
        let options = CreateImageOptionsBuilder::default().from_image(name).tag(tag).build();
        let mut told = Instant::now();
        let mut pull = self.docker.create_image(Some(options), None, None);
        while let Some(step) = pull.next().await {
            let step = step.map_err(|error| not_had(image, error))?;
            if told.elapsed() >= TELL_EVERY
                && let Some(line) = line(&step)
            {
                told = Instant::now();
                tell(&line);
            }
        }
        // A pull that was broken off by the engine ends like any other.
        self.docker.inspect_image(image).await.map_err(|error| not_had(image, error))?;
        tell(&format!("pulled image {image}"));
        Ok(())
    }
}

fn line(step: &CreateImageInfo) -> Option<String> {
    let status = step.status.as_deref()?;
    let what = step.id.as_deref().map_or_else(|| status.to_owned(), |id| format!("{id}: {status}"));
    let far = step.progress_detail.as_ref().and_then(|detail| Some((detail.current?, detail.total?)));
    Some(match far {
        Some((current, total)) => format!("{what} {current} of {total} bytes"),
        None => what,
    })
}

fn not_had(image: &str, error: Error) -> EngineError {
    match EngineError::from(error) {
        EngineError::Refused(message) => EngineError::NoImage { image: image.to_owned(), message },
        other @ (EngineError::NoImage { .. }
        | EngineError::NoSpace(_)
        | EngineError::PortTaken(_)
        | EngineError::NoProgram { .. }
        | EngineError::NoNetwork
        | EngineError::HostNetwork(_)
        | EngineError::NotRunning
        | EngineError::GivenUp
        | EngineError::Gone(_)) => other,
    }
}

/// A reference without a tag means `latest`; without saying so, the engine would fetch every tag.
fn name_and_tag(image: &str) -> (&str, &str) {
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[last..].rfind(':') {
        _ if image.contains('@') => (image, ""),
        Some(colon) => (&image[..last + colon], &image[last + colon + 1..]),
        None => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_a_tag_means_the_latest() {
        assert_eq!(name_and_tag("busybox"), ("busybox", "latest"));
        assert_eq!(name_and_tag("busybox:test"), ("busybox", "test"));
        assert_eq!(name_and_tag("host:5000/a/b"), ("host:5000/a/b", "latest"));
        assert_eq!(name_and_tag("host:5000/a/b:c"), ("host:5000/a/b", "c"));
        assert_eq!(name_and_tag("a@sha256:00"), ("a@sha256:00", ""));
    }
}
