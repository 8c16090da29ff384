use std::net::Ipv6Addr;

use super::*;

#[test]
fn addresses_of_one_site_are_of_one_prefix() {
    let v6 = |text: &str| prefix(text.parse::<Ipv6Addr>().unwrap().into());
    assert_eq!(v6("2001:db8:0:aa01::1"), v6("2001:db8:0:aaff:1::"));
    assert_ne!(v6("2001:db8:0:aa01::1"), v6("2001:db8:0:ab01::1"));
    let v4 = |text: &str| prefix(text.parse::<IpAddr>().unwrap());
    assert_eq!(v4("192.0.2.1"), v4("192.0.2.255"));
    assert_ne!(v4("192.0.2.1"), v4("192.0.3.1"));
}
