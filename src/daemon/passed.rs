//! Sockets that the service manager has bound.

use std::net::UdpSocket;

use listenfd::ListenFd;

use super::StartError;

/// Takes the UDP sockets that the service manager has bound and passed (systemd's socket
/// activation, `LISTEN_FDS`). The result is empty if there are none.
///
/// This needs the Cargo feature `program`, which is on by default.
///
/// Call it once, before the process starts a second thread: it removes the variables from the
/// environment, so that no child process uses them.
///
/// # Errors
/// [`StartError::Passed`] if a descriptor is not a UDP socket with a port.
pub fn passed_sockets() -> Result<Vec<UdpSocket>, StartError> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let refused = |why: String| StartError::Passed { number: index + 1, why };
        let socket = passed.take_udp_socket(index).map_err(|error| refused(error.to_string()))?;
        // Each index is taken once, so there is a socket.
        let Some(socket) = socket else { continue };
        if socket.local_addr().map_or(0, |address| address.port()) == 0 {
            return Err(refused("it has no port".into()));
        }
        sockets.push(socket);
    }
    Ok(sockets)
}
