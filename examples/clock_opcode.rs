//! A new opcode: boards without a clock ask for the time with opcode 0x5443.
//! `cargo run --example clock_opcode -- 127.0.0.1:9069`
//!
//! A board sends the opcode and six octets of padding, since an answer may be at most three times
//! as long as the question. It gets the opcode and the seconds since 1970.

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use stagecoach::Stagecoach;
use stagecoach::extend::{Datagram, Opcode};

const CLOCK: u16 = 0x5443;

#[derive(Debug)]
struct Clock;

impl Opcode for Clock {
    fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        (datagram.octets.len() == 8)
            .then(|| [&CLOCK.to_be_bytes()[..], &seconds.to_be_bytes()].concat().into())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).ok_or("where to listen?")?.parse()?;
    actix::System::new().block_on(async {
        let mut server = Stagecoach::builder().listen(listen).opcode(CLOCK, Clock).start()?;
        println!("listening on {}", server.addresses()[0]);
        server.serve(|| Ok(())).await?;
        Ok(())
    })
}
