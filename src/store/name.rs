//! The name of a file below a store's root, as a client may ask for it.

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

/// What the name of a file ends with that was kept of an upload that isn't whole.
pub const PARTIAL_SUFFIX: &str = ".partial";

/// A checked name: relative, at least one component, none of them empty, `.` or `..`, no control octet in any.
///
/// Names are octets, as they are on the disk: no Unicode normalisation, no percent decoding (RFC 3617 leaves that to
/// the client), no `~`, no case folding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Reads the name that a request carries.
    ///
    /// `\` counts as `/` (Windows boot loaders send it); leading `/`, `./` and doubled `/` mean nothing; `..` is
    /// resolved here, by the letter, before any file system sees the name.
    ///
    /// # Errors
    /// A [`Fault`] whose detail says to the operator what is wrong with the name:
    /// - [`Failure::Malformed`]: the name is empty.
    /// - [`Failure::Forbidden`]: it leads above the root, names the root itself, or has a control octet in it.
    /// - [`Failure::NotFound`]: no file can have that name: it ends as a directory's does (`boot/`, `boot/.`), is
    ///   too long, or is one of our own temporaries'.
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
        // Mapped before anything is split, so that `..\` can't pass as part of a component (SAFE-06).
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

    /// This name with something behind it, as `config.1`: what is not UTF-8 of it stays as it is,
    /// which a name made of its [`Display`](fmt::Display) text would not.
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
    /// - [`Failure::Forbidden`]: the suffix has a `/`, a `\` or a control octet in it.
    /// - [`Failure::NotFound`]: no file can have that name. A component is too long then
    ///   ([`NAME_COMPONENT_OCTETS_MAX`]), or all of it ([`NAME_OCTETS_MAX`]), and the fault's detail
    ///   says so, or it is one of our own temporaries'.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, Fault> {
        if suffix.contains(['/', '\\']) {
            return Err(Fault::new(Failure::Forbidden, "a suffix is no directory"));
        }
        Self::made_of(&[self.as_bytes(), suffix.as_bytes()].concat())
    }

    /// This name below a directory: `config` below `boards/7` is `boards/7/config`. What is not
    /// UTF-8 of either stays as it is.
    ///
    /// # Errors
    /// [`Failure::NotFound`]: it is too long in all ([`NAME_OCTETS_MAX`]), and the fault's detail
    /// says so.
    pub fn below(&self, directory: &Self) -> Result<Self, Fault> {
        Self::made_of(&[directory.as_bytes(), b"/", self.as_bytes()].concat())
    }

    /// A name that an extension makes of others.
    fn made_of(octets: &[u8]) -> Result<Self, Fault> {
        if octets.len() > NAME_OCTETS_MAX {
            let why = format_args!("a name of {} octets: {NAME_OCTETS_MAX} is the most", octets.len());
            return Err(Fault::new(Failure::NotFound, why));
        }
        let longest = octets.split(|octet| *octet == b'/').map(<[u8]>::len).max().unwrap_or(0);
        if longest > NAME_COMPONENT_OCTETS_MAX {
            let most = NAME_COMPONENT_OCTETS_MAX;
            let why = format_args!("a file's or directory's name of {longest} octets: {most} is the most");
            return Err(Fault::new(Failure::NotFound, why));
        }
        Self::from_request(octets)
    }

    /// The name of what a listing of `directory` (the root, if that is `None`) calls `component`;
    /// `None` if no request can ask for it.
    pub(super) fn listed(directory: Option<&Self>, component: &[u8]) -> Option<Self> {
        // (Read as a request, either of them would be more than one component.)
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

    /// The components that lead to the file's directory: none for a file in the root.
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

    /// The name under which an upload to this one is kept that isn't whole: with
    /// [`PARTIAL_SUFFIX`] behind it. `None` if that is too long for a file's name.
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

/// Walks the components as written, by the letter: `.` and nothing stay, `..` goes up. They are joined in a name of `octets` at most.
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
                return Err(Fault::new(Failure::NotFound, "the name is that of an upload under way"));
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

/// For logs, and not to make other names of ([`Name::with_suffix`] and [`Name::below`] do that):
/// octets other than printable ASCII are escaped, as in a [`Text`](crate::wire::Text) (MAL-08).
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
