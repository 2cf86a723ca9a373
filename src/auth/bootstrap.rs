//! The first start: an administrator, and token files that local tools find by themselves.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tracing::info;

use super::api_token::mint;
use super::{Auth, AuthError};
use crate::base::secret::Secret;
use crate::model::{Account, AccountName, Role};

/// Name of the administrator's token file in the data directory.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";
/// Name of the worker's token file in the data directory.
pub const WORKER_TOKEN_FILE: &str = "worker.token";
/// Name of the token file of the plugins that a dispatcher starts, in the data directory.
pub const PLUGIN_TOKEN_FILE: &str = "plugin.token";

/// Longest token file worth reading: far above any token.
const FILE_MOST: u64 = 4096;

/// Why a data directory could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A token file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Accounts could not be read or written.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl Auth {
    /// Makes sure that there is an administrator and that both token files hold good tokens.
    ///
    /// An administrator named `admin`, without a password, is made where there is none at all.
    /// [`ADMIN_TOKEN_FILE`] acts for `admin`, or for the first administrator by name where that
    /// account was removed; [`WORKER_TOKEN_FILE`] acts for an account `worker` of that role.
    /// A file whose token is still good is left alone; one that is missing, or whose token is
    /// unknown, expired or revoked, is replaced in one step, readable by its owner only.
    ///
    /// # Errors
    /// `File`, `Auth`. What was done stays, and a repeat does the rest.
    pub async fn bootstrap(&self, data_dir: &Path) -> Result<(), BootstrapError> {
        let admin = self.administrator().await?;
        self.token_file(data_dir.join(ADMIN_TOKEN_FILE), Role::Admin, admin.name).await?;

        self.service(data_dir.join(WORKER_TOKEN_FILE), "worker", Role::Worker).await
    }

    /// A good token for the plugins that this dispatcher starts, kept in [`PLUGIN_TOKEN_FILE`] as the others are.
    /// It acts for an account `plugin` of that role.
    ///
    /// # Errors
    /// `File`, `Auth`. What was done stays, and a repeat does the rest.
    pub async fn plugin_token(&self, data_dir: &Path) -> Result<Secret, BootstrapError> {
        let path = data_dir.join(PLUGIN_TOKEN_FILE);
        self.service(path.clone(), "plugin", Role::Plugin).await?;
        Ok(Secret::new(in_file(&path, read).await?.unwrap_or_default()))
    }

    /// Makes sure of an account that programs act for, and of the file with its token.
    async fn service(&self, path: PathBuf, name: &str, role: Role) -> Result<(), BootstrapError> {
        let name: AccountName = name.parse().map_err(AuthError::BadName)?;
        // `false`: it is there already, which is just as well.
        let account = self.new_account(name.clone(), role, None, None);
        self.0.store.add_account(account).await.map_err(AuthError::Store)?;
        self.token_file(path, role, name).await
    }

    async fn administrator(&self) -> Result<Account, AuthError> {
        let name: AccountName = "admin".parse()?;
        let mut admins = self.0.store.accounts().await?;
        admins.retain(|account| account.role == Role::Admin);
        // By name, with `admin` itself before all others.
        if let Some(admin) = admins.into_iter().min_by_key(|account| account.name != name) {
            return Ok(admin);
        }
        let admin = self.new_account(name, Role::Admin, None, None);
        if !self.0.store.add_account(admin.clone()).await? {
            return Err(AuthError::NameTaken);
        }
        Ok(admin)
    }

    async fn token_file(&self, path: PathBuf, role: Role, account: AccountName) -> Result<(), BootstrapError> {
        if let Some(token) = in_file(&path, read).await? {
            match self.authenticate(&token).await {
                Ok(_) => return Ok(()),
                Err(error @ (AuthError::Store(_) | AuthError::Crypto)) => return Err(error.into()),
                // Any other refusal says that the token is no good.
                Err(_) => (),
            }
        }
        let (token, record) = mint(role, account, self.0.clock.now(), None, None);
        self.0.store.add_token(record).await.map_err(AuthError::Store)?;
        in_file(&path, move |path| write(path, &token)).await?;
        info!(path = %path.display(), "wrote a token file");
        Ok(())
    }
}

/// Runs file work away from the async threads and names the file in its errors.
async fn in_file<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, BootstrapError> {
    let owned = path.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&owned)).await.unwrap_or_else(|error| Err(error.into()));
    done.map_err(|source| BootstrapError::File { path: path.to_owned(), source })
}

/// The token in a file; none: there is no file, or no text in it.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).ok().map(|text| text.trim().to_owned()))
}

/// Replaces a file in one step: a reader, or a crash, finds the old one or the new one.
fn write(path: &Path, token: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    // Created with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    writeln!(file, "{token}")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
