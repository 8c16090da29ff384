//! Sockets that the service manager has bound.

use std::net::UdpSocket;

use listenfd::ListenFd;

use super::StartError;

/// The UDP sockets that the service manager has bound and passed (systemd's socket activation: `LISTEN_FDS`); none if it hasn't.
///
/// It needs the feature `program`, which is on by default.
///
/// Call it once, before the process has a second thread: it takes the variables out of the environment, lest a child take them for its own.
///
/// # Errors
/// [`StartError::Passed`] if one of the descriptors is no UDP socket with a port.
pub fn passed_sockets() -> Result<Vec<UdpSocket>, StartError> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let refused = |why: String| StartError::Passed { number: index + 1, why };
        let socket = passed.take_udp_socket(index).map_err(|error| refused(error.to_string()))?;
        // (Each is taken once: there is one.)
        let Some(socket) = socket else { continue };
        if socket.local_addr().map_or(0, |address| address.port()) == 0 {
            return Err(refused("it has no port".into()));
        }
        sockets.push(socket);
    }
    Ok(sockets)
}
