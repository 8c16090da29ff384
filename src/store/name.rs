//! Names of files below a store's root.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Failure, Fault};
use crate::limits::{NAME_COMPONENT_OCTETS_MAX, NAME_OCTETS_MAX};
use crate::wire::escaped;

/// The suffix of incomplete uploads that are kept.
pub const PARTIAL_SUFFIX: &str = ".partial";

/// A checked name: relative, with at least one component; no component is empty, `.` or `..`, or
/// has a control octet. Names are octets, as on disk: no Unicode normalisation, no percent decoding
/// (RFC 3617 leaves that to the client), no `~`, no case folding.
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
    /// - [`Failure::Forbidden`]: it leads out of the root, is the root, or has a control octet.
    /// - [`Failure::NotFound`]: it ends like a directory (`boot/`, `boot/.`), is too long, or is
    ///   that of a temporary file of ours.
    pub fn from_request(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.is_empty() {
            return Err(Fault::new(Failure::Malformed, "the name is empty"));
        }
        if bytes.len() > NAME_OCTETS_MAX {
            let why = format_args!("a name of {} octets: the maximum is {NAME_OCTETS_MAX}", bytes.len());
            return Err(Fault::new(Failure::NotFound, why));
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
    /// # Errors
    /// - [`Failure::Forbidden`]: the suffix has a `/`, a `\` or a control octet.
    /// - [`Failure::NotFound`]: the name is too long, or that of a temporary file of ours.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, Fault> {
        if suffix.contains(['/', '\\']) {
            return Err(Fault::new(Failure::Forbidden, "a suffix can't contain a slash"));
        }
        Self::from_request(&[self.as_bytes(), suffix.as_bytes()].concat())
    }

    /// This name below a directory: `config` below `boards/7` is `boards/7/config`.
    ///
    /// # Errors
    /// [`Failure::NotFound`]: the name is too long.
    pub fn below(&self, directory: &Self) -> Result<Self, Fault> {
        Self::from_request(&[directory.as_bytes(), b"/", self.as_bytes()].concat())
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

    /// The path of the file's directory: empty for a file in the root.
    pub(super) fn directory(&self) -> &Path {
        self.as_path().parent().unwrap_or(Path::new(""))
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|octet| *octet == b'/').next().unwrap_or(&self.0)
    }

    /// This name with [`PARTIAL_SUFFIX`]; `None` if that is too long for a file name.
    #[must_use]
    pub fn of_partial(&self) -> Option<Self> {
        self.with_suffix(PARTIAL_SUFFIX).ok()
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
                let (length, max) = (component.len(), NAME_COMPONENT_OCTETS_MAX);
                let why = format_args!("a component of {length} octets: the maximum is {max}");
                return Err(Fault::new(Failure::NotFound, why));
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

/// The name of a temporary file of ours, which is never served, and swept after a crash.
pub(super) fn temporary_name(random: u64) -> String {
    format!(".stagecoach-{random:016x}.part")
}

/// Whether `component` is a name of [`temporary_name`]. The whole form counts: the sweep deletes by
/// it, and an operator's own `.stagecoach-notes.part` must stay.
pub(super) fn is_temporary_name(component: &[u8]) -> bool {
    let random = component.strip_prefix(b".stagecoach-").and_then(|rest| rest.strip_suffix(b".part"));
    random.is_some_and(|digits| {
        digits.len() == 16 && digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// For logs only: everything but printable ASCII is escaped (MAL-08).
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
