//! A shop in a shared library.

use unirs_app::{App, Error, Request, Response, Startup};

struct Shop;

impl App for Shop {
    fn start(_: &Startup) -> Result<Self, Error> {
        Ok(Shop)
    }

    fn call(&self, request: &mut Request) -> Response {
        let path = request.path();
        Response::text(format!("You asked for {path}\n"))
    }
}

unirs_app::export!(Shop);
