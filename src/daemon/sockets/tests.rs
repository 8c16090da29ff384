use slog::o;

use super::*;
use crate::daemon::Stagecoach;

/// An address that no machine has (RFC 5737).
const NOWHERE: &str = "192.0.2.1:0";

fn settings(wait_for_address: bool) -> Settings {
    Settings { wait_for_address, read_only: true, ..Settings::default() }
}

/// As an embedding program would set it.
#[test]
fn a_builder_waits_for_a_missing_address_if_set() {
    actix::System::new().block_on(async {
        let start = |settings| {
            let log = Logger::root(slog::Discard, o!());
            Stagecoach::builder().settings(settings).listen(NOWHERE.parse().unwrap()).log(log).start()
        };
        let error = start(settings(false)).expect_err("there is no such address");
        assert!(error.to_string().contains("--wait-for-address"), "{error}");
        let mut server = start(settings(true)).unwrap();
        assert_eq!(server.addresses()[0].ip().to_string(), "192.0.2.1");
        server.stop().await;
    });
}
