use super::*;

fn request(flags: &[&str], tsize: Option<u64>) -> Result<String, String> {
    let flags = ClientFlags::from_iter_safe([&["get"], flags].concat()).map_err(|error| error.message)?;
    let request = flags.request(Direction::Write, b"f", tsize)?;
    Ok(format!("{} {}", request.mode, request.options))
}

#[test]
fn a_request_asks_for_large_blocks_and_windows() {
    assert_eq!(request(&[], Some(7)).as_deref(), Ok("octet tsize=7 blksize=1428 windowsize=16"));
    assert_eq!(
        request(&["--blksize", "8192", "--windowsize", "4", "--interval", "2"], None).as_deref(),
        Ok("octet blksize=8192 windowsize=4 timeout=2")
    );
}

#[test]
fn what_holds_anyway_is_not_asked_for() {
    assert_eq!(request(&["--blksize", "512", "--windowsize", "1"], None).as_deref(), Ok("octet "));
    assert_eq!(request(&["--no-options"], Some(7)).as_deref(), Ok("octet "));
}

#[test]
fn netascii_says_nothing_of_the_size() {
    let asked = request(&["--mode", "netascii"], Some(7));
    assert_eq!(asked.as_deref(), Ok("netascii blksize=1428 windowsize=16"));
}

#[test]
fn asking_for_nothing_and_something_is_refused() {
    let error = request(&["--no-options", "--interval", "2"], None).expect_err("no sense");
    assert!(error.contains("--no-options") && error.contains("--interval"), "{error}");
}
