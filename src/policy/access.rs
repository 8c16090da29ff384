//! Which clients may read and write, and what they may ask for, by their address.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::wire::Direction;

/// Who is admitted. The first rule that names the client's network, and what it wants to do, decides.
///
/// Where none does, whoever is not named is let in, unless some rule allows others to do the same: then only those.
///
/// ```
/// use stagecoach::policy::{Access, AccessRule};
/// use stagecoach::wire::Direction;
///
/// let rule = |allow, network: &str, direction| AccessRule { allow, network: network.parse().unwrap(), direction };
/// let access = Access::new(vec![
///     rule(false, "10.0.9.0/24", None),
///     rule(true, "10.0.0.0/8", Some(Direction::Write)),
/// ]);
/// assert!(access.allows("10.1.2.3".parse().unwrap(), Direction::Write));
/// assert!(!access.allows("10.0.9.1".parse().unwrap(), Direction::Read));
/// assert!(!access.allows("192.0.2.1".parse().unwrap(), Direction::Write));
/// assert!(access.allows("192.0.2.1".parse().unwrap(), Direction::Read));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access(Vec<AccessRule>);

/// Lets in a network, or keeps it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessRule {
    /// Whether it lets in.
    pub allow: bool,
    /// Whom.
    pub network: IpNet,
    /// To do what; anything, if `None`.
    pub direction: Option<Direction>,
}

impl Access {
    /// These rules, in this order.
    #[must_use]
    pub fn new(rules: Vec<AccessRule>) -> Self {
        Self(rules)
    }

    /// Whether a client at `address` may do this.
    #[must_use]
    pub fn allows(&self, address: IpAddr, direction: Direction) -> bool {
        self.check(address, direction).is_ok()
    }

    /// Whether a client at `address` may do this.
    ///
    /// # Errors
    /// The rule that keeps it out; `None` if no rule matches, and others are allowed.
    pub fn check(&self, address: IpAddr, direction: Direction) -> Result<(), Option<&AccessRule>> {
        let address = address.to_canonical();
        let mut concerned = self.0.iter().filter(|rule| rule.direction.is_none_or(|it| it == direction));
        match concerned.clone().find(|rule| rule.network.contains(&address)) {
            Some(rule) if rule.allow => Ok(()),
            None if !concerned.any(|rule| rule.allow) => Ok(()),
            decides => Err(decides),
        }
    }
}

/// As its flag is typed: `--deny 10.77.0.4`, `--allow 10.0.0.0/8:write`.
impl fmt::Display for AccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allow { "--allow " } else { "--deny " })?;
        if self.network.prefix_len() == self.network.max_prefix_len() {
            write!(f, "{}", self.network.addr())?;
        } else {
            write!(f, "{}", self.network)?;
        }
        match self.direction {
            Some(direction) => write!(f, ":{direction}"),
            None => Ok(()),
        }
    }
}

/// An option that clients of a network ask for, and had better not be granted: some firmware asks for what it can't do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedOption {
    /// Its name, in any case.
    pub name: String,
    /// Whose; everybody's, if `None`.
    pub network: Option<IpNet>,
}

impl RefusedOption {
    /// Whether a client at `address` had better not be granted it.
    #[must_use]
    pub fn concerns(&self, address: IpAddr) -> bool {
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
