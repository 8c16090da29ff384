use super::*;

fn local(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 69)
}

#[test]
fn an_ethernet_mtu_bounds_blocks_as_firmware_asks() {
    // R2348-03; tftp-hpa's manual and dnsmasq have the same values.
    assert_eq!(Mtu::Octets(1500).blksize_max(local("192.0.2.1")), Some(1468));
    assert_eq!(Mtu::Octets(1500).blksize_max(local("2001:db8::1")), Some(1448));
}

#[test]
fn what_no_packet_fits_bounds_blocks_to_nothing() {
    assert_eq!(Mtu::Octets(10).blksize_max(local("192.0.2.1")), Some(0));
}

#[test]
fn without_a_bound_there_is_none() {
    assert_eq!(Mtu::Unbounded.blksize_max(local("192.0.2.1")), None);
}

#[cfg(target_os = "linux")]
#[test]
fn an_interface_tells_what_it_can_send() {
    let mtu: u32 = std::fs::read_to_string("/sys/class/net/lo/mtu").unwrap().trim().parse().unwrap();
    let expected = |headers: u32| u16::try_from((mtu - headers).min(u16::MAX.into())).ok();
    assert_eq!(Mtu::OfInterface.blksize_max(local("127.0.0.1")), expected(32));
    assert_eq!(Mtu::OfInterface.blksize_max(local("192.0.2.1")), None, "no interface has this address");
}
