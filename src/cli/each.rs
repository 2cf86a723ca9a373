//! The same asked of one thing after the other.

use std::fmt::Display;

use super::exit::Status;
use super::failure::Failure;
use super::{Context, render};
use crate::client::{Client, ClientError};

/// Asks `of` each, and confirms it as [`render::done`] does. Where one is refused that is said, and the others have their turn
/// all the same.
pub(super) async fn each<T: Clone + Display>(
    context: &Context,
    what: &str,
    of: Vec<T>,
    ask: impl AsyncFn(&mut Client, T) -> Result<(), ClientError>,
) -> Result<Status, Failure> {
    let mut client = Client::connect(&context.client()?).await?;
    let mut status = Status::Success;
    for one in of {
        match ask(&mut client, one.clone()).await {
            Ok(()) => render::done(context.json, what, &one.to_string())?,
            Err(ClientError::Refused(mut error)) => {
                error.message = format!("{one}: {}", error.message);
                status = Failure::from(error).report(context.json);
            }
            // Without a connection nothing can be asked.
            Err(error) => return Err(error.into()),
        }
    }
    Ok(status)
}
