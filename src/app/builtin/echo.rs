//! `echo`: the request's body is the answer's. A small one whole, a large one while it is still coming.

use std::io::{self, Read, Write};

use unirs_app::{App, Error, IntoResponse, Request, Response, Startup};

/// What is read before the answer begins, in bytes. A body that ends here can still be refused with a status.
const SMALL: u64 = 64 * 1024;

/// Answers what it was sent.
pub(super) struct Echo;

impl App for Echo {
    const NAME: &'static str = "echo";
    const VERSION: &'static str = super::VERSION;

    fn start(_: &Startup) -> Result<Self, Error> {
        Ok(Echo)
    }

    fn call(&self, request: &mut Request) -> Response {
        let content_type =
            request.header_bytes("content-type").unwrap_or(b"application/octet-stream").to_vec();
        echo(request).into_response().content_type(content_type)
    }
}

fn echo(request: &Request) -> Result<Response, Error> {
    let mut beginning = Vec::new();
    request.body().take(SMALL).read_to_end(&mut beginning)?;
    let length = request.content_length();
    if (beginning.len() as u64) < SMALL || length == Some(SMALL) {
        return Ok(Response::bytes(beginning));
    }
    let stream = Response::stream_with(move |request, writer| {
        writer.write_all(&beginning)?;
        io::copy(&mut request.body(), writer)?;
        Ok(())
    });
    Ok(match length {
        Some(length) => stream.length(length),
        None => stream,
    })
}
