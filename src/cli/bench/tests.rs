use super::*;

fn bench(flags: &[&str]) -> Bench {
    Bench::from_iter_safe([&["bench", "get", "--to", "h"], flags].concat()).expect("flags")
}

#[test]
fn each_transfer_has_its_number_in_the_name() {
    assert_eq!(numbered(b"up-{}", 12), b"up-12");
    assert_eq!(numbered(b"{}/{}x{", 7), b"7/7x{");
    assert_eq!(numbered(b"plain", 3), b"plain");
}

#[test]
fn a_read_needs_a_name_and_an_upload_doesnt() {
    assert!(bench(&[]).name().is_err());
    assert_eq!(bench(&["--name", "f"]).name(), Ok(b"f".to_vec()));
    let put = Bench { work: Work::Put, ..bench(&[]) };
    assert!(put.name().expect("a default").ends_with(b"-{}"));
}

#[test]
fn flags_of_the_other_direction_are_refused() {
    let wrong = bench(&["--name", "f", "--size", "1M"]).check().expect_err("nothing is written");
    assert!(wrong.contains("--size"), "{wrong}");
    let put = Bench { work: Work::Put, ..bench(&["--check", "f"]) };
    assert!(put.check().expect_err("nothing is read").contains("--check"));
}
