//! Names of files below a store's root.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::temporary_name::is_temporary_name;
use crate::error::{Failure, Fault};
use crate::limits::{NAME_COMPONENT_OCTETS_MAX, NAME_OCTETS_MAX};
use crate::wire::escaped;

/// The suffix of incomplete uploads that are kept.
pub const PARTIAL_SUFFIX: &str = ".partial";

/// A checked name: relative, with at least one component; no component is empty, `.` or `..`, or
/// has a control octet.
///
/// Names are octets, as on disk: no Unicode normalisation, no percent decoding (RFC 3617 leaves
/// that to the client), no `~`, no case folding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Checks the name in a request.
    ///
    /// `\` counts as `/` (Windows boot loaders send it); leading `/`, `./` and doubled `/` have no
    /// meaning. `..` is resolved here, in the text, before a file system sees the name.
    ///
    /// # Errors
    /// A [`Fault`] whose detail tells the operator what is wrong with the name:
    /// - [`Failure::Malformed`]: the name is empty.
    /// - [`Failure::Forbidden`]: it leads out of the root, is the root itself, or has a control
    ///   octet.
    /// - [`Failure::NotFound`]: no file can have that name: it ends like a directory (`boot/`,
    ///   `boot/.`), is too long, or is that of a temporary file of ours.
    pub fn from_request(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.is_empty() {
            return Err(Fault::new(Failure::Malformed, "the name is empty"));
        }
        if bytes.len() > NAME_OCTETS_MAX {
            return Err(Fault::new(
                Failure::NotFound,
                format_args!("the name is longer than {NAME_OCTETS_MAX} octets"),
            ));
        }
        if bytes.iter().any(u8::is_ascii_control) {
            return Err(Fault::new(Failure::Forbidden, "a control character in the name"));
        }
        // Mapped before the split, so that `..\` can't pass as part of a component (SAFE-06).
        let mut written = bytes.split(|octet| matches!(octet, b'/' | b'\\'));
        let name = resolve(written.clone(), bytes.len())?;
        if name.is_empty() {
            return Err(Fault::new(Failure::Forbidden, "the name is that of the root itself"));
        }
        match written.next_back() {
            Some(b"") => Err(Fault::new(Failure::NotFound, "the name ends in a slash")),
            Some(b"." | b"..") => Err(Fault::new(Failure::NotFound, "the name ends in a dot component")),
            _ => Ok(Self(name.into_boxed_slice())),
        }
    }

    /// This name with a suffix, such as `config.1`. Octets that are not UTF-8 stay as they are,
    /// unlike in a name made from its [`Display`](fmt::Display) text.
    ///
    /// ```
    /// use stagecoach::store::Name;
    ///
    /// let name = Name::from_request(b"caf\xe9")?;
    /// assert_eq!(name.with_suffix(".1")?.as_bytes(), b"caf\xe9.1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`Failure::Forbidden`]: the suffix has a `/`, a `\` or a control octet.
    /// - [`Failure::NotFound`]: no file can have that name. Either it is that of a temporary file
    ///   of ours, or a component or the whole name is too long, as the fault's detail says.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, Fault> {
        if suffix.contains(['/', '\\']) {
            return Err(Fault::new(Failure::Forbidden, "a suffix can't contain a slash"));
        }
        Self::made_of(&[self.as_bytes(), suffix.as_bytes()].concat())
    }

    /// This name below a directory: `config` below `boards/7` is `boards/7/config`. Octets that are
    /// not UTF-8 stay as they are.
    ///
    /// # Errors [`Failure::NotFound`]: the name is too long, as the detail says.
    pub fn below(&self, directory: &Self) -> Result<Self, Fault> {
        Self::made_of(&[directory.as_bytes(), b"/", self.as_bytes()].concat())
    }

    /// A name that an extension makes from others.
    fn made_of(octets: &[u8]) -> Result<Self, Fault> {
        if octets.len() > NAME_OCTETS_MAX {
            let why = format_args!("a name of {} octets: the maximum is {NAME_OCTETS_MAX}", octets.len());
            return Err(Fault::new(Failure::NotFound, why));
        }
        let longest = octets.split(|octet| *octet == b'/').map(<[u8]>::len).max().unwrap_or(0);
        if longest > NAME_COMPONENT_OCTETS_MAX {
            let most = NAME_COMPONENT_OCTETS_MAX;
            let why = format_args!("a component of {longest} octets: the maximum is {most}");
            return Err(Fault::new(Failure::NotFound, why));
        }
        Self::from_request(octets)
    }

    /// The name of an entry of `directory` (`None`: the root); `None` if no request can ask for it.
    pub(super) fn listed(directory: Option<&Self>, component: &[u8]) -> Option<Self> {
        // In a request, such an entry would be more than one component.
        if component.iter().any(|octet| matches!(octet, b'/' | b'\\')) {
            return None;
        }
        let above = directory.map_or(&[][..], Self::as_bytes);
        Self::from_request(&[above, b"/", component].concat()).ok()
    }

    /// The components, from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.0.split(|octet| *octet == b'/')
    }

    /// The components of the file's directory: none for a file in the root.
    pub fn parents(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        let mut components = self.components();
        components.next_back();
        components
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|octet| *octet == b'/').next().unwrap_or(&self.0)
    }

    /// The name under which an incomplete upload to this one is kept: with [`PARTIAL_SUFFIX`].
    /// `None` if that is too long for a file name.
    #[must_use]
    pub fn of_partial(&self) -> Option<Self> {
        let name = [&self.0, PARTIAL_SUFFIX.as_bytes()].concat();
        let component = self.file_name().len() + PARTIAL_SUFFIX.len();
        let fits = component <= NAME_COMPONENT_OCTETS_MAX && name.len() <= NAME_OCTETS_MAX;
        fits.then(|| Self(name.into_boxed_slice()))
    }

    /// The whole name, components joined by `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The whole name as a relative path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

/// Resolves the components: drops empty ones and `.`; `..` goes up. Returns at most `octets`.
fn resolve<'a>(written: impl Iterator<Item = &'a [u8]>, octets: usize) -> Result<Vec<u8>, Fault> {
    let mut name = Vec::with_capacity(octets);
    for component in written {
        match component {
            b"" | b"." => {}
            b".." if name.is_empty() => {
                return Err(Fault::new(Failure::Forbidden, "the name leads out of the root"));
            }
            b".." => name.truncate(name.iter().rposition(|octet| *octet == b'/').unwrap_or(0)),
            _ if component.len() > NAME_COMPONENT_OCTETS_MAX => {
                return Err(Fault::new(
                    Failure::NotFound,
                    format_args!("a component is longer than {NAME_COMPONENT_OCTETS_MAX} octets"),
                ));
            }
            _ if is_temporary_name(component) => {
                return Err(Fault::new(Failure::NotFound, "the name is that of an unfinished upload"));
            }
            _ => {
                if !name.is_empty() {
                    name.push(b'/');
                }
                name.extend_from_slice(component);
            }
        }
    }
    Ok(name)
}

/// For logs only; use [`Name::with_suffix`] and [`Name::below`] to make other names. Everything but
/// printable ASCII is escaped, as in a [`Text`](crate::wire::Text) (MAL-08).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}
