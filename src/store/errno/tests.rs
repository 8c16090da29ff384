use super::*;

#[test]
fn each_errno_has_the_code_that_boot_roms_expect() {
    // R1350-52: (errno, failure, TFTP code)
    let table = [
        (Errno::NOENT, Failure::NotFound, 1),
        (Errno::NOTDIR, Failure::NotFound, 1),
        (Errno::NAMETOOLONG, Failure::NotFound, 1),
        (Errno::ILSEQ, Failure::NotFound, 1),
        (Errno::ACCESS, Failure::Forbidden, 2),
        (Errno::PERM, Failure::Forbidden, 2),
        (Errno::LOOP, Failure::Forbidden, 2),
        (Errno::XDEV, Failure::Forbidden, 2),
        (Errno::TXTBSY, Failure::Forbidden, 2),
        (Errno::ROFS, Failure::ReadOnly, 2),
        (Errno::ISDIR, Failure::NotRegular, 2),
        (Errno::NXIO, Failure::NotRegular, 2),
        (Errno::NODEV, Failure::NotRegular, 2),
        (Errno::NOSPC, Failure::DiskFull, 3),
        (Errno::DQUOT, Failure::DiskFull, 3),
        (Errno::FBIG, Failure::TooLarge, 3),
        (Errno::EXIST, Failure::Exists, 6),
        (Errno::MFILE, Failure::Busy, 0),
        (Errno::NFILE, Failure::Busy, 0),
        (Errno::NOMEM, Failure::Busy, 0),
        (Errno::AGAIN, Failure::Busy, 0),
        (Errno::STALE, Failure::Changed, 0),
        (Errno::IO, Failure::Io, 0),
        (Errno::INVAL, Failure::Io, 0),
    ];
    for (errno, expected, code) in table {
        let fault = io_fault(&errno.into(), "/srv/x");
        assert_eq!(fault.failure, expected, "{errno:?}");
        assert_eq!(fault.failure.code(), crate::wire::ErrorCode(code), "{errno:?}");
        assert!(!fault.failure.to_string().contains("/srv"), "a peer sees no path");
        let detail = fault.detail.unwrap();
        assert!(detail.starts_with("/srv/x: ") && detail.len() > 10, "the operator sees it: {detail}");
    }
}

#[test]
fn a_path_that_led_out_of_the_root_is_forbidden() {
    let escape = io::Error::new(io::ErrorKind::PermissionDenied, "a path led outside of the filesystem");
    assert_eq!(io_fault(&escape, "x").failure, Failure::Forbidden);
    let other = io::Error::other("anything");
    assert_eq!(io_fault(&other, "x").failure, Failure::Io);
}
