//! `hello`: thirteen bytes for any request. What every benchmark of servers asks for; not a page.

use unirs_app::{App, Error, Request, Response, Startup};

/// Answers "Hello, World!".
pub(super) struct Hello;

impl App for Hello {
    const NAME: &'static str = "hello";
    const VERSION: &'static str = super::VERSION;

    fn start(_: &Startup) -> Result<Self, Error> {
        Ok(Hello)
    }

    fn call(&self, _: &mut Request) -> Response {
        Response::text("Hello, World!")
    }
}
