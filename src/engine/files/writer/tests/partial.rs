//! Uploads that break off, and of which what came is to be kept.

use super::*;

/// A store that doesn't say otherwise keeps nothing: it can't take a part for the whole.
#[test]
fn a_partial_upload_is_not_published_as_whole() {
    let _system = System::new();
    let fixture = Fixture::new();
    let place = fixture.place();
    (0..3).for_each(|asked| fixture.ask(&place.writer, asked));
    fixture.wait_for(3);
    assert!(fixture.upload.publish(Extent::Partial));
    // The first request counts.
    fixture.upload.publish(Extent::Whole);
    place.writer.do_send(WriterOrder::Work);
    wait_until("dropped", || fixture.stepped.dropped() == 1);
    place.end();
    let fault = fixture.upload.fault().and_then(|fault| fault.detail);
    assert_eq!(fault.as_deref(), Some("this store doesn't keep incomplete uploads"));
    assert!(fixture.stepped.published().is_empty() && !fixture.upload.done().1);
    fixture.end();
}
