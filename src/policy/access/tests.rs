use super::*;

fn rule(allow: bool, network: &str, direction: Option<Direction>) -> AccessRule {
    AccessRule { allow, network: network.parse().unwrap(), direction }
}

fn may(access: &Access, address: &str) -> [bool; 2] {
    [Direction::Read, Direction::Write].map(|direction| access.allows(address.parse().unwrap(), direction))
}

#[test]
fn without_rules_everybody_may_do_everything() {
    assert_eq!(may(&Access::default(), "192.0.2.1"), [true, true]);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let access = Access::new(vec![
        rule(true, "10.0.9.7/32", None),
        rule(false, "10.0.9.0/24", None),
        rule(true, "10.0.0.0/8", Some(Direction::Write)),
        rule(false, "10.0.0.0/8", None),
    ]);
    assert_eq!(may(&access, "10.0.9.7"), [true, true]);
    assert_eq!(may(&access, "10.0.9.8"), [false, false]);
    assert_eq!(may(&access, "10.0.1.1"), [false, true]);
}

#[test]
fn whoever_is_not_named_is_let_in_unless_others_are() {
    let denied = Access::new(vec![rule(false, "10.0.0.0/8", None)]);
    assert_eq!(may(&denied, "192.0.2.1"), [true, true]);
    let writers = Access::new(vec![rule(true, "10.0.0.0/8", Some(Direction::Write))]);
    assert_eq!(may(&writers, "192.0.2.1"), [true, false], "reading is not what it is about");
    let inside = Access::new(vec![rule(true, "2001:db8::/32", None)]);
    assert_eq!(may(&inside, "2001:db8::1"), [true, true]);
    assert_eq!(may(&inside, "192.0.2.1"), [false, false]);
}

#[test]
fn an_ipv4_client_is_one_also_at_a_socket_for_both() {
    let access = Access::new(vec![rule(false, "192.0.2.0/24", None)]);
    assert_eq!(may(&access, "::ffff:192.0.2.1"), [false, false]);
}

#[test]
fn a_refusal_names_the_rule_as_typed() {
    let access = Access::new(vec![
        rule(false, "10.77.0.4/32", None),
        rule(false, "10.88.0.0/16", Some(Direction::Read)),
        rule(true, "10.0.0.0/8", None),
    ]);
    let decides = |address: &str| {
        let kept_out = access.check(address.parse().unwrap(), Direction::Read).unwrap_err();
        kept_out.map(ToString::to_string)
    };
    assert_eq!(decides("10.77.0.4").as_deref(), Some("--deny 10.77.0.4"));
    assert_eq!(decides("10.88.0.4").as_deref(), Some("--deny 10.88.0.0/16:read"));
    assert_eq!(decides("192.0.2.1"), None);
}
