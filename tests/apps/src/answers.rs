//! Answers, right and wrong, that the safe face of the interface can give.

use std::fs::File;
use std::io::{Read, Write};

use unirs_app::{Error, OrStatus, Request, Response, Router};

use crate::{TestApp, part};

pub(crate) fn routes(router: Router<TestApp>) -> Router<TestApp> {
    router
        .get("/panic", |_, _| -> Response { panic!("the request asked for a panic") })
        .get("/error", |_, _| -> Result<Response, Error> {
            Err(Error::new("the request asked for an error"))
        })
        .any("/status/{status}", status)
        .get("/bad-status", |_, _| Response::text("no such status\n").status(999))
        .get("/crlf", |_, _| Response::text("two headers\n").header("x-test", "a\r\nx-injected: b"))
        .get("/bad-name", |_, _| Response::text("no such name\n").header("x test", "a"))
        .get("/hop-by-hop", |_, _| hop_by_hop())
        .get("/large/{bytes}", large)
        .get("/file", file)
        .get("/early-hints", early_hints)
        .get("/trailers", trailers)
        .get("/stream/{n}", stream)
        .get("/stream-short", |_, _| stream_of(10, b"short"))
        .get("/stream-long", |_, _| stream_of(5, b"too long"))
        .get("/stream-panic", stream_panic)
        .get("/stream-for-ever", stream_for_ever)
        .post("/echo", |_, request| -> Result<_, Error> {
            Ok(Response::bytes(request.body().bytes()?.into_owned()))
        })
        .post("/echo-stream", echo_stream)
        .post("/length", length)
        .post("/unread", |_, _| "the body was not read\n")
}

fn status(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    Ok(Response::text("a status\n").status(part(request, "status")?.parse().or_status(400)?))
}

/// Fields that are between the server and its client.
fn hop_by_hop() -> Response {
    Response::text("hopped\n")
        .header("connection", "close, x-kept")
        .header("keep-alive", "timeout=1")
        .header("Proxy-Connection", "close")
        .header("TE", "trailers")
        .header("trailer", "x-trailer")
        .header("Transfer-Encoding", "chunked")
        .header("upgrade", "websocket")
        .header("x-kept", "yes")
}

fn large(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    let bytes: usize = part(request, "bytes")?.parse().or_status(400)?;
    Ok(Response::bytes(vec![b'x'; bytes]))
}

fn file(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    let path = request.query_value("path").or_status(400)?;
    Ok(Response::file(File::open(&*path).or_status(404)?))
}

fn early_hints(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    request.early_hints(&[("link", "</style.css>; rel=preload; as=style")])?;
    Ok(Response::text("hinted\n"))
}

fn trailers(_: &TestApp, _: &mut Request) -> Response {
    Response::stream(|writer| {
        writer.write_all(b"a body\n")?;
        writer.trailer("x-trailer", "after the body");
        Ok(())
    })
}

/// So many lines, each flushed.
fn stream(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    let lines: u64 = part(request, "n")?.parse().or_status(400)?;
    Ok(Response::stream(move |writer| {
        for line in 0..lines {
            writeln!(writer, "line {line}")?;
            writer.flush()?;
        }
        Ok(())
    }))
}

fn stream_of(declared: u64, data: &'static [u8]) -> Response {
    Response::stream(move |writer| Ok(writer.write_all(data)?)).length(declared)
}

fn stream_panic(_: &TestApp, _: &mut Request) -> Response {
    Response::stream(|writer| {
        writer.write_all(b"before the panic\n")?;
        writer.flush()?;
        panic!("the request asked for a panic within a stream")
    })
}

/// Until the client goes.
fn stream_for_ever(_: &TestApp, _: &mut Request) -> Response {
    Response::stream(|writer| {
        loop {
            writer.write_all(&[b'x'; 4096])?;
        }
    })
}

fn echo_stream(_: &TestApp, _: &mut Request) -> Response {
    Response::stream_with(|request, writer| {
        std::io::copy(&mut request.body(), writer)?;
        Ok(())
    })
}

fn length(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    let (mut body, mut buffer, mut length) = (request.body(), [0; 8192], 0);
    loop {
        match body.read(&mut buffer)? {
            0 => return Ok(Response::text(length.to_string())),
            count => length += count,
        }
    }
}
