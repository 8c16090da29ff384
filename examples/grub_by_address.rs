//! Generates a configuration for each client:
//! `cargo run --example grub_by_address -- 127.0.0.1:9069`.
//!
//! `grub.cfg` is rendered for the client's address; every other file comes from the current
//! directory.

use std::error::Error;

use minijinja::{Environment, context};
use stagecoach::Stagecoach;
use stagecoach::extend::{Asked, Route, Routing, Served};
use stagecoach::store::Fixed;
use stagecoach::wire::ErrorCode;

const TEMPLATE: &str = "\
set timeout=3
menuentry 'install {{ host }}' {
    linux /vmlinuz ip={{ address }} hostname={{ host }}
    initrd /initrd.img
}
";

#[derive(Debug)]
struct GrubConfig {
    templates: Environment<'static>,
}

impl Route for GrubConfig {
    fn route(&self, asked: &Asked<'_>) -> Routing {
        if !asked.is_read() || !asked.name().ends_with("grub.cfg") {
            return Routing::Pass;
        }
        let address = asked.peer.ip().to_string();
        let host = format!("board-{}", address.rsplit(['.', ':']).next().unwrap_or("0"));
        let rendered = self
            .templates
            .get_template("grub.cfg")
            .and_then(|template| template.render(context! { address, host => &host }));
        match rendered {
            Ok(text) => Served::from_store(std::sync::Arc::new(Fixed::new(text))).labelled(&host).into(),
            Err(_) => Routing::refuse(ErrorCode::NOT_DEFINED, "the template is broken"),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).ok_or("where to listen?")?.parse()?;
    let mut templates = Environment::new();
    templates.add_template("grub.cfg", TEMPLATE)?;
    actix::System::new().block_on(async {
        let mut server = Stagecoach::builder().listen(listen).route(GrubConfig { templates }).start()?;
        println!("listening on {}", server.addresses()[0]);
        server.serve(|| Ok(())).await?;
        Ok(())
    })
}
