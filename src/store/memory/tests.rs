use super::*;

fn name(bytes: &str) -> Name {
    Name::from_request(bytes.as_bytes()).unwrap()
}

#[test]
fn an_inserted_file_is_served_and_returned() {
    let memory = Memory::default();
    assert_eq!(memory.insert(name("a"), "one"), None);
    assert_eq!(memory.insert(name("/a"), "two"), Some(Bytes::from("one")));
    assert_eq!(memory.get(&name("a")), Some(Bytes::from("two")));
    assert_eq!(memory.clone().open(&name("a")).unwrap().size(), Some(3));
    assert_eq!(memory.get(&name("b")), None);
}

#[test]
fn unfinished_uploads_count_until_dropped() {
    let memory = Memory::new(MemoryOptions { octets_max: 10, overwrite: true, ..MemoryOptions::default() });
    memory.insert(name("a"), "1234");
    let mut first = memory.create(&name("b"), None).unwrap();
    first.write(b"12345").unwrap();
    let mut second = memory.create(&name("c"), None).unwrap();
    assert_eq!(second.write(b"12").unwrap_err().failure, Failure::DiskFull);
    assert_eq!(second.publish().unwrap_err().failure, Failure::DiskFull);
    drop(first);
    assert_eq!(memory.files().octets, 4);
    let mut third = memory.create(&name("a"), Some(6)).unwrap();
    third.write(b"123456").unwrap();
    third.publish().unwrap();
    assert_eq!(memory.files().octets, 6, "what was replaced is given back");
}

#[test]
fn an_upload_that_lost_the_name_gives_its_room_back() {
    let memory = Memory::default();
    let mut late = memory.create(&name("a"), None).unwrap();
    late.write(b"late").unwrap();
    memory.insert(name("a"), "first");
    assert_eq!(late.publish().unwrap_err().failure, Failure::Exists);
    assert_eq!(memory.files().octets, 5);
}
