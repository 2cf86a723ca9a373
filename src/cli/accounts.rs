//! `user` and `token`.

use std::io::Read;

use comfy_table::Cell;

use super::args::{PasswordSource, TokenCommand, UserCommand};
use super::exit::Status;
use super::failure::Failure;
use super::{Context, render};
use crate::client::Client;
use crate::protocol::auth::{TokenCreate, UserAdd};

/// Longest password that is read; the dispatcher has a limit of its own.
const PASSWORD_BYTES: u64 = 64 * 1024;

pub(super) async fn user(context: &Context, command: UserCommand) -> Result<Status, Failure> {
    let settings = context.client()?;
    match command {
        UserCommand::Add { name, role, email, password } => {
            let password = read_password(&password)?;
            let user = UserAdd { account: name.clone(), role: Some(role.into()), email, password };
            Client::connect(&settings).await?.user_add(user).await?;
            render::done(context.json, "account", &name)?;
        }
        UserCommand::Ls => {
            let users = Client::connect(&settings).await?.users().await?;
            if context.json {
                return render::json_lines(&users);
            }
            let rows = users.into_iter().map(|user| {
                vec![
                    Cell::new(user.account),
                    Cell::new(render::word(&user.role)),
                    Cell::new(user.email.unwrap_or_default()),
                    Cell::new(render::moment(user.created_at)),
                ]
            });
            render::line(&render::table(&["ACCOUNT", "ROLE", "EMAIL", "CREATED"], rows.collect()))?;
        }
        UserCommand::Rm { name } => {
            Client::connect(&settings).await?.user_remove(name.clone()).await?;
            render::done(context.json, "account", &name)?;
        }
        UserCommand::Passwd { name, password } => {
            let password = read_password(&password)?
                .ok_or_else(|| Failure::usage("give the password with --password-stdin or --password-file FILE"))?;
            Client::connect(&settings).await?.user_password(name.clone(), password).await?;
            render::done(context.json, "account", &name)?;
        }
    }
    Ok(Status::Success)
}

pub(super) async fn token(context: &Context, command: TokenCommand) -> Result<Status, Failure> {
    let settings = context.client()?;
    match command {
        TokenCommand::Create { role, account, ttl, name } => {
            let ttl_secs = ttl.map(|ttl| ttl.0.as_secs());
            let create = TokenCreate { role: role.into(), account, ttl_secs, name };
            let made = Client::connect(&settings).await?.token_create(create).await?;
            if context.json {
                render::json(&made)?;
            } else {
                render::line(&made.token)?;
            }
        }
        TokenCommand::Ls => {
            let tokens = Client::connect(&settings).await?.tokens().await?;
            if context.json {
                return render::json_lines(&tokens);
            }
            let rows = tokens.into_iter().map(|token| {
                vec![
                    Cell::new(token.id),
                    Cell::new(render::word(&token.role)),
                    Cell::new(token.account),
                    Cell::new(render::moment(token.created_at)),
                    Cell::new(token.expires_at.map_or_else(|| "never".to_owned(), render::moment)),
                    Cell::new(token.name.unwrap_or_default()),
                ]
            });
            render::line(&render::table(&["TOKEN", "ROLE", "ACCOUNT", "CREATED", "EXPIRES", "NAME"], rows.collect()))?;
        }
        TokenCommand::Revoke { revoked } => {
            Client::connect(&settings).await?.token_revoke(revoked).await?;
            // Not echoed: it may be the token itself.
            if context.json {
                render::json(&serde_json::json!({"revoked": true}))?;
            }
        }
    }
    Ok(Status::Success)
}

/// The password without the line break at its end; none where no source was named.
fn read_password(source: &PasswordSource) -> Result<Option<String>, Failure> {
    let read = |from: &mut dyn Read, name: &str| {
        let mut text = String::new();
        from.take(PASSWORD_BYTES)
            .read_to_string(&mut text)
            .map_err(|error| Failure::failed(format!("cannot read the password from {name}: {error}")))?;
        let password = text.strip_suffix('\n').map_or(&*text, |rest| rest.strip_suffix('\r').unwrap_or(rest));
        if password.is_empty() {
            return Err(Failure::usage(format!("{name} holds no password")));
        }
        Ok(Some(password.to_owned()))
    };
    match source {
        PasswordSource { password_stdin: true, .. } => read(&mut std::io::stdin().lock(), "standard input"),
        PasswordSource { password_file: Some(path), .. } => {
            let name = path.display().to_string();
            let mut file = std::fs::File::open(path)
                .map_err(|error| Failure::failed(format!("cannot read the password from {name}: {error}")))?;
            read(&mut file, &name)
        }
        PasswordSource { password_stdin: false, password_file: None } => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<Option<String>, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_password(&PasswordSource { password_stdin: false, password_file: Some(file.path().to_owned()) })
    }

    #[test]
    fn a_password_loses_only_the_line_break_at_its_end() {
        assert_eq!(from_file(" pass word \r\n").unwrap().as_deref(), Some(" pass word "));
        assert_eq!(from_file("secret").unwrap().as_deref(), Some("secret"));
        assert!(from_file("\n").is_err());
    }
}
