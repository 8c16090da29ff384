//! Rules by a client's address: who may read and write, and which options are granted.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::wire::Direction;

/// Which clients are allowed. The first rule for the client's network and the direction of its
/// request decides. A client without a rule is allowed, unless some rule allows others in the same
/// direction.
///
/// ```
/// use stagecoach::settings::{Access, AccessRule};
/// use stagecoach::wire::Direction;
///
/// let access = Access::new(vec![
///     AccessRule::new(false, "10.0.9.0/24".parse().unwrap()),
///     AccessRule::new(true, "10.0.0.0/8".parse().unwrap()).only(Direction::Write),
/// ]);
/// assert!(access.allows("10.1.2.3".parse().unwrap(), Direction::Write));
/// assert!(!access.allows("10.0.9.1".parse().unwrap(), Direction::Read));
/// assert!(!access.allows("192.0.2.1".parse().unwrap(), Direction::Write));
/// assert!(access.allows("192.0.2.1".parse().unwrap(), Direction::Read));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access(Vec<AccessRule>);

/// Allows or refuses the clients of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessRule {
    /// Whether the rule allows.
    pub allow: bool,
    /// The network of the clients.
    pub network: IpNet,
    /// The direction of the request; `None` means both.
    pub direction: Option<Direction>,
}

impl AccessRule {
    /// Allows or refuses the network in both directions.
    #[must_use]
    pub fn new(allow: bool, network: IpNet) -> Self {
        Self { allow, network, direction: None }
    }

    /// The same for reads alone, or for writes alone.
    #[must_use]
    pub fn only(self, direction: Direction) -> Self {
        Self { direction: Some(direction), ..self }
    }
}

impl Access {
    /// The rules, in this order.
    #[must_use]
    pub fn new(rules: Vec<AccessRule>) -> Self {
        Self(rules)
    }

    /// Whether a client at `address` may make a request in this `direction`.
    #[must_use]
    pub fn allows(&self, address: IpAddr, direction: Direction) -> bool {
        self.check(address, direction).is_ok()
    }

    /// Checks a request like [`allows`](Self::allows).
    ///
    /// # Errors
    /// The rule that refuses the client; `None` if no rule matches, and others are allowed.
    pub(crate) fn check(&self, address: IpAddr, direction: Direction) -> Result<(), Option<&AccessRule>> {
        let address = address.to_canonical();
        let mut concerned = self.0.iter().filter(|rule| rule.direction.is_none_or(|it| it == direction));
        match concerned.clone().find(|rule| rule.network.contains(&address)) {
            Some(rule) if rule.allow => Ok(()),
            None if !concerned.any(|rule| rule.allow) => Ok(()),
            decides => Err(decides),
        }
    }
}

/// As the flag is typed: `--deny 10.77.0.4`, `--allow 10.0.0.0/8:write`.
impl fmt::Display for AccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allow { "--allow " } else { "--deny " })?;
        match self.network.prefix_len() == self.network.max_prefix_len() {
            true => self.network.addr().fmt(f)?,
            false => self.network.fmt(f)?,
        }
        self.direction.map_or(Ok(()), |direction| write!(f, ":{direction}"))
    }
}

/// An option that is not granted to a network: some firmware asks for options it can't handle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedOption {
    /// Its name, in any case.
    pub name: String,
    /// The network; `None` for all clients.
    pub network: Option<IpNet>,
}

impl RefusedOption {
    /// The option of this name: refused to everybody, or to the clients of one network.
    #[must_use]
    pub fn new(name: impl Into<String>, network: Option<IpNet>) -> Self {
        Self { name: name.into(), network }
    }

    /// Whether the option must not be granted to a client at `address`.
    #[must_use]
    pub(crate) fn concerns(&self, address: IpAddr) -> bool {
        self.network.is_none_or(|network| network.contains(&address.to_canonical()))
    }
}

impl fmt::Display for RefusedOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            Some(network) => write!(f, "{}={network}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests;
