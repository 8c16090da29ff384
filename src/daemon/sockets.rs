//! The request sockets: bound here, or passed by the service manager.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use slog::{Logger, info, warn};

use super::StartError;
use crate::net::{BindError, RequestSocket};
use crate::settings::{Required, Settings};

/// A socket and its address.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) address: SocketAddr,
    /// Whether this process bound the socket. It is then closed when the server takes no further
    /// requests.
    pub(super) is_own: bool,
}

/// Returns the passed sockets, or else binds one for each address of the settings.
pub(super) fn open(
    settings: &Settings,
    passed: Vec<UdpSocket>,
    log: &Logger,
) -> Result<Vec<Bound>, StartError> {
    if passed.is_empty() {
        return bind(settings, log);
    }
    info!(log, "taking requests from the sockets that the service manager passed, instead of binding any";
        "sockets" => passed.len());
    let with_address = |socket: UdpSocket| {
        let address = socket.local_addr().map_err(StartError::Runtime)?;
        Ok(Bound { socket: Arc::new(socket), address, is_own: false })
    };
    passed.into_iter().map(with_address).collect()
}

/// Binds every address of the settings.
fn bind(settings: &Settings, log: &Logger) -> Result<Vec<Bound>, StartError> {
    let mut sockets: Vec<Bound> = Vec::new();
    for (mut address, required) in settings.listen.addresses() {
        if address.port() == 0 {
            // All addresses use the port that the kernel chose for the first.
            address.set_port(sockets.first().map_or(0, |bound| bound.address.port()));
        }
        let socket = match (RequestSocket::open(address), required) {
            (Ok(socket), _) => socket,
            (Err(BindError::NotAvailable { .. }), Required::Yes) if settings.wait_for_address => {
                let socket = RequestSocket::open_early(address)?;
                info!(log, "no interface has this address yet: requests are served once one has";
                    "address" => %address.ip());
                socket
            }
            (
                Err(error @ (BindError::NotAvailable { .. } | BindError::Other { .. })),
                Required::IfPossible,
            ) => {
                warn!(log, "serving without IPv6"; "why" => %error);
                continue;
            }
            (Err(error), _) => return Err(error.into()),
        };
        let address = socket.local_addr().map_err(StartError::Runtime)?;
        sockets.push(Bound { socket, address, is_own: true });
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests;
