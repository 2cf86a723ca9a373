//! Where somebody comes from: what is written down of a login, beside who it was.

use std::net::IpAddr;

/// Longest name of a program that is kept, in characters.
const USER_AGENT_MOST: usize = 256;

/// Somebody at a front door, before it is known who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The address.
    pub address: IpAddr,
    /// What their program says it is, cut to 256 characters.
    pub user_agent: Option<Box<str>>,
}

impl Visitor {
    /// From an address, with the header `User-Agent` of the request.
    pub fn new(address: IpAddr, user_agent: Option<&str>) -> Self {
        let user_agent = user_agent.map(|name| name.chars().take(USER_AGENT_MOST).collect::<String>().into());
        Self { address, user_agent }
    }
}

impl From<IpAddr> for Visitor {
    fn from(address: IpAddr) -> Self {
        Self::new(address, None)
    }
}
