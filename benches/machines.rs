//! Cost of a packet in the machines, without sockets: `cargo bench`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stagecoach::internals::transfer::{
    Action, Input, Machine, Moment, Offer, Opening, Sender, Terms, Timeouts, Transmit, negotiate,
};
use stagecoach::wire::Packet;

const REQUEST: &[u8] = b"\x00\x01boot/vmlinuz\0octet\0tsize\x000\0blksize\x001428\0windowsize\x0016\0";

fn requests(criterion: &mut Criterion) {
    criterion.bench_function("decode a request and agree on its options", |bencher| {
        bencher.iter(|| {
            let Ok(Packet::Request(request)) = Packet::decode(black_box(REQUEST)) else { unreachable!() };
            negotiate(&request, &Offer::default(), Some(40_000_000)).map(|agreement| agreement.oack())
        });
    });
}

/// A sender whose peer acknowledges every window at once.
fn windows(criterion: &mut Criterion) {
    let slab = Bytes::from(vec![7; 64 << 10]);
    let mut group = criterion.benchmark_group("send 64 MiB");
    group.throughput(Throughput::Bytes(64 << 20)).sample_size(10);
    for windowsize in [1, 16, 64] {
        let terms = Terms { blksize: 1428, windowsize, ..Terms::default() };
        group.bench_function(format!("windowsize {windowsize}"), |bencher| {
            bencher.iter(|| {
                let mut sender = Sender::new(terms, Opening::Answered, Timeouts::default());
                let now = Moment::default();
                let mut reply = Reply::default();
                reply.drain(&mut sender, now, Input::Start);
                let mut left = 1024;
                while !reply.closed {
                    if std::mem::take(&mut reply.wanted) {
                        left -= 1;
                        reply.drain(&mut sender, now, Input::Slab { bytes: slab.clone(), end: left == 0 });
                    }
                    let ack = Packet::Ack { block: reply.last_block }.to_bytes();
                    reply.drain(&mut sender, now, Input::Datagram { octets: &ack, more: false });
                }
                reply.octets
            });
        });
    }
    group.finish();
}

#[derive(Default)]
struct Reply {
    wanted: bool,
    closed: bool,
    last_block: u16,
    octets: usize,
}

impl Reply {
    fn drain(&mut self, sender: &mut Sender, now: Moment, input: Input<'_>) {
        let mut drain = sender.handle(now, input);
        while let Some(action) = drain.next() {
            match action {
                Action::Want { .. } => self.wanted = true,
                Action::Close => self.closed = true,
                Action::Transmit(Transmit::Blocks(blocks)) => {
                    for block in blocks {
                        let [_, _, high, low] = block.header;
                        self.last_block = u16::from_be_bytes([high, low]);
                        self.octets += block.payload().map(<[u8]>::len).sum::<usize>();
                    }
                }
                _ => {}
            }
        }
    }
}

criterion_group!(benches, requests, windows);
criterion_main!(benches);
