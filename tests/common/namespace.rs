//! Runs tests in a network or mount namespace of their own.

use std::process::Command;

/// Runs `body` in a network namespace and a mount namespace that `setup` (a shell script) has
/// prepared. For that, this function runs the same test again in a new process. The test fails
/// where the system allows no namespaces.
pub(crate) fn in_namespace<Test>(test: &Test, setup: &str, body: impl FnOnce()) {
    const INSIDE: &str = "STAGECOACH_TEST_NAMESPACE";
    let path = std::any::type_name_of_val(test);
    let name = path.split_once("::").map_or(path, |(_crate, name)| name);
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        return body();
    }
    let script = format!("{setup}\nexec \"$@\"");
    let output = Command::new("unshare")
        // With a user namespace this works without root as well.
        .args(["--map-root-user", "--net", "--mount", "sh", "-ec", &script, "sh"])
        .arg(std::env::current_exe().expect("the path of this test"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, name)
        .output()
        .expect("the program unshare (of util-linux) makes the namespaces that this test needs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    // Shows the measurements of the child.
    eprint!("{text}");
    assert!(output.status.success(), "in a namespace (needs unshare, ip, mount, and permission)");
    assert!(text.contains("1 passed"), "the test must have run in its namespace");
}
