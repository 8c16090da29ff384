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

const SECOND: Duration = Duration::from_secs(1);

fn peer(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_network_gets_a_limited_number_of_errors_a_second() {
    let (mut budget, now) = (ErrorRateLimiter::new(), Instant::now());
    let spent = (0..3 * ERRORS_PER_PREFIX_MAX).filter(|last| {
        let octet = last % 250 + 1;
        budget.spend(peer(&format!("192.0.2.{octet}")), now + SECOND / 2)
    });
    assert_eq!(spent.count(), usize::from(ERRORS_PER_PREFIX_MAX));
    assert!(!budget.spend(peer("192.0.2.9"), now + SECOND));
    assert!(budget.spend(peer("192.0.2.9"), now + SECOND * 3 / 2));
}

#[test]
fn what_one_network_spent_is_not_missing_to_another() {
    let (mut budget, now) = (ErrorRateLimiter::new(), Instant::now());
    while budget.spend(peer("2001:db8::1"), now) {}
    // Some of these networks share the place of the first one by chance.
    let served = (0..250).filter(|net| budget.spend(peer(&format!("10.0.{net}.1")), now)).count();
    assert!(served > 200, "{served} of 250");
}

#[test]
fn this_machine_itself_gets_all_of_them() {
    let (mut budget, now) = (ErrorRateLimiter::new(), Instant::now());
    for _ in 0..2 * ERRORS_PER_PREFIX_MAX {
        assert!(budget.spend(peer("127.0.0.1"), now) && budget.spend(peer("::1"), now));
    }
}
